"""What crosses the wire: plain data only (None, bool, int, float, str, bytes, lists, dicts with string keys).

Both sides use this file. Times are ISO 8601 in UTC, sizes bytes, durations seconds; what is absent is None.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from dopq import errors
from dopq.band import Band
from dopq.errors import DopqError
from dopq.job import (
    Ended,
    Held,
    Job,
    JobSpec,
    Problem,
    Reason,
    Running,
    Stopping,
    finished_at,
    gpu_seconds,
    gpus_held,
    started_at,
    work_of,
)

SCHEMA_VERSION = 1
CONTROLLER = "dopq.controller"
ALIAS = "remote_dopq"  # the name that DoPQ 1.0's clients look up
ERROR_CLASS = "dopq.errors.DopqError"  # the tag under which every error of ours travels

Plain = dict[str, Any]

PUBLIC = frozenset(
    (
        *("id", "name", "user", "state", "kind", "node"),
        *("num_gpus", "num_slots", "gpus"),
        *("submitted_at", "queued_at", "started_at", "finished_at", "position", "eta"),
    )
)
"""What everybody may know of a job: whose it is, how it stands, its GPUs and its times."""

PUBLIC_LIVE = frozenset({"gpus"})
"""What everybody may know of its live figures: GPUs are everybody's, and `system` tells of all of them."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a queued job stands (1 is next), what it waits for, and how long, if that can be said."""

    position: int
    reason: Reason
    eta: Band | None = None


def time_to_wire(at: datetime | None) -> str | None:
    """ISO 8601 UTC with milliseconds, for example `2026-03-01T12:00:00.000Z`."""
    return at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z") if at else None


def reason_to_wire(reason: Reason | None) -> Plain | None:
    """A reason as `{code, sentence}`."""
    return {"code": reason.code, "sentence": reason.sentence} if reason else None


def problem_to_wire(problem: Problem) -> Plain:
    """A problem as `{where, what, instead}`."""
    return {"where": problem.where, "what": problem.what, "instead": problem.instead}


def band_to_wire(band: Band) -> Plain:
    """A band as `{p10, p50, p90}`, in seconds."""
    return {"p10": band.p10_s, "p50": band.p50_s, "p90": band.p90_s}


def job_to_wire(
    job: Job, *, node: str, now: datetime, place: Place | None, penalty: float | None, slots_per_gpu: int
) -> Plain:
    """A job as the contract spells it (docs/json.md), with the bundle's name besides."""
    work = work_of(job.state)
    spec = work.spec if work else JobSpec(name=job.name)
    return {
        "id": int(job.id),
        "name": job.name,
        "user": str(job.user),
        "state": str(job.state.name),
        "kind": "batch",
        "node": node,
        "num_gpus": spec.gpus if work else None,
        "num_slots": (spec.slots or slots_per_gpu) if work else None,
        "gpus": sorted(gpus_held(job.state)),
        "memory_bytes": spec.memory_bytes,
        "submitted_at": time_to_wire(job.submitted_at),
        "queued_at": time_to_wire(work.queued_at if work else None),
        "started_at": time_to_wire(started_at(job.state)),
        "finished_at": time_to_wire(finished_at(job.state)),
        "exit_code": job.state.exit_code if isinstance(job.state, Ended) else None,
        "reason": reason_to_wire(_reason(job, place)),
        "position": place.position if place else None,
        "eta": band_to_wire(place.eta) if place and place.eta else None,
        "penalty": penalty,
        "gpu_seconds": gpu_seconds(job.state, now),
        "image": str(work.image) if work else None,
        "group": None,
        "problems": [problem_to_wire(p) for p in job.state.problems] if isinstance(job.state, Ended) else [],
        "bundle": job.bundle,
        "seq": job.seq,
        "live": None,
    }


def public(job: Plain) -> Plain:
    """A job of `job_to_wire` as others than its user may see it: what is not `PUBLIC` is None."""
    live = job["live"] and _only(PUBLIC_LIVE, job["live"])
    return _only(PUBLIC, job) | {"live": live}


def _only(fields: Collection[str], whole: Plain) -> Plain:
    return {field: value if field in fields else None for field, value in whole.items()}


def _reason(job: Job, place: Place | None) -> Reason | None:
    if isinstance(job.state, Held | Stopping | Ended):
        return job.state.reason
    if isinstance(job.state, Running):
        return job.state.warning
    return place.reason if place else None


def error_to_wire(error: DopqError) -> Plain:
    """An error as plain data."""
    return {"code": error.code, "message": error.message, "hint": error.hint, "details": error.details}


def error_from_wire(data: Mapping[str, Any]) -> DopqError:
    """The error that `error_to_wire` described; an unknown code (a newer server's) becomes the base class."""
    code = str(data.get("code", "error"))
    details = data.get("details")
    kind = _BY_CODE.get(code, DopqError)
    error = kind(str(data.get("message", "")), str(data.get("hint", "")))
    error.details = {str(k): v for k, v in details.items()} if isinstance(details, Mapping) else {}
    return error


_BY_CODE: dict[str, type[DopqError]] = {
    kind.code: kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, DopqError)
}
