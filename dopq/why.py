"""Why a waiting job does not start: the one true reason, from the decision that left it waiting.

Pure. True means: were the jobs that it names gone, the GPUs that it names handed out, and nobody ahead in the queue,
the job would start; and it would not if any one of the jobs had stayed.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from dopq.job import JobId, Reason
from dopq.lines import Waiting
from dopq.queue_model import Decision, share_of_gpus
from dopq.reservation import Holding, place
from dopq.room import ROUNDING, Room


@dataclass(frozen=True, slots=True)
class Why:
    """A reason with what it names.

    Attributes:
        waits_for: the jobs that would have to end, the first to end first; one could do without none of them.
        behind: the waiting job whose reservation would be delayed.
        at_s: when what it waits for is over at the latest, seconds since the epoch; None where nobody can say.
    """

    reason: Reason
    waits_for: tuple[JobId, ...] = ()
    behind: JobId | None = None
    at_s: float | None = None


def why(job: Waiting, decision: Decision, aside: Reason | None = None) -> Why:
    """Why `job`, which waited when `decision` was made, did not start. `aside`: why it was in no line, if so."""
    view = decision.view
    obstacle = _never(job, decision) or aside or view.stopped
    if obstacle:
        return Why(obstacle)
    ending = _ending(job, decision)
    if ending is None:
        return _withheld(job, decision)
    if not ending:
        return _reserved(job, decision)
    reason = _full(job, decision, ending) if _Supposed(job, decision).within_quota else _quota(job, decision, ending)
    return Why(reason, tuple(it.id for it in ending), at_s=max(it.until_s(view.now_s) for it in ending))


def _never(job: Waiting, decision: Decision) -> Reason | None:
    capacity, demand, quota = decision.view.capacity, job.demand, decision.view.quota
    beyond = [
        f"{asked}, this node has {there}"
        for asked, there, fits in (
            (_gpus(demand.gpus), str(len(capacity.gpus)), demand.gpus <= len(capacity.gpus)),
            (
                f"{_slots(demand.slots)} of a GPU",
                str(capacity.slots_per_gpu if capacity.gpus else 0),
                demand.slots <= (capacity.slots_per_gpu if capacity.gpus else 0),
            ),
            (f"{demand.cpus:g} cores", f"{capacity.cpus:g}", demand.cpus <= capacity.cpus + ROUNDING),
            (_gib(demand.memory_bytes), _gib(capacity.memory_bytes), demand.memory_bytes <= capacity.memory_bytes),
        )
        if not fits
    ]
    if beyond:
        return Reason("never_fits", f"Asks for {' and '.join(beyond)}: it can never run here.")
    if capacity.places < 1:
        return Reason("never_fits", "This node runs no jobs: it can never run here.")
    if not quota.allows(demand, capacity, gpus=0.0, jobs=0):
        asked, bound = (_asked(job), _gpus(quota.gpus)) if quota.jobs >= 1 else ("a place", "no jobs")
        return Reason("never_fits", f"Asks for {asked}, one user may have {bound} at once: it can never run here.")
    return None


class _Supposed:
    """The node as it would be if some of what occupies it had ended."""

    def __init__(self, job: Waiting, decision: Decision) -> None:
        self._job = job
        self._view = decision.view
        self._room = decision.room.copy()
        self._gpus, self._jobs = decision.held_by(job.user)

    @property
    def within_quota(self) -> bool:
        """Whether the job's user may have it beside their others."""
        return self._view.quota.allows(self._job.demand, self._view.capacity, gpus=self._gpus, jobs=self._jobs)

    @property
    def may_start(self) -> bool:
        """Whether the job could start, if nobody was ahead of it."""
        return self.within_quota and self._room.fits(self._job.demand)

    def end(self, it: Holding) -> None:
        """Suppose that a job had ended."""
        self._room.give_back(it.demand, it.gpus)
        self._count(it, -1)

    def stay(self, it: Holding) -> None:
        """Suppose that it had not, after all."""
        self._room.take(it.demand, it.gpus)
        self._count(it, 1)

    def _count(self, it: Holding, sign: int) -> None:
        if it.user == self._job.user:
            self._gpus += sign * share_of_gpus(it.demand, self._view.capacity)
            self._jobs += sign


def _ending(job: Waiting, decision: Decision) -> list[Holding] | None:
    """The jobs that have to end before it may start, the first to end first; None where that would not be enough."""
    supposed, ending = _Supposed(job, decision), []
    for it in _by_end(decision):
        if supposed.may_start:
            break
        supposed.end(it)
        ending.append(it)
    if not supposed.may_start:
        return None
    for it in tuple(ending):  # some end before, yet are not in the way: another GPU's slots, memory where GPUs lack
        supposed.stay(it)
        if supposed.may_start:
            ending.remove(it)
        else:
            supposed.end(it)
    return ending


