"""From outcomes to exit codes: the one place (docs/json.md, "Exit codes")."""

from __future__ import annotations

from enum import IntEnum

from dopq.errors import (
    BadConfig,
    DopqError,
    InvariantBroken,
    NotAllowed,
    NotFound,
    NotLoggedIn,
    OperatorError,
    TryAgain,
    UserError,
)
from dopq.job import StateName
from dopq_client.shapes import JobInfo


class Exit(IntEnum):
    """What the command's exit code says. Ours, except that `wait --propagate` passes on the job's own."""

    DONE = 0
    JOB_FAILED = 1
    REFUSED = 2
    NOT_FOUND = 3
    NOT_ALLOWED = 4
    UNREACHABLE = 5
    TIMED_OUT = 6
    CANCELLED = 7
    HELD = 8
    DEFECT = 70  # EX_SOFTWARE of sysexits.h: a defect of DoPQ, never the outcome of a job
    INTERRUPTED = 130  # 128 + SIGINT, as shells have it


# The first family that fits counts.
_FAMILIES: tuple[tuple[type[DopqError], Exit], ...] = (
    (NotFound, Exit.NOT_FOUND),
    (NotAllowed, Exit.NOT_ALLOWED),
    (NotLoggedIn, Exit.NOT_ALLOWED),
    (UserError, Exit.REFUSED),
    (BadConfig, Exit.REFUSED),
    (TryAgain, Exit.UNREACHABLE),
    (OperatorError, Exit.UNREACHABLE),
    (InvariantBroken, Exit.DEFECT),
)


def exit_of_error(error: DopqError) -> Exit:
    """The exit code of a command that ended with `error`."""
    if error.code == "wait_timed_out":  # by code: its class lives in waiting.py, which `--help` need not load
        return Exit.HELD if error.details.get("all_held") else Exit.TIMED_OUT
    return next((code for family, code in _FAMILIES if isinstance(error, family)), Exit.DEFECT)


def exit_of_job(job: JobInfo) -> Exit:
    """The exit code that tells how a job ended; one that goes on counts as fine."""
    match job["state"]:
        case StateName.FAILED | StateName.TIMED_OUT | StateName.LOST | StateName.INVALID | StateName.BUILD_FAILED:
            return Exit.JOB_FAILED
        case StateName.CANCELLED:
            return Exit.CANCELLED
        case _:
            return Exit.DONE


def exit_of_jobs(jobs: list[JobInfo], *, propagate: bool = False) -> int:
    """The exit code for several jobs: that of the first that failed, else of the first that was cancelled, else 0.

    `propagate`: the failed job's own exit code instead, where it has one (shells see it modulo 256).
    """
    worst = sorted((job for job in jobs if exit_of_job(job)), key=exit_of_job)
    if not worst:
        return Exit.DONE
    own = worst[0]["exit_code"]
    return own if propagate and own else exit_of_job(worst[0])
