"""Provider: the process that turns bundles into images.

It watches the inbox, takes what stands still, checks it and has its image built. It owns no truth: it asks the node to
accept a bundle before it takes the file away, and tells the node what became of it (handover.py). Killed at any point,
its successor is told again what is to be done.
"""

from __future__ import annotations

import os
import queue
import signal
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import BinaryIO, Self

from dopq.container_handler.archive import Limits
from dopq.container_handler.bundle import prepare
from dopq.container_handler.container_config import SpecDefaults
from dopq.container_handler.docker_engine import DockerEngine
from dopq.container_handler.engine import ContainerEngine
from dopq.container_handler.outputs import discard
from dopq.container_handler.refusal import problems_of
from dopq.errors import BadConfig, BuildFailed, BundleRejected, EngineRefused, EngineUnavailable
from dopq.handover import Abandon, Accepted, Built, Declined, FromNode, FromProvider, Rejected, Taken
from dopq.intake import INCOMPLETE_S, Drop, Settling, Stamp, copy_to_spool, looks_complete, remove_drop, scan
from dopq.job import ImageId, JobId, Reason, StateName
from dopq.outbox import name_from_bundle
from dopq.utils import log as logs
from dopq.utils.clock import Clock, SystemClock

log = logs.logger(__name__)

ENGINE_RETRY_S = 2.0
"""How long to leave an engine alone that did not answer."""

LATE_WORD_S = 1.0
"""How much later than its files' disappearance the word of a job's cancelling may reach us."""

ASK_AGAIN_S = 30.0
"""How long to leave a drop alone whose user is not registered; perhaps they are by then."""


@dataclass(frozen=True, slots=True)
class ProviderSettings:
    """All that the process is told at its birth; plain values, since it is spawned, not forked."""

    inbox: Path
    spool: Path
    jobs: Path
    templates: Path | None
    python_base: str
    engine_url: str
    node_id: str
    settle_s: float
    poll_fast_s: float
    poll_slow_s: float
    concurrency: int
    timeout_s: float
    defaults: SpecDefaults
    limits: Limits
    log_level: str
    log_json: bool


class BuildLog:
    """The build log in the share. A share that is away costs lines of it, never the build."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: BinaryIO | None = None

    def __enter__(self) -> Self:
        with suppress(OSError):
            self._file = self._path.open("wb", buffering=0)
        return self

    def __exit__(self, *_: object) -> None:
        if self._file:
            self._file.close()

    def write(self, text: bytes) -> None:
        """Append a piece of the builder's output."""
        with suppress(OSError):
            self._file = self._file or self._path.open("ab", buffering=0)
            self._file.write(text)


