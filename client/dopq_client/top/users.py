"""The users: what each has used, and what of theirs runs and waits. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from rich.text import Text

from dopq.clean import clean
from dopq_client.shapes import UserStatistics
from dopq_client.top.bars import bar
from dopq_client.top.table import Column
from dopq_client.views import counts

_BAR = 12


def columns(users: Sequence[UserStatistics]) -> tuple[Column[UserStatistics], ...]:
    """The columns of `dopq-client users`; the bar is a user's part of the largest penalty."""
    most = max((user["penalty"] for user in users), default=0.0)
    return (
        Column("USER", lambda user: clean(user["user"]), by=lambda user: user["user"], most=24, least=6),
        _figure("WEIGHT", lambda user: user["weight"], "g"),
        _figure("USED GPU-H", lambda user: user["usage_gpu_seconds"] / 3600, ".1f"),
        _figure("PENALTY", lambda user: user["penalty"] / 3600, ".1f"),
        Column("", lambda user: Text(bar(user["penalty"] / most if most else 0.0, _BAR), "yellow"), wide=True),
        _figure("GPUS NOW", lambda user: user["gpus_held"], "d"),
        _figure("RUNNING", lambda user: counts(user["jobs"])[0], "d"),
        _figure("WAITING", lambda user: counts(user["jobs"])[1], "d"),
        _figure("ENDED", lambda user: counts(user["jobs"])[2], "d"),
    )


def in_turn(users: Sequence[UserStatistics]) -> list[UserStatistics]:
    """The users, the smallest penalty first: who has it goes next."""
    return sorted(users, key=lambda user: (user["penalty"], user["user"]))


def _figure(heading: str, of: Callable[[UserStatistics], float], form: str) -> Column[UserStatistics]:
    """A column of figures, the largest first where it is sorted by."""
    return Column(heading, lambda user: format(of(user), form), by=lambda user: -of(user), right=True)
