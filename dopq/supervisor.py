"""The thread that keeps one Provider process alive and carries its messages to the owner of the truth and back."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import queue
import threading
from collections.abc import Callable
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess

from dopq.data_platform import DataPlatform
from dopq.errors import NotFound, WrongState
from dopq.handover import Abandon, Accepted, Built, Declined, FromNode, FromProvider, Rejected, Taken
from dopq.job import Building, Ended, Held, Job
from dopq.outbox import BUILD_LOG, Outbox, name_from_bundle
from dopq.provider import ProviderSettings, main
from dopq.users import Users
from dopq.utils.clock import Clock
from dopq.utils.log import logger

log = logger(__name__)

SHORT_LIFE_S = 5.0
LONGEST_PAUSE_S = 5.0


class Supervisor:
    """Keeps the Provider running until it is stopped."""

    def __init__(
        self,
        platform: DataPlatform,
        users: Users,
        outbox: Outbox,
        settings: ProviderSettings,
        clock: Clock,
        target: Callable[[ProviderSettings, Connection], None] = main,
    ) -> None:
        self._platform = platform
        self._users = users
        self._outbox = outbox
        self._settings = settings
        self._clock = clock
        self._target = target
        self._to_provider: queue.SimpleQueue[Job | Abandon] = queue.SimpleQueue()
        self._doorbell, self._ring = os.pipe()
        os.set_blocking(self._ring, False)  # a full doorbell rings anyway
        self._stopping = threading.Event()
        self._process: BaseProcess | None = None
        self._thread = threading.Thread(target=self._run, name="supervisor", daemon=True)

    @property
    def pid(self) -> int | None:
        """Process id of the Provider that lives now; None between two lives."""
        process = self._process
        return process.pid if process and process.is_alive() else None

    def start(self) -> None:
        """Start the first Provider."""
        self._platform.subscribe(self._note)
        self._thread.start()

    def stop(self, timeout_s: float) -> None:
        """End the Provider: by closing its pipe, and by SIGKILL if that is not enough in `timeout_s`."""
        self._stopping.set()
        self._ring_doorbell()
        self._thread.join(timeout_s)

    def _note(self, job: Job) -> None:
        """A listener of the platform: pass on what concerns the Provider, without ever waiting for it."""
        if isinstance(job.state, Building):
            self._to_provider.put(job)
        elif isinstance(job.state, Ended) and job.state.work is None:
            self._to_provider.put(Abandon(job.id))
        else:
            return
        self._ring_doorbell()

    def _ring_doorbell(self) -> None:
        with contextlib.suppress(BlockingIOError):
            os.write(self._ring, b".")

    def _run(self) -> None:
        pause_s = 0.1
        while not self._stopping.is_set():
            born = self._clock.monotonic()
            ours, theirs = multiprocessing.Pipe()
            self._process = multiprocessing.get_context("spawn").Process(
                target=self._target, args=(self._settings, theirs), name="dopq-provider", daemon=True
            )
            self._process.start()
            theirs.close()  # else the pipe would not close with the process
            with ours:
                self._live(ours, self._process)
            _end(self._process)
            if self._stopping.is_set():
                break
            short = self._clock.monotonic() - born < SHORT_LIFE_S
            pause_s = min(pause_s * 2, LONGEST_PAUSE_S) if short else 0.1
            log.error("provider_died", exit_code=self._process.exitcode, next_in_s=pause_s)
            self._stopping.wait(pause_s)

    def _live(self, pipe: Connection, process: BaseProcess) -> None:
        """One life of a Provider: from telling it all that is to be done until its death or our stop."""
        try:
            for job in self._platform.alive():
                if isinstance(job.state, Building | Held):
                    pipe.send(self._order(job))
            while not self._stopping.is_set():
                for ready in wait([pipe, process.sentinel, self._doorbell]):
                    if ready is pipe:
                        answer = self._answer(pipe.recv())
                        if answer:
                            pipe.send(answer)
                    elif ready == self._doorbell:
                        os.read(self._doorbell, 4096)
                        self._forward(pipe)
                    else:
                        return
        except (EOFError, OSError) as error:
            log.warning("provider_pipe_broken", cause=type(error).__name__)
        except Exception:
            log.exception("supervisor_defect")

    def _forward(self, pipe: Connection) -> None:
        while True:
            try:
                news = self._to_provider.get_nowait()
            except queue.Empty:
                return
            pipe.send(self._order(news) if isinstance(news, Job) else news)

    def _answer(self, message: FromProvider) -> FromNode | None:
        match message:
            case Taken(key, user, bundle):
                if self._users.by_name(user) is None:
                    return Declined(key)
                return self._order(self._platform.accept(user, bundle, key, name_from_bundle(bundle)))
            case Built(job, spec, image, has_input):
                self._settle(lambda: self._platform.enqueue(job, spec, image, has_input=has_input), message)
            case Rejected(job, outcome, reason, problems):
                self._settle(lambda: self._platform.reject(job, outcome, reason, problems), message)
        return None

    def _settle(self, command: Callable[[], Job], message: FromProvider) -> None:
        try:
            command()
        except (WrongState, NotFound) as late:
            # Cancelled meanwhile, or said a second time by a Provider that was born again.
            log.info("provider_late", message=type(message).__name__, cause=late.message)

    def _order(self, job: Job) -> Accepted:
        build = isinstance(job.state, Building | Held)
        build_log = str(self._outbox.folder(job) / BUILD_LOG) if build else ""
        return Accepted(job.key, job.id, job.user, job.bundle, build_log, build)


def _end(process: BaseProcess) -> None:
    """Make sure that the process is gone: its pipe is closed, so it ends by itself; if not, it is killed."""
    process.join(5.0)
    if process.is_alive():
        log.warning("provider_killed", pid=process.pid)
        process.kill()
        process.join()
