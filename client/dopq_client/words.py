"""Numbers, times and outcomes in words. Pure: the time is handed in, and its zone is the reader's."""

from __future__ import annotations

import math
from datetime import datetime

from dopq.clean import clean
from dopq.job import FINAL, StateName
from dopq_client.shapes import JobInfo, Myself

NOTHING = "-"
NO_TIME = "0 s"


def parse_time(text: str | None) -> datetime | None:
    """A time of the wire; None if there is none, or if it is none."""
    try:
        at = datetime.fromisoformat(text) if text else None
    except ValueError:
        return None
    return at if at and at.tzinfo else None


def span(seconds: float) -> str:
    """A duration in at most two units: `45 s`, `3 min`, `2 h 5 min`, `3 d`."""
    whole = int(seconds)
    if whole < 60:
        return f"{whole} s"
    minutes, hours, days = whole // 60, whole // 3600, whole // 86400
    if hours < 1:
        return f"{minutes} min"
    if hours < 10:
        return f"{hours} h {minutes % 60} min" if minutes % 60 else f"{hours} h"
    return f"{hours} h" if days < 2 else f"{days} d"


def counted(count: int, thing: str) -> str:
    """A number of things: `1 file`, `2 files`."""
    return f"{count} {thing}" if count == 1 else f"{count} {thing}s"


def ago(text: str | None, now: datetime) -> str:
    """A time seen from `now`: `3 min ago`, `in 2 h`."""
    at = parse_time(text)
    if at is None:
        return NOTHING
    seconds = (now - at).total_seconds()
    if abs(seconds) < 1:
        return "now"
    return f"{span(seconds)} ago" if seconds > 0 else f"in {span(-seconds)}"


def at_the_latest(text: str | None, now: datetime) -> str:
    """A time ahead as `ago` tells it, rounded up: nobody is told a bound that may be passed."""
    at = parse_time(text)
    if at is None:
        return NOTHING
    seconds = (at - now).total_seconds()
    step_s = next((step_s for below_s, step_s in ((60, 1), (36_000, 60), (172_800, 3600)) if seconds < below_s), 86400)
    return f"in {span(math.ceil(seconds / step_s) * step_s)}" if seconds > 0 else "now"


def elapsed(text: str | None, now: datetime) -> str:
    """How long ago a time was: `3 min`."""
    at = parse_time(text)
    return span(max(0.0, (now - at).total_seconds())) if at else NOTHING


def local(text: str | None, now: datetime) -> str:
    """A time as the reader's clock has it, and seen from `now`."""
    at = parse_time(text)
    return f"{at.astimezone(now.tzinfo):%Y-%m-%d %H:%M:%S} ({ago(text, now)})" if at else NOTHING


def known_as(me: Myself, where: str, now: datetime) -> str:
    """As whom a service knows its user, where, and until when."""
    end = parse_time(me.get("expires_at"))
    until = f"; your token holds until {end.astimezone(now.tzinfo):%Y-%m-%d %H:%M}" if end else ""
    return f"{clean(me['user'])} ({clean(me['role'])}, weight {me['weight']:g}) at {where}{until}"


def size(count: float | None) -> str:
    """Bytes in binary units: `512 B`, `1.5 GiB`."""
    if count is None:
        return NOTHING
    for unit in ("B", "KiB", "MiB", "GiB", "TiB"):
        if abs(count) < 1024 or unit == "TiB":
            break
        count /= 1024
    return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"


def since(job: JobInfo) -> str | None:
    """When the job got into the state in which it is, as far as the wire tells."""
    match job["state"]:
        case StateName.BUILDING | StateName.HELD:
            return job["submitted_at"]
        case StateName.QUEUED | StateName.STARTING:
            return job["queued_at"]
        case state if state in FINAL:
            return job["finished_at"]
        case _:
            return job["started_at"]


def reason(job: JobInfo) -> str:
    """Why the job is where it is; empty when there is nothing to say."""
    return clean(job["reason"]["sentence"]) if job["reason"] else ""


_IS: dict[str, str] = {
    StateName.SUCCEEDED: "has succeeded",
    StateName.FAILED: "has failed",
    StateName.CANCELLED: "was cancelled",
    StateName.TIMED_OUT: "was stopped at its time limit",
    StateName.LOST: "was lost",
    StateName.INVALID: "was refused",
    StateName.BUILD_FAILED: "could not be built",
}


def outcome(job: JobInfo) -> str:
    """One sentence on where a job stands, and why."""
    stands = _IS.get(job["state"], f"is {clean(job['state'])}")
    why = f": {reason(job)}" if reason(job) else "."
    return f"Job {job['id']} ({clean(job['name'])}) {stands}{why}"


def start(job: JobInfo) -> str:
    """When a waiting job will start: `in about 2 h, between 40 min and 5 h`; empty when nobody can say.

    What a forecast says is over already reads `at any moment, within 9 min`.
    """
    eta = job["eta"]
    if eta is None:
        return ""
    low, middle, high = (_roughly(eta[key]) for key in ("p10", "p50", "p90"))
    if middle == NO_TIME:
        return "at any moment" if high == NO_TIME else f"at any moment, within {high}"
    low = "now" if low == NO_TIME else low
    return f"in about {middle}" if low == high else f"in about {middle}, between {low} and {high}"


def band(job: JobInfo) -> str:
    """The same as short as can be, eight of ten times: `40 min - 5 h`; that nobody can say is `-`."""
    eta = job["eta"]
    if eta is None:
        return NOTHING
    low, high = (_roughly(eta[key]) for key in ("p10", "p90"))
    return high if low == high else f"{'now' if low == NO_TIME else low} - {high}"


def _roughly(seconds: float) -> str:
    """A duration that nobody knows to the second: `40 min`, `2 h 10 min`, `14 h`."""
    step_s = next((step_s for below_s, step_s in ((60, 1), (3600, 60), (36_000, 600)) if seconds < below_s), 3600)
    return span(round(seconds / step_s) * step_s)


def next_steps(job: JobInfo) -> str:
    """The commands that fit after a job was handed in."""
    number = job["id"]
    return (
        f"  dopq-client status {number}    where it stands\n"
        f"  dopq-client logs -f {number}   what it prints\n"
        f"  dopq-client fetch {number}     its results"
    )


def build_advice(job: JobInfo) -> str:
    """Where to look while a job is building, and nothing is in its own log; empty for any other."""
    number = job["id"]
    return f" `dopq-client logs -f --build {number}` shows its build." if job["state"] == StateName.BUILDING else ""


def advice(job: JobInfo) -> str:
    """What to look at after a job ended badly."""
    match job["state"]:
        case StateName.BUILD_FAILED:
            return (
                f"See the whole build with `dopq-client logs --build {job['id']}`, change the bundle, submit it again."
            )
        case StateName.INVALID:
            return "Change the bundle as told, then submit it again."
        case _:
            return f"See the whole log with `dopq-client logs {job['id']}`."
