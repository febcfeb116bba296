"""Provider: the process that turns bundles into images.

It watches the inbox, takes what stands still, checks it and has its image built. It owns no truth: it asks the node to
accept a bundle before it takes the file away, and tells the node what became of it (handover.py). Killed at any point,
its successor is told again what is to be done.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from dopq.build_log_file import BuildLogFile
from dopq.build_site import BuildSite
from dopq.container_handler.bundle_name import name_from_bundle
from dopq.container_handler.engine import ContainerEngine
from dopq.container_handler.gate import Gate
from dopq.container_handler.gate_trial import try_gate
from dopq.container_handler.outputs import discard
from dopq.container_handler.refusal import problems_of
from dopq.container_handler.rules import Rules
from dopq.disk import DiskProbe, Floor, shortage
from dopq.errors import BadConfig, BuildFailed, BundleRejected, EngineRefused
from dopq.handover import (
    Abandon,
    Accepted,
    Alive,
    Built,
    Declined,
    FromNode,
    FromProvider,
    Known,
    Refused,
    Rejected,
)
from dopq.image_maker import BuildLimits, ImageMaker
from dopq.inbox_watch import InboxWatch, WatchSettings
from dopq.intake import name_as_text, open_drop
from dopq.job import JobId, Reason, StateName
from dopq.outbox import BUILD_LOG
from dopq.share import Share
from dopq.share_owners import flattening
from dopq.utils import cpu
from dopq.utils import log as logs
from dopq.utils.attempt import Attempt
from dopq.utils.clock import Clock
from dopq.utils.crash_points import step

log = logs.logger(__name__)

ENGINE_ANSWER_S = 1.0
"""How long to wait for an engine to say where its disk is; one that hangs must not keep us from beating."""

LATE_WORD_S = 1.0
"""How much later than its files' disappearance the word of a job's cancelling may reach us."""


@dataclass(frozen=True, slots=True)
class ProviderSettings:
    """All that the process is told at its birth; plain values, since it is spawned, not forked."""

    watch: WatchSettings
    share: Share
    jobs: Path
    rules: Rules
    engine_url: str
    node_id: str
    concurrency: int
    build_limits: BuildLimits
    floor: Floor
    log_level: str
    log_json: bool


class Provider:
    """One life of the Provider."""

    def __init__(
        self,
        settings: ProviderSettings,
        engine: ContainerEngine,
        say: Callable[[FromProvider], None],
        clock: Clock,
        disk: DiskProbe = cpu.disk,
    ) -> None:
        self._settings = settings
        self._engine = engine
        self._say = say
        self._clock = clock
        self._disk = disk
        self._gate = Gate()
        self._gate_trouble: str | None = None
        self._maker = ImageMaker(engine, settings.build_limits, settings.node_id)
        share = settings.share.trouble
        self.watch = InboxWatch(settings.watch, say, share, self._is_whole, self._no_room, flattening, clock, disk)
        self._site = BuildSite(settings.concurrency, self._make_image, self._no_space, say)
        self._put_back: set[JobId] = set()
        self._engine_root: Path | None = None
        self._asking: Attempt | None = None  # of the engine, where its root is

    def start(self) -> None:
        """Begin to look at the inboxes, and find out whether what is taken from them can be checked."""
        self.watch.start()
        threading.Thread(target=self._try_gate, name="gate-trial", daemon=True).start()

    def hear(self, message: FromNode) -> None:
        """Do what the node says."""
        match message:
            case Accepted():
                self.watch.answer(message)
                if message.build:
                    self._site.take(message)
            case Declined() | Refused():
                self.watch.answer(message)
            case Abandon(job):
                self._site.cancel(job)
            case Known():
                self._maker.learn(message)

    def beat(self) -> None:
        """Tell the node that we live, and what keeps us waiting; go on with what waited for space."""
        self._site.begin()
        troubles = tuple(trouble for trouble in (self.watch.trouble, self._gate_trouble, self._site.trouble) if trouble)
        self._say(Alive(troubles, self.watch.deferred, self.watch.disk))

    def stop(self) -> None:
        """Break off every build. The jobs stay `building`; the next life begins them anew."""
        self.watch.stop()
        self._site.stop()
        self._gate.close()

    def _try_gate(self) -> None:
        """Tell the admin once what else each bundle would tell its user."""
        trouble = try_gate(self._gate, self._settings.rules)
        if trouble is None or self._site.stopped:
            return
        if trouble.closed:
            self._gate_trouble = (
                f"No bundle can be checked, so every job ends as build_failed. {trouble.found} {trouble.fix}"
            )
        (log.error if trouble.closed else log.warning)("gate_trouble", cause=trouble.found, fix=trouble.fix)

    # --- space --------------------------------------------------------------------------------------------------------

    def _no_space(self) -> Reason | None:
        """Why no image is made for now."""
        settings = self._settings
        if self._engine_root is None and (self._asking is None or self._asking.is_over(0.0)):
            self._asking = Attempt(self._ask_engine, "engine-root")  # whoever builds waits for it, or tells why not
            self._asking.is_over(ENGINE_ANSWER_S)
        folders = [settings.jobs, *([self._engine_root] if self._engine_root else [])]
        share = self.watch.disk
        return shortage(folders, settings.floor, self._disk) or (
            shortage([settings.share.root], settings.floor, lambda _: share) if share else None
        )

    def _ask_engine(self) -> None:
        self._engine_root = self._engine.capacity().root

    def _no_room(self, size_bytes: int) -> str | None:
        """Why a file of that size is left in the inbox."""
        reason = shortage([self._settings.watch.spool], self._settings.floor, self._disk, size_bytes)
        return reason.sentence if reason else None

    # --- one bundle ---------------------------------------------------------------------------------------------------

    def _is_whole(self, path: Path) -> bool:
        """Whether a file has the end of an archive; what cannot be opened is for whoever copies it to tell of."""
        try:
            with open_drop(path) as file:
                return self._gate.is_whole(file, name_as_text(path), self._settings.rules)
        except OSError:
            return True

    def _make_image(self, order: Accepted, cancelled: threading.Event) -> bool:
        """Turn one bundle into one answer, whatever happens; False to put it back where a disk has become full.

        One that was cancelled needs none.
        """
        answer: Built | Rejected | None
        try:
            answer = self._image_or_reason(order, cancelled)
        except Exception as error:  # noqa: BLE001 - one bundle's trouble is that bundle's reason and nobody else's
            answer = None if cancelled.wait(LATE_WORD_S) else self._answer_to(error, order)
        if answer and not self._site.stopped:
            self._say(answer)
        if cancelled.is_set() and not self._site.stopped:  # once stopped, the folder is our successor's
            discard(self._settings.jobs / str(order.job))  # what was made since the node tidied up after the job
        return answer is not None

    def _answer_to(self, error: Exception, order: Accepted) -> Rejected | None:
        """What becomes of a bundle that went wrong; None puts it back.

        Once: a build that alone fills the disk, and frees it by failing, would be begun again for ever.
        """
        if order.job not in self._put_back and self._no_space():
            self._put_back.add(order.job)
            log.warning("build_put_back", job=order.job, cause=str(error))
            return None
        if isinstance(error, EngineRefused):
            return Rejected(order.job, StateName.BUILD_FAILED, Reason(error.code, str(error)))
        log.exception("bundle_defect", job=order.job, bundle=order.bundle)  # noqa: LOG004 - our caller handles it
        sentence = "DoPQ itself failed on this bundle; the admin finds the cause in the node's log."
        return Rejected(order.job, StateName.BUILD_FAILED, Reason("internal", sentence))

    def _image_or_reason(self, order: Accepted, cancelled: threading.Event) -> Built | Rejected:
        settings = self._settings
        workdir = settings.jobs / str(order.job)
        try:
            prepared = self._gate.prepare(
                settings.watch.spool / order.key,
                workdir,
                bundle_name=order.bundle,
                default_name=name_from_bundle(order.bundle),
                user=order.user,
                rules=settings.rules,
                labels=self._maker.labels(order),
                cancelled=cancelled,
            )
            make = self._maker.load if prepared.is_image else self._maker.make
            with BuildLogFile(Path(order.build_log), workdir / BUILD_LOG) as build_log, step("image make"):
                image = make(order, prepared.context, build_log.write, cancelled)
            prepared.context.unlink()
            self._say(self._maker.admit(order, image, cancelled))
        except BundleRejected as refused:
            problems = tuple(problems_of(refused))
            return Rejected(order.job, StateName.INVALID, Reason(refused.code, "The bundle was refused."), problems)
        except (BuildFailed, BadConfig) as failed:
            return Rejected(order.job, StateName.BUILD_FAILED, Reason(failed.code, str(failed)))
        return Built(order.job, prepared.spec, image, has_input=prepared.input is not None)
