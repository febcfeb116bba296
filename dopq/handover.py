"""What the node and its Provider process say to each other, over one pipe.

The pipe lives and dies with one Provider process and holds no truth: everything that matters is in the journal before
it is answered, and whatever a death swallowed is said again (docs/adr/0002-provider-over-a-pipe.md). So each message
is safe to say twice.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from dopq.job import ImageId, JobId, JobSpec, Problem, Reason, StateName, UserName

# --- the Provider says -----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Taken:
    """A bundle from the inbox lies, whole and on disk, in the spool under `key`. May it go from the inbox?"""

    key: str
    user: UserName
    bundle: str


@dataclass(frozen=True, slots=True)
class Built:
    """The job's image stands."""

    job: JobId
    spec: JobSpec
    image: ImageId
    has_input: bool


@dataclass(frozen=True, slots=True)
class Rejected:
    """No image will come of this job's bundle."""

    job: JobId
    outcome: Literal[StateName.INVALID, StateName.BUILD_FAILED]
    reason: Reason
    problems: tuple[Problem, ...] = ()


FromProvider = Taken | Built | Rejected

# --- the node says ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Accepted:
    """The bundle under `key` is this job, on disk. Its file may go from the inbox; with `build`, make its image."""

    key: str
    job: JobId
    user: UserName
    bundle: str
    build_log: str
    build: bool


@dataclass(frozen=True, slots=True)
class Declined:
    """The bundle under `key` becomes no job (nobody of that name is registered); leave its file where it is."""

    key: str


@dataclass(frozen=True, slots=True)
class Abandon:
    """The job was cancelled: break off its build."""

    job: JobId


FromNode = Accepted | Declined | Abandon
