"""What a node's invariants are held against: the journal, the engine's containers, and what others have seen."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple

from dopq.job import Job, JobId, UserName
from dopq.ledger import Ledger
from dopq.penalty import Account
from dopq.store import Event


class Run(NamedTuple):
    """One attempt at a job."""

    job: JobId
    attempt: int


@dataclass(frozen=True, slots=True)
class Evidence:
    """All that is looked at, as of one moment.

    Attributes:
        jobs: every job of the journal.
        events: every line of every story, in the order of the journal.
        accounts: what each user owes, as the journal has it.
        ledger: the rules by which that is charged.
        containers: the attempts that have a container; None where the engine did not answer. Listed *before* the
            journal was read, so that a job which started meanwhile has a lease without a container for a moment only.
        told: jobs that somebody outside has heard of, and who: each was acknowledged.
        witnessed: each start of a process that a job itself wrote down; None where jobs do not.
    """

    jobs: Sequence[Job]
    events: Sequence[Event]
    accounts: Mapping[UserName, Account]
    ledger: Ledger
    now: datetime
    containers: Collection[Run] | None = None
    told: Mapping[JobId, str] = field(default_factory=dict)
    witnessed: Sequence[Run] | None = None


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is not as it must be: which invariant it breaks, whose job it is, and what was found."""

    code: str
    job: JobId | None
    sentence: str