class Provider:
    """One life of the Provider."""

    def __init__(
        self, settings: ProviderSettings, engine: ContainerEngine, say: Callable[[FromProvider], None], clock: Clock
    ) -> None:
        self._settings = settings
        self._engine = engine
        self._say = say
        self._clock = clock
        self._settling = Settling(settings.settle_s)
        self._asked: dict[str, tuple[Drop, Stamp]] = {}
        self._declined: dict[str, float] = {}
        self._ordered: set[JobId] = set()
        self._builds: dict[JobId, threading.Event] = {}
        self._pool = ThreadPoolExecutor(settings.concurrency, thread_name_prefix="build")
        self._stopped = threading.Event()

    def look(self) -> float:
        """Look at the inbox once, ask the node for what stands still; seconds until the next look."""
        seen = scan(self._settings.inbox)
        for drop, still_s in self._settling.look(seen, self._clock.monotonic()).items():
            if looks_complete(drop.path) or still_s >= INCOMPLETE_S:
                self._take(drop, seen[drop])
        arriving = any(drop.key(stamp) not in self._declined for drop, stamp in seen.items())
        return self._settings.poll_fast_s if arriving else self._settings.poll_slow_s

    def hear(self, message: FromNode) -> None:
        """Do what the node says."""
        match message:
            case Accepted():
                if message.key in self._asked:
                    self._remove(*self._asked.pop(message.key))
                if message.build and message.job not in self._ordered:
                    self._ordered.add(message.job)
                    self._builds[message.job] = threading.Event()
                    self._pool.submit(self._make_image, message, self._builds[message.job])
            case Declined():
                drop, _ = self._asked.pop(message.key)
                self._declined[message.key] = self._clock.monotonic()
                log.warning("drop_declined", path=drop.path, cause=f"no user {drop.user} is registered")
            case Abandon():
                if message.job in self._builds:
                    self._builds[message.job].set()

    def stop(self) -> None:
        """Break off every build. The jobs stay `building`; the next life begins them anew."""
        self._stopped.set()
        for cancelled in list(self._builds.values()):
            cancelled.set()
        self._pool.shutdown(cancel_futures=True)

    def _take(self, drop: Drop, stamp: Stamp) -> None:
        key = drop.key(stamp)
        declined_at = self._declined.get(key)
        if key in self._asked or (declined_at is not None and self._clock.monotonic() - declined_at < ASK_AGAIN_S):
            return
        try:
            copied = copy_to_spool(drop, stamp, self._settings.spool)
        except OSError as error:
            log.warning("drop_not_copied", path=drop.path, cause=error.strerror)
            return
        if copied:
            self._asked[key] = (drop, stamp)
            self._say(Taken(key, drop.user, drop.bundle))

    def _remove(self, drop: Drop, stamp: Stamp) -> None:
        try:
            remove_drop(drop, stamp)
        except OSError as error:  # met again at the next look, and accepted as the same job
            log.warning("drop_not_removed", path=drop.path, cause=error.strerror)

    def _make_image(self, order: Accepted, cancelled: threading.Event) -> None:
        """Turn one bundle into one answer, whatever happens. One that was cancelled needs none."""
        try:
            self._say_unless_stopped(self._image_or_reason(order, cancelled))
        except Exception:
            if cancelled.wait(LATE_WORD_S):
                log.info("build_abandoned", job=order.job)
            else:
                log.exception("bundle_defect", job=order.job, bundle=order.bundle)
                sentence = "DoPQ itself failed on this bundle; the admin finds the cause in the node's log."
                reason = Reason("internal", sentence)
                self._say_unless_stopped(Rejected(order.job, StateName.BUILD_FAILED, reason))
        if cancelled.is_set() and not self._stopped.is_set():  # once stopped, the folder is our successor's
            discard(self._settings.jobs / str(order.job))  # what was made since the node tidied up after the job
        self._builds.pop(order.job, None)

    def _say_unless_stopped(self, answer: FromProvider) -> None:
        if not self._stopped.is_set():
            self._say(answer)

    def _image_or_reason(self, order: Accepted, cancelled: threading.Event) -> Built | Rejected:
        settings = self._settings
        workdir = settings.jobs / str(order.job)
        try:
            prepared = prepare(
                settings.spool / order.key,
                workdir,
                bundle_name=order.bundle,
                default_name=name_from_bundle(order.bundle),
                user=order.user,
                defaults=settings.defaults,
                limits=settings.limits,
                templates=settings.templates,
                python_base=settings.python_base,
            )
            with BuildLog(Path(order.build_log)) as build_log:
                image = self._build(order, prepared.context, build_log, cancelled)
            prepared.context.unlink()
        except BundleRejected as refused:
            problems = tuple(problems_of(refused))
            return Rejected(order.job, StateName.INVALID, Reason(refused.code, "The bundle was refused."), problems)
        except (BuildFailed, BadConfig, EngineRefused) as failed:
            return Rejected(order.job, StateName.BUILD_FAILED, Reason(failed.code, str(failed)))
        return Built(order.job, prepared.spec, image, has_input=prepared.input is not None)

    def _build(self, order: Accepted, context: Path, build_log: BuildLog, cancelled: threading.Event) -> ImageId:
        labels = {"dopq.node": self._settings.node_id, "dopq.job": str(order.job)}
        while True:
            try:
                with context.open("rb") as tar:
                    return self._engine.build(
                        tar,
                        tag=f"dopq/{order.user}/{order.job}",
                        labels=labels,
                        log=build_log.write,
                        cancelled=cancelled,
                        timeout_s=self._settings.timeout_s,
                    )
            except EngineUnavailable as away:
                log.warning("engine_away", job=order.job, cause=away.message)
                build_log.write(f"The container engine does not answer; trying again: {away.message}\n".encode())
                if cancelled.wait(ENGINE_RETRY_S):
                    raise BuildFailed("The build was broken off.") from away


def main(settings: ProviderSettings, pipe: Connection) -> None:
    """The life of the process: look, hear, until the node closes the pipe or dies.

    The node's death closes its end of the pipe; the process then ends by itself, with its builds.
    """
    for ignored in (signal.SIGINT, signal.SIGTERM):  # the node says when; a Ctrl-C goes to the whole terminal group
        signal.signal(ignored, signal.SIG_IGN)
    logs.setup(settings.log_level.upper(), json_lines=settings.log_json)
    # A thread of its own: if both ends only wrote, each would wait for the other to read.
    said: queue.SimpleQueue[FromProvider] = queue.SimpleQueue()
    threading.Thread(target=speak, args=(pipe, said), name="speaker", daemon=True).start()
    provider = Provider(settings, DockerEngine(settings.engine_url), said.put, SystemClock())
    log.info("provider_ready", pid=os.getpid())
    try:
        serve(provider, pipe, SystemClock())
    except (EOFError, OSError) as gone:
        log.info("node_gone", cause=type(gone).__name__)
    provider.stop()


def speak(pipe: Connection, said: queue.SimpleQueue[FromProvider]) -> None:
    """Pass on what is said until the node has gone."""
    with suppress(OSError):
        while True:
            pipe.send(said.get())


def serve(provider: Provider, pipe: Connection, clock: Clock) -> None:
    """Alternate between looking at the inbox and hearing the node. Raises `EOFError` or `OSError` when it has gone."""
    next_look = clock.monotonic()
    while True:
        if pipe.poll(max(0.0, next_look - clock.monotonic())):
            provider.hear(pipe.recv())
        else:
            next_look = clock.monotonic() + provider.look()
