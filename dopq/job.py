"""The values everybody speaks of: what was asked, and where a job stands.

Values only: no I/O, no clock. A state carries exactly the data that exists in it (a queued job has no GPUs because
`Queued` has no field for them), so the type checker follows the life cycle. The arrows between the states, and who may
take each, are in `ARROWS` and told in docs/states.md.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Literal, NewType, assert_never

JobId = NewType("JobId", int)
GpuId = NewType("GpuId", str)  # the NVML UUID: device indices may change after a reboot
ImageId = NewType("ImageId", str)  # "sha256:..."
UserName = NewType("UserName", str)


class StateName(StrEnum):
    """The states of a job, as they are spelled on the wire, on disk and on screen."""

    BUILDING = "building"
    HELD = "held"
    QUEUED = "queued"
    STARTING = "starting"
    RUNNING = "running"
    STOPPING = "stopping"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"
    TIMED_OUT = "timed_out"
    LOST = "lost"
    INVALID = "invalid"
    BUILD_FAILED = "build_failed"


Outcome = Literal[
    StateName.SUCCEEDED,
    StateName.FAILED,
    StateName.CANCELLED,
    StateName.TIMED_OUT,
    StateName.LOST,
    StateName.INVALID,
    StateName.BUILD_FAILED,
]
"""The final states. They absorb: no arrow leaves them."""

FINAL: frozenset[StateName] = frozenset(
    {
        StateName.SUCCEEDED,
        StateName.FAILED,
        StateName.CANCELLED,
        StateName.TIMED_OUT,
        StateName.LOST,
        StateName.INVALID,
        StateName.BUILD_FAILED,
    }
)


class Actor(StrEnum):
    """Who takes an arrow."""

    USER = "user"  # through the remote API
    PROVIDER = "provider"
    SCHEDULER = "scheduler"
    RUNNER = "runner"


_S = StateName

ARROWS: dict[tuple[StateName, StateName], frozenset[Actor]] = {
    (_S.BUILDING, _S.QUEUED): frozenset({Actor.PROVIDER}),
    (_S.BUILDING, _S.INVALID): frozenset({Actor.PROVIDER}),
    (_S.BUILDING, _S.BUILD_FAILED): frozenset({Actor.PROVIDER}),
    (_S.BUILDING, _S.CANCELLED): frozenset({Actor.USER}),
    (_S.BUILDING, _S.HELD): frozenset({Actor.PROVIDER, Actor.USER}),
    (_S.HELD, _S.BUILDING): frozenset({Actor.PROVIDER, Actor.USER}),
    (_S.HELD, _S.HELD): frozenset({Actor.PROVIDER, Actor.USER}),
    (_S.HELD, _S.QUEUED): frozenset({Actor.USER}),
    (_S.HELD, _S.INVALID): frozenset({Actor.PROVIDER}),
    (_S.HELD, _S.BUILD_FAILED): frozenset({Actor.PROVIDER}),
    (_S.HELD, _S.CANCELLED): frozenset({Actor.USER}),
    (_S.QUEUED, _S.CANCELLED): frozenset({Actor.USER, Actor.SCHEDULER}),
    (_S.QUEUED, _S.HELD): frozenset({Actor.USER}),
    (_S.QUEUED, _S.STARTING): frozenset({Actor.SCHEDULER}),
    (_S.STARTING, _S.RUNNING): frozenset({Actor.RUNNER}),
    (_S.STARTING, _S.QUEUED): frozenset({Actor.RUNNER}),
    (_S.STARTING, _S.FAILED): frozenset({Actor.RUNNER}),
    (_S.STARTING, _S.LOST): frozenset({Actor.RUNNER}),
    (_S.STARTING, _S.STOPPING): frozenset({Actor.USER, Actor.SCHEDULER}),
    (_S.RUNNING, _S.RUNNING): frozenset({Actor.SCHEDULER, Actor.RUNNER}),
    (_S.RUNNING, _S.QUEUED): frozenset({Actor.RUNNER}),
    (_S.RUNNING, _S.SUCCEEDED): frozenset({Actor.RUNNER}),
    (_S.RUNNING, _S.FAILED): frozenset({Actor.RUNNER}),
    (_S.RUNNING, _S.LOST): frozenset({Actor.RUNNER}),
    (_S.RUNNING, _S.STOPPING): frozenset({Actor.USER, Actor.SCHEDULER}),
    (_S.STOPPING, _S.STOPPING): frozenset({Actor.USER, Actor.RUNNER}),
    (_S.STOPPING, _S.QUEUED): frozenset({Actor.RUNNER}),
    # A job may end by itself in the moment in which it is asked to stop: then its own result counts.
    (_S.STOPPING, _S.SUCCEEDED): frozenset({Actor.RUNNER}),
    (_S.STOPPING, _S.FAILED): frozenset({Actor.RUNNER}),
    (_S.STOPPING, _S.CANCELLED): frozenset({Actor.RUNNER}),
    (_S.STOPPING, _S.TIMED_OUT): frozenset({Actor.RUNNER}),
}
"""Every legal change of state, with who may make it."""


@dataclass(frozen=True, slots=True)
class Reason:
    """Why a job is where it is: a stable code for programs, a sentence for people."""

    code: str
    sentence: str


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong with a bundle.

    Attributes:
        where: file and key or line, for example `container_config.json: num_gpus`.
        what: what is wrong there.
        instead: what to write or do instead.
    """

    where: str
    what: str
    instead: str

    def __str__(self) -> str:
        return f"{self.where}: {self.what}. {self.instead}".rstrip()


