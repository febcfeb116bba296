"""Why a waiting job does not start: the one true reason, from the decision that left it waiting.

Pure. True means: were the jobs that it names gone, and nobody ahead in the queue, the job would start.
"""

from __future__ import annotations

from dataclasses import dataclass

from dopq.job import JobId, Reason
from dopq.lines import Waiting
from dopq.queue_model import Decision, share_of_gpus
from dopq.reservation import Holding
from dopq.room import Room


@dataclass(frozen=True, slots=True)
class Why:
    """A reason with what it names.

    Attributes:
        waits_for: the jobs that would have to end, the first to end first; the fewest of them that suffice.
        behind: the waiting job whose reservation would be delayed.
        at_s: when what it waits for is over at the latest, seconds since the epoch; None where nobody can say.
    """

    reason: Reason
    waits_for: tuple[JobId, ...] = ()
    behind: JobId | None = None
    at_s: float | None = None


def why(job: Waiting, decision: Decision, aside: Reason | None = None) -> Why | None:
    """Why `job` did not start with `decision`; None for one that came later, and may start with the next.

    `aside`: why it was in no line, if so.
    """
    view = decision.view
    obstacle = _never(job, decision) or aside or view.stopped
    if obstacle:
        return Why(obstacle)
    cause = _quota(job, decision) or _reserved(job, decision)
    if cause is None and not decision.room.fits(job.demand):
        return _full(job, decision)
    return cause


def _never(job: Waiting, decision: Decision) -> Reason | None:
    capacity, demand, quota = decision.view.capacity, job.demand, decision.view.quota
    beyond = [
        f"{asked}, this node has {there}"
        for asked, there, fits in (
            (_gpus(demand.gpus), str(len(capacity.gpus)), demand.gpus <= len(capacity.gpus)),
            (
                f"{demand.slots} slots of a GPU",
                str(capacity.slots_per_gpu if capacity.gpus else 0),
                demand.slots <= (capacity.slots_per_gpu if capacity.gpus else 0),
            ),
            (f"{demand.cpus:g} cores", f"{capacity.cpus:g}", demand.cpus <= capacity.cpus),
            (_gib(demand.memory_bytes), _gib(capacity.memory_bytes), demand.memory_bytes <= capacity.memory_bytes),
        )
        if not fits
    ]
    if beyond:
        return Reason("never_fits", f"Asks for {' and '.join(beyond)}: it can never run here.")
    if demand.needs_gpu and share_of_gpus(demand, capacity) > quota.gpus:
        sentence = f"Asks for {_gpus(demand.gpus)}, one user may hold {quota.gpus:g} at once: it can never run here."
        return Reason("never_fits", sentence)
    return None


def _quota(job: Waiting, decision: Decision) -> Why | None:
    """The user's own jobs are in the way."""
    view, demand = decision.view, job.demand
    gpus, jobs = decision.held_by(job.user)
    asked = share_of_gpus(demand, view.capacity)
    too_many = jobs >= view.quota.jobs
    if not too_many and not (demand.needs_gpu and gpus + asked > view.quota.gpus):
        return None
    over, ending = (float(jobs + 1) - view.quota.jobs, []) if too_many else (gpus + asked - view.quota.gpus, [])
    for it in _by_end(decision):
        if it.user == job.user and over > 0:
            over -= 1.0 if too_many else share_of_gpus(it.demand, view.capacity)
            ending.append(it)
    bound = f"{view.quota.jobs:g} jobs" if too_many else f"{view.quota.gpus:g} GPUs"
    sentence = f"Waits for your own {_named(ending)}: one user may have {bound} at once."
    return Why(Reason("quota", sentence), tuple(it.id for it in ending), at_s=ending[-1].until_s(view.now_s))


