"""What the service answers, as types: the contract of docs/json.md.

Times are ISO 8601 in UTC, sizes bytes, durations seconds; what is absent is None. A newer service may send more.
"""

from __future__ import annotations

from typing import NotRequired, TypedDict

from dopq.job import FINAL


class ReasonInfo(TypedDict):
    """Why a job is where it is: a code for programs, a sentence for people."""

    code: str
    sentence: str


class ProblemInfo(TypedDict):
    """One thing that is wrong with a bundle: where, what, and what to write instead."""

    where: str
    what: str
    instead: str


class GpuLive(TypedDict):
    """What one GPU of a running job did when the node last looked."""

    uuid: str
    index: int | None
    utilisation_percent: int | None
    memory_used_bytes: int | None
    memory_total_bytes: int | None


class LiveInfo(TypedDict):
    """What a running job takes at the moment; of others' jobs only the GPUs are told."""

    cpu_cores: float | None
    memory_bytes: int | None
    gpus: list[GpuLive]


class JobInfo(TypedDict):
    """One job. Of others' jobs an ordinary user is told what is public; the rest is None (docs/json.md)."""

    id: int
    name: str
    user: str
    state: str
    kind: str
    node: str
    num_gpus: int | None
    num_slots: int | None
    gpus: list[str]
    memory_bytes: int | None
    submitted_at: str
    queued_at: str | None
    started_at: str | None
    finished_at: str | None
    exit_code: int | None
    reason: ReasonInfo | None
    position: int | None
    eta: dict[str, float] | None
    penalty: float | None
    gpu_seconds: float | None
    image: str | None
    group: str | None
    problems: list[ProblemInfo] | None
    bundle: str | None
    live: NotRequired[LiveInfo | None]


class Term(TypedDict):
    """What one user's place in the fair order is made of; the smallest `expected_penalty` goes first."""

    user: str
    usage_gpu_seconds: float
    committed_gpu_seconds: float
    weight: float
    penalty: float
    expected_penalty: float


class Explanation(TypedDict):
    """Why a job waits: which jobs have to end first, which it must not delay, and until when at the latest."""

    job: JobInfo
    waits_for: list[int]
    behind: int | None
    until: str | None
    policy: str
    terms: list[Term]


class UserStatistics(TypedDict):
    """What a user has used (decayed GPU-seconds) and has in the queue; `jobs` counts them by state."""

    user: str
    role: str
    weight: float
    penalty: float
    usage_gpu_seconds: float
    gpus_held: int
    jobs: dict[str, int]


class Myself(TypedDict):
    """The caller as the service knows them; an older service tells the first three only."""

    user: str
    role: str
    weight: float
    email: NotRequired[str | None]
    uid: NotRequired[int | None]
    expires_at: NotRequired[str | None]


class Issued(TypedDict):
    """A new token, and when it ends."""

    token: str
    expires_at: str


class Hello(TypedDict):
    """Who answers; `user` is None when the token is missing or wrong."""

    service: str
    version: str
    schema_version: int
    user: str | None


class FetchedFile(TypedDict):
    """A result that was written: its path below the target folder and its size in bytes."""

    path: str
    size: int


def is_told_in_full(job: JobInfo) -> bool:
    """Whether the service tells all of a job: it is the caller's own, or the caller is an admin."""
    return job["bundle"] is not None


def has_ended(job: JobInfo) -> bool:
    """Whether the job is in a final state."""
    return job["state"] in FINAL