@dataclass(frozen=True, slots=True)
class Mount:
    """A host folder as the container sees it; `read_only` unless it is the job's own output."""

    source: str
    target: str
    read_only: bool = True


@dataclass(frozen=True, slots=True)
class After:
    """A job that is to end first: its number or name as it was written; `however` it ends, else with success only."""

    job: str
    however: bool = False


@dataclass(frozen=True, slots=True)
class Dependency:
    """An `After` whose job has been found."""

    job: JobId
    however: bool = False


@dataclass(frozen=True, slots=True)
class JobSpec:
    """What was asked for, checked; never edited by the system.

    Attributes:
        name: the job's name, `[a-z0-9][a-z0-9_.-]{0,62}`.
        gpus: GPUs, 0 for a job that runs on the CPU alone.
        slots: slots of its one GPU, which others may share then; None for whole GPUs.
        memory_bytes: limit on main memory; None leaves the node's default.
        shm_bytes: size of /dev/shm; None leaves the node's default.
        cpus: CPU share in cores; None for no limit.
        time_limit_s: the job is stopped after so many seconds of running; None leaves the node's default.
        command: replaces the image's CMD when given.
        entrypoint: replaces the image's ENTRYPOINT when given.
        environment: added to the image's environment.
        working_dir: replaces the image's WORKDIR when given.
        stop_signal: replaces the image's STOPSIGNAL when given.
        priority: among the same user's own jobs only; higher goes first.
        after: jobs of the same user that have to end before this one starts.
        retries: how often it is tried again after a fault of ours.
        template: the Dockerfile template that its image is made from; None for a bundle with its own Dockerfile.
        build: False for a bundle that holds a ready-made image; None where the bundle's files tell.
        python: version of Python that the python template is to use; None leaves the node's own.
    """

    name: str
    gpus: int = 0
    slots: int | None = None
    memory_bytes: int | None = None
    shm_bytes: int | None = None
    cpus: float | None = None
    time_limit_s: int | None = None
    command: tuple[str, ...] | None = None
    entrypoint: tuple[str, ...] | None = None
    environment: tuple[tuple[str, str], ...] = ()
    working_dir: str | None = None
    stop_signal: str | None = None
    priority: int = 0
    after: tuple[After, ...] = ()
    retries: int = 0
    template: str | None = None
    build: bool | None = None
    python: str | None = None


@dataclass(frozen=True, slots=True)
class Retry:
    """A job is tried again: `failed` attempts ended by faults of ours, the last for `reason`."""

    failed: int
    reason: Reason
    not_before: datetime


@dataclass(frozen=True, slots=True)
class Work:
    """What the Provider made of a bundle: settings, the image that runs them, and when it joined the queue.

    `queued_at` moves on by the time for which it is held: so its wait until then is kept, and no more is added.
    """

    spec: JobSpec
    image: ImageId
    queued_at: datetime
    has_input: bool = False
    after: tuple[Dependency, ...] = ()
    retry: Retry | None = None


@dataclass(frozen=True, slots=True)
class Lease:
    """The right of one attempt at a job to hold GPUs, and a place.

    It ends with the attempt, when the engine has told how; or before that, when the kernel says that no process of the
    attempt is left (docs/adr/0066).

    Attributes:
        rate: GPUs that are charged for it, as the settings were at its begin; None, in journals from before there were
            weights: as many as it holds, or `queue.cpu_job_rate`.
        part: how much it holds of each of its GPUs, 1 for whole ones. No number of slots, whose size is a setting.
        ended_at: when it ended before its attempt did; None while it is in force, and where both ended at once.
    """

    attempt: int
    gpus: frozenset[GpuId]
    since: datetime
    rate: float | None = None
    part: float = 1.0
    ended_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class ResourceUse:
    """What a run took, as sampled; None where nothing could be read."""

    cpu_s: float | None = None
    memory_peak_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class Building:
    """Taken from the inbox or uploaded; the Provider checks it and makes an image."""

    name: Literal[StateName.BUILDING] = StateName.BUILDING


@dataclass(frozen=True, slots=True)
class Held:
    """Kept back for `reason`, not for want of a turn; goes on to building, or to the queue where there is `work`.

    Who is held for want of space waits with its build; for a person's wish it is built all the same, if it is not yet.
    """

    reason: Reason
    since: datetime
    work: Work | None = None
    name: Literal[StateName.HELD] = StateName.HELD

    @property
    def awaits_space(self) -> bool:
        """Whether it is the Provider that holds it, until a disk has space for its image."""
        return self.reason.code == "waiting_for_space"