def _reserved(job: Waiting, decision: Decision) -> Why | None:
    """It would fit, and delay somebody to whom a start was promised."""
    view = decision.view
    if not decision.room.fits(job.demand):
        return None
    for it in decision.reservations.values():
        if it.is_delayed_by(job, view.now_s, decision.room):
            cause = "is overdue" if it.overdue else "is next"
            sentence = (
                f"Fits now, but job {it.job.id} of {it.job.user} {cause} and is to start in "
                f"{duration(it.at_s - view.now_s)} at the latest; a job with a time limit below that may pass it."
            )
            return Why(Reason("reserved", sentence), behind=it.job.id, at_s=it.at_s)
    return None


def _full(job: Waiting, decision: Decision) -> Why:
    """What it needs is held by others."""
    view, room = decision.view, decision.room.copy()
    ending = []
    for it in _by_end(decision):
        if room.fits(job.demand):
            break
        room.give_back(it.demand, it.gpus)
        ending.append(it)
    needless = [it for it in ending if _fits_without(job, it, room)]
    for it in needless:  # ended before, and yet not what was lacking: another GPU's slots, or memory where places lack
        if _fits_without(job, it, room):
            room.take(it.demand, it.gpus)
            ending.remove(it)
    now_s = view.now_s
    by = "; ".join(
        f"job {it.id} of {it.user} has {_what(it)} for {duration(it.until_s(now_s) - now_s)} at most" for it in ending
    )
    at_s = max((it.until_s(now_s) for it in ending), default=None)
    return Why(_lacking(job, by, decision), tuple(it.id for it in ending), at_s=at_s)


def _fits_without(job: Waiting, it: Holding, room: Room) -> bool:
    """Whether it still fits if `it` stays."""
    room.take(it.demand, it.gpus)
    fits = room.fits(job.demand)
    room.give_back(it.demand, it.gpus)
    return fits


def _lacking(job: Waiting, by: str, decision: Decision) -> Reason:
    """What it lacks first; `by` names who has it."""
    demand, room = job.demand, decision.room
    if demand.gpus > room.free_gpus:
        return Reason("waits_for_gpus", f"Waits for {_gpus(demand.gpus)}, {room.free_gpus} free: {by}.")
    if demand.slots > room.free_slots:
        return Reason("waits_for_gpus", f"Waits for {demand.slots} slots of one GPU, {room.free_slots} free: {by}.")
    if room.places <= 0:
        return Reason("waits_for_place", f"Waits for a place, all {decision.view.capacity.places} are taken: {by}.")
    if demand.cpus > room.cpus:
        return Reason("waits_for_cpus", f"Waits for {demand.cpus:g} cores, {room.cpus:g} free: {by}.")
    memory, free = _gib(demand.memory_bytes), _gib(room.memory_bytes)
    return Reason("waits_for_memory", f"Waits for {memory} of memory, {free} free: {by}.")


def _by_end(decision: Decision) -> list[Holding]:
    return sorted(decision.holding, key=lambda it: (it.until_s(decision.view.now_s), it.id))


def _named(jobs: list[Holding]) -> str:
    return ("job " if len(jobs) == 1 else "jobs ") + ", ".join(str(it.id) for it in jobs)


def _what(it: Holding) -> str:
    if it.demand.slots:
        return f"{it.demand.slots} slots"
    return _gpus(it.demand.gpus) if it.demand.gpus else "a place"


def _gpus(count: int) -> str:
    return f"{count} GPU" if count == 1 else f"{count} GPUs"


def _gib(size: float) -> str:
    return f"{size / 2**30:.3g} GiB"


def duration(seconds: float) -> str:
    """A span as people say it, in its two largest units: `2 d 3 h`, `3 h 20 min`, `45 s`."""
    left = round(max(0.0, seconds))
    parts = []
    for unit, length_s in (("d", 86400), ("h", 3600), ("min", 60), ("s", 1)):
        count, left = divmod(left, length_s)
        if count:
            parts.append(f"{count} {unit}")
    return " ".join(parts[:2]) or "0 s"
