"""A picture of schedules: how long jobs waited over time, and whose the GPUs were. Needs matplotlib, an extra."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from dopq.errors import OperatorError, UserError
from dopq.order import Policy
from dopq.simulation.replay import DAY_S, Run

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MOMENTS = 200
"""Equal spans that the time is cut into."""


def require_matplotlib() -> type[Figure]:
    """What draws.

    Raises:
        OperatorError: it is not installed.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise OperatorError("Plots need matplotlib, which is not installed.", "pip install 'dopq[plot]'") from None
    return Figure


def plot(path: Path, schedules: Mapping[Policy, Sequence[Run]]) -> None:
    """Draw schedules of the same trace below each other, by the name of their policy, into a PNG.

    Raises:
        OperatorError: matplotlib is not installed.
        UserError: there is no writing there.
    """
    figure = require_matplotlib()(figsize=(12, 3.5 * len(schedules)), layout="constrained")
    axes = figure.subplots(len(schedules), 2, squeeze=False, sharex=True, sharey="col")
    for (waits, shares), (policy, runs) in zip(axes, schedules.items(), strict=True):
        _draw_waits(waits, runs)
        _draw_shares(shares, runs)
        waits.set_title(f"{policy}: waits")
        shares.set_title(f"{policy}: GPUs held")
    try:
        figure.savefig(path, format="png")
    except OSError as error:
        raise UserError(f"The plot cannot be written: {error}.", "Name a file in a folder of yours.") from error


def _draw_waits(axes: Axes, runs: Sequence[Run]) -> None:
    for user, own in _by_user(runs).items():
        days = [_days(run.job.submit_s, runs) for run in own]
        axes.plot(days, [(run.start_s - run.job.submit_s) / 3600 for run in own], ".", markersize=2, label=user)
    axes.set_xlabel("submitted, days after the first job")
    axes.set_ylabel("wait, hours")
    axes.legend(markerscale=4)


def _draw_shares(axes: Axes, runs: Sequence[Run]) -> None:
    last_s = max(run.end_s for run in runs)
    span_s = (last_s - _first_s(runs)) / MOMENTS or 1.0
    days = [(number + 0.5) * span_s / DAY_S for number in range(MOMENTS)]
    shares = {user: _held(own, _first_s(runs), span_s) for user, own in _by_user(runs).items()}
    axes.stackplot(days, list(shares.values()), labels=list(shares))
    axes.set_xlabel("days after the first submission")
    axes.set_ylabel("GPUs, mean of each span")
    axes.legend()


def _held(runs: Sequence[Run], first_s: float, span_s: float) -> list[float]:
    """GPUs held in the mean of each span."""
    held = [0.0] * MOMENTS
    for run in runs:
        begin, end = (run.start_s - first_s) / span_s, (run.end_s - first_s) / span_s
        for number in range(int(begin), min(MOMENTS, int(end) + 1)):
            held[number] += run.job.num_gpus * (min(end, number + 1) - max(begin, number))
    return held


def _by_user(runs: Sequence[Run]) -> dict[str, list[Run]]:
    users: defaultdict[str, list[Run]] = defaultdict(list)
    for run in runs:
        users[run.job.user].append(run)
    return dict(sorted(users.items()))


def _first_s(runs: Sequence[Run]) -> float:
    return min(run.job.submit_s for run in runs)


def _days(at_s: float, runs: Sequence[Run]) -> float:
    return (at_s - runs[0].job.submit_s) / DAY_S  # in the order of submission
