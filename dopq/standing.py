"""How the waiting jobs stood after a decision: their places and reasons, worked out only for those who ask.

Pure. To be asked only while nobody changes the queue.
"""

from __future__ import annotations

from collections.abc import Container, Iterator
from itertools import chain, islice

from dopq.job import JobId
from dopq.lines import Queue
from dopq.order import in_order
from dopq.queue_model import Decision, held_in_ties
from dopq.why import Why, why
from dopq.wire import Place


class Standing:
    """The places and reasons that one decision left."""

    def __init__(self, queue: Queue, decision: Decision) -> None:
        self.decision = decision
        self._queue = queue
        self._positions: dict[JobId, int] = {}

    def first(self, count: int, among: Container[JobId] | None = None) -> list[JobId]:
        """The first jobs in line, of all or of those `among` which one looks. Goes no further than the last of them."""
        places = ((job, place) for place, job in enumerate(self._ordered(), start=1) if among is None or job in among)
        self._positions = dict(islice(places, count))
        return list(self._positions)

    def position(self, job_id: JobId) -> int | None:
        """A waiting job's place in the queue, 1 for the next.

        Those that can never run here come after all that can, and those that are set aside last, the oldest first.
        """
        if job_id not in self._positions and job_id in self._queue:
            in_order = chain(self._ordered(), sorted(self._queue.aside))
            self._positions = {job: place for place, job in enumerate(in_order, start=1)}
        return self._positions.get(job_id)

    def why(self, job_id: JobId) -> Why | None:
        """Why a job waits; None for one that does not, or that nothing has been decided about yet."""
        job = self._queue.get(job_id)
        return why(job, self.decision, self._queue.aside.get(job_id)) if job else None

    def place(self, job_id: JobId) -> Place | None:
        """Position and reason together."""
        position, cause = self.position(job_id), self.why(job_id)
        return Place(position, cause.reason) if position and cause else None

    def _ordered(self) -> Iterator[JobId]:
        view, beyond = self.decision.view, self.decision.beyond
        held = held_in_ties(self.decision.holding)
        possible = (job.id for job in in_order(self._queue, view.order, held, view.now_s, beyond))
        return chain(possible, self._never())

    def _never(self) -> Iterator[JobId]:
        """The jobs in line that can never run here, the oldest first."""
        demands = self.decision.beyond
        users = self._queue.users.values() if demands else ()
        by_demand = (its.by_demand[demand] for its in users for demand in demands if demand in its.by_demand)
        yield from sorted(job.id for lines in by_demand for line in lines for job in line)
