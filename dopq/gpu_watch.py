"""The thread that looks at the GPUs, and what it knows of them. Nobody else waits for the driver."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime

from dopq.errors import NotFound, StateUnwritable
from dopq.gpu_health import Known, after_look, from_json, healed, to_json
from dopq.gpu_offer import Offer, offer
from dopq.job import GpuId, Reason
from dopq.store import Journal
from dopq.utils.clock import Clock
from dopq.utils.cpu import boot_id
from dopq.utils.gpu import ClosableProbe, GpuSurvey
from dopq.utils.log import logger

log = logger(__name__)

LOOK_S = 5.0
"""Seconds between two looks, where there are GPUs."""

IDLE_LOOK_S = 15.0
"""The same where there are none: one may be plugged in, or its driver loaded."""

PATIENCE_S = 2.0
"""How long anybody else waits for a look."""

Listener = Callable[[GpuSurvey], None]


def heal(journal: Journal, uuid: str, now: datetime) -> None:
    """An admin's word that a GPU is in order again; a node that runs hears it at its next look.

    Raises:
        NotFound: the node knows of no such GPU.
    """
    if GpuId(uuid) not in from_json(journal.noted("gpus") or "{}"):
        raise NotFound(f"This node knows of no GPU {uuid}.", "`dopq-client system` lists them.")
    journal.note(_word(GpuId(uuid)), now.isoformat())


def _word(gpu: GpuId) -> str:
    return f"gpu_healed:{gpu}"


class GpuWatch:
    """What is known of the GPUs, kept from one life of the node to the next."""

    def __init__(self, probe: ClosableProbe, journal: Journal, clock: Clock, devices: str = "") -> None:
        """`devices`: the setting that chose the probe; what was known under another one is forgotten."""
        self._probe = probe
        self._journal = journal
        self._clock = clock
        self._devices = devices
        self._boot = boot_id()
        self._known: Known = {}
        if journal.noted("gpus_of") == devices:
            self._known = from_json(journal.noted("gpus") or "{}")
        self._is_noted = True
        self._seen_at: float | None = None  # on the clock's monotonic hand
        self._foreign: Mapping[GpuId, Reason] = {}
        self._listeners: list[Listener] = []
        self._wanted = threading.Event()
        self._stopping = threading.Event()
        self._looked = threading.Condition()
        self._begun = self._done = 0  # looks
        self._thread = threading.Thread(target=self._run, name="gpu-watch", daemon=True)
        self.newest = GpuSurvey(reason="nobody has looked yet", stale=True)

    def start(self, first_look_s: float) -> None:
        """Begin to look; wait for the first look, so many seconds at most."""
        self._thread.start()
        self._wait_for_look(1, PATIENCE_S if self._known else first_look_s)

    def stop(self, timeout_s: float) -> None:
        """Look no more. Twice is fine."""
        self._stopping.set()
        self._wanted.set()
        self._probe.close()  # which ends a look that is under way
        if self._thread.is_alive():
            self._thread.join(timeout_s)
        self._probe.close()

    def subscribe(self, listener: Listener) -> None:
        """Call `listener` after every look, in the thread that looks."""
        self._listeners.append(listener)

    def withhold(self, foreign: Mapping[GpuId, Reason]) -> None:
        """Hand these out no more, since others use them; replaces what was said before."""
        self._foreign = foreign

    def offer(self) -> Offer:
        """What there is to hand out now. Waits for nothing."""
        parted = frozenset(GpuId(gpu.uuid) for gpu in self.newest.gpus if gpu.mig)
        silent_s = float("inf") if self._seen_at is None else self._clock.monotonic() - self._seen_at
        return offer(self._known, parted, self._foreign, silent_s, self.newest.reason if self.newest.stale else None)

    def survey(self) -> GpuSurvey:
        """A new look at the GPUs that are healthy; stale where it takes longer than `PATIENCE_S`."""
        with self._looked:
            number = self._begun + 1  # one that is under way may have begun before what it is asked for happened
        self._wanted.set()
        in_time = self._wait_for_look(number, PATIENCE_S)
        seen, sick = self.newest, {gpu for gpu, health in self._known.items() if health.trouble(gpu)}
        healthy = tuple(gpu for gpu in seen.gpus if GpuId(gpu.uuid) not in sick)
        return replace(seen, gpus=healthy, stale=seen.stale or not in_time)

    def _wait_for_look(self, number: int, timeout_s: float) -> bool:
        with self._looked:
            self._looked.wait_for(lambda: self._done >= number or self._stopping.is_set(), timeout_s)
            return self._done >= number

    def _run(self) -> None:
        while not self._stopping.is_set():
            self._wanted.clear()
            with self._looked:
                self._begun += 1
            try:
                self._look()
            except Exception:
                log.exception("gpu_watch_defect")
            with self._looked:
                self._done = self._begun
                self._looked.notify_all()
            self._wanted.wait(LOOK_S if self._known else IDLE_LOOK_S)

    def _look(self) -> None:
        survey = self._probe.survey()
        if not survey.stale:
            self._learn(survey)
        self.newest = survey
        for listener in self._listeners:
            try:
                listener(survey)
            except Exception:
                log.exception("gpu_listener_defect")

    def _learn(self, survey: GpuSurvey) -> None:
        now, seen = self._clock.now(), {GpuId(gpu.uuid): gpu.model for gpu in survey.gpus}
        xids = [(GpuId(event.uuid), event.code) for event in survey.xids]
        for gpu, code in xids:
            log.warning("gpu_xid", gpu=gpu, xid=code)
        first_of_boot = self._seen_at is None and self._journal.noted("gpus_boot") != self._boot
        known = after_look(healed(self._known, self._words()), seen, xids, now, first_of_boot=first_of_boot)
        self._seen_at = self._clock.monotonic()
        if known != self._known or first_of_boot:
            self._tell_changes(known)
            self._known, self._is_noted = known, False
        if not self._is_noted:
            self._note()

    def _words(self) -> dict[GpuId, datetime]:
        """When an admin last called which GPU healed (`dopq gpu heal`)."""
        return {
            gpu: datetime.fromisoformat(at)
            for gpu, health in self._known.items()
            if health.fault and (at := self._journal.noted(_word(gpu)))
        }

    def _note(self) -> None:
        try:
            self._journal.note("gpus", to_json(self._known))
            self._journal.note("gpus_boot", self._boot)
            self._journal.note("gpus_of", self._devices)
        except StateUnwritable as full:  # what was seen counts all the same; noted at a later look
            log.warning("gpus_not_noted", cause=full.message)
        else:
            self._is_noted = True

    def _tell_changes(self, known: Known) -> None:
        for gpu, health in known.items():
            before, trouble = self._known.get(gpu), health.trouble(gpu)
            if trouble and (before is None or before.trouble(gpu) != trouble):
                log.error("gpu_withheld", gpu=gpu, code=trouble.code, cause=trouble.sentence)
            elif before and before.trouble(gpu) and not trouble:
                log.info("gpu_back", gpu=gpu)
