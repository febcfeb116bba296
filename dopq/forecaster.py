"""The forecaster thread: when waiting jobs will start, worked out anew in the background when the queue has changed.

Never in the scheduler's path: it copies what it needs, computes beside all others, and rests for longer than it works.
"""

from __future__ import annotations

import queue
import threading
from datetime import UTC, datetime
from functools import partial
from typing import NamedTuple

from dopq.band import Band
from dopq.calibration import Calibration
from dopq.course import Situation
from dopq.data_platform import DataPlatform
from dopq.errors import StateUnwritable
from dopq.forecast import Forecast, forecast
from dopq.job import Job, JobId, Starting
from dopq.store import Journal
from dopq.utils.clock import Clock
from dopq.utils.log import logger

log = logger(__name__)

COURSES = 3
"""Draws of run times for each forecast."""

DECISIONS = 1000
"""... of each course, where up to 2,000 jobs wait; those further back have no ETA."""

WORK = 2_000_000
"""Decisions times waiting jobs, at most: with 100,000 of them a forecast looks 20 decisions ahead."""

REST_S = 2.0
"""Seconds between two forecasts, at least."""

REST = 4.0
"""... and at least so many times what the last one took: a fifth of one core, however long the queue is."""

STALE_S = 60.0
"""Seconds after which it forecasts anew though nothing happened: jobs that outlive what was expected of them."""

NOTE = "forecasts"
"""Under which the journal keeps how forecasts turned out."""


class _First(NamedTuple):
    """What was first forecast for a waiting job, when, and what its user was told; seconds."""

    at_s: float
    forecast: Band
    told: Band


class Forecaster:
    """Tells the platform when its waiting jobs will start."""

    def __init__(self, platform: DataPlatform, journal: Journal, clock: Clock) -> None:
        self._platform = platform
        self._journal = journal
        self._clock = clock
        noted = journal.noted(NOTE)
        self._calibration = Calibration.from_json(noted) if noted else Calibration()
        self._first: dict[JobId, _First] = {}
        self._started: queue.SimpleQueue[tuple[JobId, float]] = queue.SimpleQueue()
        self._doorbell = threading.Event()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="forecaster", daemon=True)

    def start(self) -> None:
        """Begin to forecast."""
        self._platform.subscribe(self.notice)
        self._platform.watch_queue(self._doorbell.set)
        self._thread.start()

    def stop(self, timeout_s: float) -> None:
        """Forecast nothing more."""
        self._stopping.set()
        self._doorbell.set()
        self._thread.join(timeout_s)

    def notice(self, job: Job) -> None:
        """A job changed: the platform says so in the thread that changed it."""
        if isinstance(job.state, Starting):
            self._started.put((job.id, job.state.lease.since.timestamp()))
        self._doorbell.set()

    def renew(self) -> None:
        """Learn from those that have started, and forecast for those that wait."""
        if (found := self._platform.situation()) is None:
            return
        situation, run_times = found
        self._learn(situation)
        decisions = min(DECISIONS, WORK // max(1, len(situation.waiting)))
        bands = forecast(situation, [partial(run_times.drawn_s, draw=it) for it in range(COURSES)], decisions=decisions)
        corrected = self._calibration.corrector()
        told = {job_id: corrected(band) for job_id, band in bands.items()}
        for job_id, band in bands.items():
            if band.p90_s > 0:  # else it is about to start
                self._first.setdefault(job_id, _First(situation.view.now_s, band, told[job_id]))
        self._platform.tell_forecast(Forecast(datetime.fromtimestamp(situation.view.now_s, UTC), told))

    def _learn(self, situation: Situation) -> None:
        """Compare what was first forecast with what came."""
        has_learnt = False
        while not self._started.empty():
            job_id, since_s = self._started.get()
            if first := self._first.pop(job_id, None):
                self._calibration.learn(first.forecast, first.told, max(0.0, since_s - first.at_s))
                has_learnt = True
        if has_learnt:
            self._journal.note(NOTE, self._calibration.to_json())
        waiting = {job.id for job in situation.waiting}
        self._first = {job_id: first for job_id, first in self._first.items() if job_id in waiting}

    def _run(self) -> None:
        while not self._stopping.is_set():
            self._doorbell.clear()
            began = self._clock.monotonic()
            try:
                self.renew()
            except StateUnwritable as full:  # what was learnt is noted with what is learnt next
                log.warning("forecasts_not_noted", cause=full.message)
            except Exception:
                log.exception("forecaster_defect")
            self._stopping.wait(max(REST_S, REST * (self._clock.monotonic() - began)))
            self._doorbell.wait(STALE_S)
