"""What the node and its Provider process say to each other, over one pipe.

The pipe lives and dies with one Provider process and holds no truth: everything that matters is in the journal before
it is answered, and whatever a death swallowed is said again (docs/adr/0002-provider-over-a-pipe.md). So each message
is safe to say twice.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from dopq.identity import Origin
from dopq.job import ImageId, JobId, JobSpec, Problem, Reason, StateName, UserName
from dopq.utils.cpu import Disk

# --- the Provider says -----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Taken:
    """A bundle from the inbox lies, whole and on disk, in the spool under `key`. May it go from the inbox?"""

    key: str
    user: UserName
    bundle: str
    origin: Origin


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


@dataclass(frozen=True, slots=True)
class Imaged:
    """`image` bears the job's tag, made from what `fingerprint` names; empty where it cannot be found again by that."""

    job: JobId
    image: ImageId
    fingerprint: str


@dataclass(frozen=True, slots=True)
class OnHold:
    """The job's image is not made for now, for this reason."""

    job: JobId
    reason: Reason


@dataclass(frozen=True, slots=True)
class GoesOn:
    """What the job was held for is over."""

    job: JobId


@dataclass(frozen=True, slots=True)
class Deferred:
    """A file in an inbox that is seen, but not taken yet. `size_bytes` is None while it is left alone for a while."""

    user: UserName
    name: str
    size_bytes: int | None
    since: datetime
    why: str


@dataclass(frozen=True, slots=True)
class Alive:
    """A heartbeat, with what an admin is to know: sentences on what is wrong, deferred files, the share's disk."""

    troubles: tuple[str, ...] = ()
    deferred: tuple[Deferred, ...] = ()
    share_disk: Disk | None = None


FromProvider = Taken | Built | Rejected | Imaged | OnHold | GoesOn | Alive

# --- the node says ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Accepted:
    """The bundle under `key` is this job, on disk. Its file may go from the inbox; with `build`, make its image.

    `held`: the node counts it as held for now.
    """

    key: str
    job: JobId
    user: UserName
    bundle: str
    build_log: str
    build: bool
    held: bool = False


@dataclass(frozen=True, slots=True)
class Declined:
    """The bundle under `key` becomes no job for now; leave its file where it is. `why` completes "deferred:"."""

    key: str
    why: str


@dataclass(frozen=True, slots=True)
class Refused:
    """The bundle under `key` is not its user's: it goes to `invalid/` as it is, with the reason, and becomes no job."""

    key: str
    problem: Problem


@dataclass(frozen=True, slots=True)
class Abandon:
    """The job was cancelled: break off its build."""

    job: JobId


@dataclass(frozen=True, slots=True)
class Known:
    """An image that was made for a user from what `fingerprint` names, perhaps gone since."""

    user: UserName
    fingerprint: str
    image: ImageId


Verdict = Accepted | Declined | Refused
"""What the node says to a bundle that was taken."""

FromNode = Verdict | Abandon | Known