def _quota(job: Waiting, decision: Decision, ending: list[Holding]) -> Reason:
    """The user's own jobs are in the way, and perhaps others besides."""
    quota = decision.view.quota
    own = [it for it in ending if it.user == job.user]
    others = [it for it in ending if it.user != job.user]
    _, jobs = decision.held_by(job.user)
    bound = _jobs(quota.jobs) if jobs >= quota.jobs else _gpus(quota.gpus)
    besides = f" Besides, {_held(others, decision)}." if others else ""
    return Reason("quota", f"Waits for your own {_named(own)}: one user may have {bound} at once.{besides}")


def _withheld(job: Waiting, decision: Decision) -> Why:
    """It needs GPUs that nobody gets at present, and perhaps others to end besides."""
    capacity = decision.view.capacity
    room = Room(capacity.whole())
    for it in decision.holding:
        room.take(it.demand, it.gpus)
    handed_out = replace(decision, view=replace(decision.view, capacity=capacity.whole()), room=room)
    ending = _ending(job, handed_out) or []
    count = len(capacity.withheld)
    reasons = " ".join(dict.fromkeys(capacity.withheld[gpu].sentence for gpu in sorted(capacity.withheld)))
    besides = f" Besides, {_held(ending, decision)}." if ending else ""
    sentence = (
        f"Waits for {_asked(job)}: {count} of {_gpus(len(capacity.gpus))} of this node {'is' if count == 1 else 'are'} "
        f"not handed out at present. {reasons}{besides}"
    )
    return Why(Reason("gpus_withheld", sentence), tuple(it.id for it in ending))


def _reserved(job: Waiting, decision: Decision) -> Why:
    """It would fit, and delay somebody to whom a start was promised."""
    now_s = decision.view.now_s
    for it in decision.reservations.values():
        if place(job, decision.room, (it,), now_s) is None:
            cause = "is overdue" if it.overdue else "is next"
            sentence = (
                f"Fits now, but job {it.job.id} of {it.job.user} {cause} and is to start in "
                f"{duration(it.at_s - now_s)} at the latest; a job with a time limit below that may pass it."
            )
            return Why(Reason("reserved", sentence), behind=it.job.id, at_s=it.at_s)
    return Why(Reason("undecided", "Came after the last decision; the next one is being made."))


def _full(job: Waiting, decision: Decision, ending: list[Holding]) -> Reason:
    """What it needs is held: the first that it lacks, and who has it."""
    demand, room, by = job.demand, decision.room, _held(ending, decision)
    if demand.gpus > room.free_gpus:
        return Reason("waits_for_gpus", f"Waits for {_gpus(demand.gpus)}, {room.free_gpus} free: {by}.")
    if demand.slots > room.free_slots:
        return Reason("waits_for_gpus", f"Waits for {_slots(demand.slots)} of one GPU, {room.free_slots} free: {by}.")
    if room.places <= 0:
        return Reason("waits_for_place", f"Waits for a place, all {decision.view.capacity.places} are taken: {by}.")
    if demand.cpus > room.cpus + ROUNDING:
        return Reason("waits_for_cpus", f"Waits for {demand.cpus:g} cores, {room.cpus:g} free: {by}.")
    memory, free = _gib(demand.memory_bytes), _gib(room.memory_bytes)
    return Reason("waits_for_memory", f"Waits for {memory} of memory, {free} free: {by}.")


def _by_end(decision: Decision) -> list[Holding]:
    return sorted(decision.holding, key=lambda it: (it.until_s(decision.view.now_s), it.id))


def _held(jobs: list[Holding], decision: Decision) -> str:
    now_s = decision.view.now_s
    return "; ".join(
        f"job {it.id} of {it.user} has {_what(it)} for {duration(it.until_s(now_s) - now_s)} at most" for it in jobs
    )


def _named(jobs: list[Holding]) -> str:
    return ("job " if len(jobs) == 1 else "jobs ") + ", ".join(str(it.id) for it in jobs)


def _what(it: Holding) -> str:
    if it.demand.slots:
        return _slots(it.demand.slots)
    return _gpus(it.demand.gpus) if it.demand.gpus else "a place"


def _gpus(count: float) -> str:
    return f"{count:g} GPU" if count == 1 else f"{count:g} GPUs"


def _slots(count: int) -> str:
    return f"{count} slot" if count == 1 else f"{count} slots"


def _jobs(count: float) -> str:
    return f"{count:g} job" if count == 1 else f"{count:g} jobs"


def _asked(job: Waiting) -> str:
    return f"{_slots(job.demand.slots)} of a GPU" if job.demand.slots else _gpus(job.demand.gpus)


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
