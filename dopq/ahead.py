"""The thread that makes containers ahead: for the jobs that start next, while their GPUs are still busy.

It acts on what is foreseen, and looks again whenever anything changes: what is cancelled, held, overtaken or to run
elsewhere loses its container, as all do while nothing may start.
"""

from __future__ import annotations

import threading

from dopq.data_platform import DataPlatform
from dopq.errors import DopqError, EngineUnavailable
from dopq.prepared import Prepared
from dopq.starts import Starts
from dopq.utils.log import logger

log = logger(__name__)

MOST = 4
"""Containers that are there ahead at once: for the jobs that leave first, most likely, whichever of them it will be."""

QUIET_S = 0.3
"""None is made until nobody has started a job for so long: jobs that come and go in crowds would only be kept up."""

LONGEST_GIVE_WAY_S = 1.0
"""... and is looked after again after so long at the latest."""

RETRY_S = 5.0
"""How long to leave an engine or a disk alone that did not do what it was asked."""

ROUND_S = 15.0
"""How often it is looked whether all are still there and still wanted, though nothing has happened."""


class Ahead:
    """Keeps the containers of the next jobs ready."""

    def __init__(self, platform: DataPlatform, prepared: Prepared, starts: Starts) -> None:
        self._platform = platform
        self._prepared = prepared
        self._starts = starts
        self._doorbell = threading.Event()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="ahead", daemon=True)

    def start(self) -> None:
        """Begin to look ahead."""
        self._platform.subscribe(lambda _job: self._doorbell.set())
        self._platform.watch_queue(self._doorbell.set)
        self._thread.start()

    def stop(self, timeout_s: float) -> None:
        """Make none any more."""
        self._stopping.set()
        self._doorbell.set()
        if self._thread.is_alive():
            self._thread.join(timeout_s)

    def _run(self) -> None:
        while not self._stopping.is_set():
            self._doorbell.clear()
            try:
                if self._round():
                    self._doorbell.wait(ROUND_S)
            except (EngineUnavailable, OSError) as away:
                log.debug("not_prepared", cause=str(away))  # whoever waits for the engine or the disk says so
                self._stopping.wait(RETRY_S)
            except DopqError as refused:
                log.warning("not_prepared", code=refused.code, cause=refused.message)
                self._stopping.wait(ROUND_S)
            except Exception:
                log.exception("ahead_defect")
                self._stopping.wait(RETRY_S)

    def _round(self) -> bool:
        """Go one step towards what is foreseen; whether it is reached."""
        foreseen = self._platform.foresee(MOST)
        self._prepared.keep(foreseen, self._platform.leased)
        self._prepared.remove_unwanted()
        if self._prepared.first_without(foreseen) is None:
            return True
        if self._starts.give_way(QUIET_S, LONGEST_GIVE_WAY_S) and not self._stopping.is_set():
            job = self._prepared.first_without(self._platform.foresee(MOST))
            if job:
                self._prepared.make(job)
        return False
