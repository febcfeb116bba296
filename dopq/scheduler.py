"""The scheduler thread: snapshot, decide, apply, record. Woken by every change, never by a clock alone.

It decides nothing itself (queue_model.py does) and runs nothing itself (runner.py does).
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from datetime import datetime, timedelta

from dopq.config import QueueSettings
from dopq.data_platform import DataPlatform
from dopq.early_failures import EarlyFailures
from dopq.errors import WrongState
from dopq.gpu_offer import Offer
from dopq.gpu_weights import gpu_weights
from dopq.job import Actor, Job, JobId, Reason, Running, StateName
from dopq.queue_model import Start
from dopq.room import Capacity
from dopq.utils.clock import Clock
from dopq.utils.log import logger
from dopq.why import duration

log = logger(__name__)

ROUND_S = 15.0
"""The longest that a forgotten doorbell can matter, in seconds."""


class Scheduler:
    """Starts jobs when they may start, and stops those whose time is over."""

    def __init__(
        self,
        platform: DataPlatform,
        offer: Callable[[], Offer],
        carry: Callable[[Job], None],
        settings: QueueSettings,
        capacity: Capacity,
        clock: Clock,
        weights: Mapping[str, float] | None = None,
    ) -> None:
        """`capacity`: what the node has, but for the GPUs, which are on offer; `weights`: as `gpu_weights` wants."""
        self._platform = platform
        self._offer = offer
        self._carry = carry
        self._settings = settings
        self._capacity = capacity
        self._clock = clock
        self._weights = weights or {}
        self._early_failures = EarlyFailures(settings.max_early_failures)
        self._changed: queue.SimpleQueue[Job] = queue.SimpleQueue()
        self._doorbell = threading.Event()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="scheduler", daemon=True)

    def start(self) -> None:
        """Begin to decide."""
        self._platform.subscribe(self._note)
        self._platform.watch_queue(self.wake)
        self._thread.start()

    def _note(self, job: Job) -> None:
        self._changed.put(job)
        self.wake()

    def wake(self) -> None:
        """Decide again: something has changed."""
        self._doorbell.set()

    def stop(self, timeout_s: float) -> None:
        """Decide nothing more."""
        self._stopping.set()
        self._doorbell.set()
        self._thread.join(timeout_s)

    def _run(self) -> None:
        while not self._stopping.is_set():
            self._doorbell.clear()
            try:
                next_s = self._round()
            except Exception:
                log.exception("scheduler_defect")
                next_s = ROUND_S
            self._doorbell.wait(next_s)

    def _round(self) -> float:
        """One round of the loop; seconds after which the next is due even if nothing happens."""
        self._stop_overdue()
        self._platform.give_up_in_vain()
        self._stop_starting_in_vain()
        for start in self._platform.decide(self._with_gpus(self._offer())).starts:
            self._begin(start)
        return self._seconds_to_next_deadline()

    def _stop_starting_in_vain(self) -> None:
        for _ in range(self._changed.qsize()):
            self._early_failures.note(self._changed.get_nowait())
        if trouble := self._early_failures.too_many:
            log.error("node_drained", cause=trouble)
            self._platform.drain("dopq", f"{trouble}; mend the node, then undrain it")
            self._early_failures.forget()

    def _with_gpus(self, offer: Offer) -> Capacity:
        weights = gpu_weights(offer.models, self._weights)
        return replace(self._capacity, gpus=frozenset(offer.models), weights=weights, withheld=offer.withheld)

    def _begin(self, start: Start) -> None:
        try:
            job = self._platform.begin(start.job, start.gpus)
        except WrongState as stale:
            log.info("decision_stale", job=start.job, cause=stale.message)  # what changed has rung the doorbell
            return
        self._carry(job)

    def _stop_overdue(self) -> None:
        now = self._clock.now()
        for job_id, deadline, limit_s in self._deadlines():
            if deadline <= now:
                reason = Reason("time_limit", f"It reached its time limit of {duration(limit_s)}.")
                with suppress(WrongState):  # it ended in this moment
                    self._platform.request_stop(job_id, StateName.TIMED_OUT, reason, Actor.SCHEDULER)

    def _seconds_to_next_deadline(self) -> float:
        now = self._clock.now()
        deadlines = [deadline for _, deadline, _ in self._deadlines()]
        if lock := self._platform.queue_lock():
            deadlines.append(lock.until)
        if next_try := self._platform.next_try():
            deadlines.append(next_try)
        return max(0.0, min([(deadline - now).total_seconds() for deadline in deadlines] + [ROUND_S]))

    def _deadlines(self) -> list[tuple[JobId, datetime, int]]:
        default = self._settings.default_time_limit_s
        return [
            (job.id, state.started_at + timedelta(seconds=limit_s), limit_s)
            for job in self._platform.leased()
            if isinstance(state := job.state, Running)
            for limit_s in [state.work.spec.time_limit_s or default]
        ]