@dataclass(frozen=True, slots=True)
class Queued:
    """Ready to run, waiting for its turn."""

    work: Work
    name: Literal[StateName.QUEUED] = StateName.QUEUED


@dataclass(frozen=True, slots=True)
class Starting:
    """Chosen by the scheduler; the container is being made. Written before Docker is asked for anything."""

    work: Work
    lease: Lease
    name: Literal[StateName.STARTING] = StateName.STARTING


@dataclass(frozen=True, slots=True)
class Running:
    """The container's process runs; `warning` is what is odd about it, for its user to know."""

    work: Work
    lease: Lease
    started_at: datetime
    warning: Reason | None = None
    name: Literal[StateName.RUNNING] = StateName.RUNNING


@dataclass(frozen=True, slots=True)
class Stopping:
    """Asked to end, for `reason`; it becomes `becomes` when its container is gone."""

    work: Work
    lease: Lease
    started_at: datetime | None  # None: asked to stop before its process ran
    becomes: Literal[StateName.CANCELLED, StateName.TIMED_OUT, StateName.FAILED]
    reason: Reason
    since: datetime
    name: Literal[StateName.STOPPING] = StateName.STOPPING


@dataclass(frozen=True, slots=True)
class Ended:
    """Final. `work`, `lease` and `started_at` tell how far the job came, `problems` what was wrong with its bundle."""

    outcome: Outcome
    at: datetime
    reason: Reason
    exit_code: int | None = None
    work: Work | None = None
    lease: Lease | None = None
    started_at: datetime | None = None
    use: ResourceUse = field(default_factory=ResourceUse)
    problems: tuple[Problem, ...] = ()

    @property
    def name(self) -> StateName:
        """The final state as it is spelled everywhere."""
        return self.outcome


# Ended first, Building last: pydantic before 2.8 reads a state back as the first whose required fields are there.
State = Ended | Stopping | Running | Starting | Queued | Held | Building
Occupying = Starting | Running | Stopping
"""The states in which a job may have a container. Its lease is in force until no process of it is left."""


@dataclass(frozen=True, slots=True)
class Job:
    """One request to run one image once.

    Attributes:
        bundle: file name as the user handed it in.
        name: from the spec once that has been read, before that from the bundle's file name.
        key: names what was handed in; the same drop has the same key however often it is met.
        seq: number of the journal entry that made it what it is; grows with every change of any job.
        built_at: when the image stood; None before, and for ever if it never did.
    """

    id: JobId
    user: UserName
    bundle: str
    key: str
    name: str
    submitted_at: datetime
    state: State
    seq: int = 0


def is_our_fault(reason: Reason) -> bool:
    """Whether a run ended for something that its user could not help: it is not charged, and may be tried again."""
    return reason.code in {"container_gone", "engine_restarted", "gpu_fault", "gpu_lost", "start_failed"}


def work_of(state: State) -> Work | None:
    """Settings and image, None while there are none."""
    return None if isinstance(state, Building) else state.work


def is_to_be_built(state: State) -> bool:
    """Whether its image is still to be made."""
    return isinstance(state, Building | Held) and work_of(state) is None


def lease_of(state: State) -> Lease | None:
    """The lease that is in force; a job that has ended has none, and one whose process is gone."""
    match state:
        case Starting() | Running() | Stopping():
            return state.lease if state.lease.ended_at is None else None
        case Building() | Held() | Queued() | Ended():
            return None
        case _:
            assert_never(state)


def gpus_held(state: State) -> frozenset[GpuId]:
    """The GPUs that it holds now, whole or in part."""
    lease = lease_of(state)
    return lease.gpus if lease else frozenset()


def started_at(state: State) -> datetime | None:
    """When the process began to run; None if it has not (yet)."""
    match state:
        case Running() | Stopping() | Ended():
            return state.started_at
        case Building() | Held() | Queued() | Starting():
            return None
        case _:
            assert_never(state)


def finished_at(state: State) -> datetime | None:
    """When the job ended; None while it has not."""
    return state.at if isinstance(state, Ended) else None


def gpu_seconds(state: State, now: datetime) -> float:
    """GPU-seconds used so far: the leased GPUs, or the part of them, times the seconds for which they were held.

    Counted from the lease's begin, since nobody else could have the GPUs from then on.
    """
    match state:
        case Starting() | Running() | Stopping():
            return _gpu_seconds(state.lease, now)
        case Ended() if state.lease is not None:
            return _gpu_seconds(state.lease, state.at)
        case Building() | Held() | Queued() | Ended():
            return 0.0
        case _:
            assert_never(state)


def _gpu_seconds(lease: Lease, until: datetime) -> float:
    held_s = ((lease.ended_at or until) - lease.since).total_seconds()
    return lease.part * len(lease.gpus) * max(0.0, held_s)
