"""Which job somebody means: a number, a name, `@` (my newest) or `@~N` (the N-th before it). Pure."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from dopq.errors import NotFound
from dopq.job import Ended, Job, JobId, UserName

_NUMBER = re.compile(r"[0-9]{1,15}")
_NEWEST = re.compile(r"@(?:~([0-9]{1,6}))?")


@dataclass(frozen=True, slots=True)
class Number:
    """The job of that number, whoever's it is."""

    job: JobId


@dataclass(frozen=True, slots=True)
class Newest:
    """The asker's newest job, or the one `skip` before it."""

    skip: int


@dataclass(frozen=True, slots=True)
class Name:
    """The job of that name."""

    name: str


def parse(text: str) -> Number | Newest | Name:
    """What a reference says; whatever is neither a number nor `@` is a name."""
    text = text.strip()
    if _NUMBER.fullmatch(text):
        return Number(JobId(int(text)))
    if newest := _NEWEST.fullmatch(text):
        return Newest(int(newest[1] or 0))
    return Name(text)


def nobody(name: str, known: Iterable[str]) -> NotFound:
    """The error for a name that no job has; `known`: names that its writer may have meant."""
    near = difflib.get_close_matches(name, dict.fromkeys(known), n=3, cutoff=0.6)
    hint = f"Did you mean {' or '.join(near)}? " if near else ""
    return NotFound(
        f"There is no job called {name!r}.", f"{hint}`dopq-client status` and `history` list them.", nearest=near
    )


def of_that_name(name: str, named: Sequence[Job], user: UserName, known: Callable[[], Iterable[str]] = tuple) -> Job:
    """The job that `user` means by a name: one of their own before others', one that has not ended before others.

    Args:
        named: the jobs of that name, best first.
        known: asked for other names, where there is no job of that name.

    Raises:
        NotFound: there is none, or several have not ended.
    """
    mine = [job for job in named if job.user == user] or named
    alive = [job for job in mine if not isinstance(job.state, Ended)]
    if len(alive) > 1:
        numbers = ", ".join(str(job.id) for job in alive)
        raise NotFound(f"Several jobs are called {name!r}: {numbers}.", "Say which one by its number.")
    if not mine:
        raise nobody(name, known())
    return alive[0] if alive else mine[0]
