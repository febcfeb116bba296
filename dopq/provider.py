"""Provider: the process that turns bundles into images.

It watches the inbox, takes what stands still, checks it and has its image built. It owns no truth: it asks the node to
accept a bundle before it takes the file away, and tells the node what became of it (handover.py). Killed at any point,
its successor is told again what is to be done.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import BinaryIO

from dopq.container_handler.bundle import prepare
from dopq.container_handler.docker_engine import DockerEngine
from dopq.container_handler.engine import ContainerEngine
from dopq.container_handler.refusal import problems_of
from dopq.container_handler.rules import Rules
from dopq.errors import BadConfig, BuildFailed, BundleRejected, EngineUnavailable
from dopq.handover import Abandon, Accepted, Built, Declined, FromNode, FromProvider, Rejected, Taken
from dopq.intake import INCOMPLETE_S, Drop, Settling, Stamp, copy_to_spool, looks_complete, remove_drop, scan
from dopq.job import ImageId, JobId, Reason, StateName
from dopq.outbox import name_from_bundle
from dopq.utils import log as logs
from dopq.utils.clock import Clock, SystemClock

log = logs.logger(__name__)

ENGINE_RETRY_S = 2.0
"""How long to leave an engine alone that did not answer."""

ASK_AGAIN_S = 30.0
"""How long to leave a drop alone whose user is not registered; perhaps they are by then."""


@dataclass(frozen=True, slots=True)
class ProviderSettings:
    """All that the process is told at its birth; plain values, since it is spawned, not forked."""

    inbox: Path
    spool: Path
    jobs: Path
    rules: Rules
    engine_url: str
    node_id: str
    settle_s: float
    poll_fast_s: float
    poll_slow_s: float
    concurrency: int
    timeout_s: float
    log_level: str
    log_json: bool


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
                    remove_drop(*self._asked.pop(message.key))
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
            self._say(Taken(key, drop.user, drop.path.name))

    def _make_image(self, order: Accepted, cancelled: threading.Event) -> None:
        """Turn one bundle into one answer, whatever happens."""
        try:
            answer = self._image_or_reason(order, cancelled)
        except Exception:
            log.exception("bundle_defect", job=order.job, bundle=order.bundle)
            sentence = "DoPQ itself failed on this bundle; the admin finds the cause in the node's log."
            answer = Rejected(order.job, StateName.BUILD_FAILED, Reason("internal", sentence))
        if not self._stopped.is_set():
            self._say(answer)
        self._builds.pop(order.job, None)

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
                rules=settings.rules,
            )
            with Path(order.build_log).open("wb", buffering=0) as build_log:
                image = self._build(order, prepared.context, build_log, cancelled)
            prepared.context.unlink()
        except BundleRejected as refused:
            problems = tuple(problems_of(refused))
            return Rejected(order.job, StateName.INVALID, Reason(refused.code, "The bundle was refused."), problems)
        except (BuildFailed, BadConfig) as failed:
            return Rejected(order.job, StateName.BUILD_FAILED, Reason(failed.code, str(failed)))
        return Built(order.job, prepared.spec, image, has_input=prepared.input is not None)

    def _build(self, order: Accepted, context: Path, build_log: BinaryIO, cancelled: threading.Event) -> ImageId:
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
    saying = threading.Lock()

    def say(message: FromProvider) -> None:
        with saying:
            pipe.send(message)

    provider = Provider(settings, DockerEngine(settings.engine_url), say, SystemClock())
    log.info("provider_ready", pid=os.getpid())
    try:
        serve(provider, pipe, SystemClock())
    except (EOFError, OSError) as gone:
        log.info("node_gone", cause=type(gone).__name__)
    provider.stop()


def serve(provider: Provider, pipe: Connection, clock: Clock) -> None:
    """Alternate between looking at the inbox and hearing the node. Raises `EOFError` or `OSError` when it has gone."""
    next_look = clock.monotonic()
    while True:
        if pipe.poll(max(0.0, next_look - clock.monotonic())):
            provider.hear(pipe.recv())
        else:
            next_look = clock.monotonic() + provider.look()
