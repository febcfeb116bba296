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
from pathlib import Path

from dopq.admission import Admission
from dopq.container_handler.bundle_name import name_from_bundle
from dopq.data_platform import DataPlatform
from dopq.errors import NotFound, StateUnwritable, WrongState
from dopq.handover import (
    Abandon,
    Accepted,
    Alive,
    Built,
    Declined,
    FromNode,
    FromProvider,
    GoesOn,
    Imaged,
    Known,
    OnHold,
    Refused,
    Rejected,
    Taken,
)
from dopq.images import Images
from dopq.job import Building, Ended, Held, Job, StateName, is_to_be_built
from dopq.outbox import BUILD_LOG, Outbox
from dopq.provider import ProviderSettings
from dopq.provider_process import main
from dopq.utils.clock import Clock
from dopq.utils.log import logger

log = logger(__name__)

SHORTEST_PAUSE_S = 0.1
LONGEST_PAUSE_S = 5.0
END_S = 5.0

RETRY_S = 1.0
"""How long to leave a journal alone that takes nothing."""

HANG_S = 30.0
"""A Provider that has said nothing for so long hangs: it would have beaten thirty times."""


_Outgoing = queue.SimpleQueue[FromNode | Job | None]
"""What a Provider is to be told; a job becomes an order when its turn comes, None is the end."""


def next_pause_s(last_s: float, *, came_up: bool) -> float:
    """How long to wait before the next life, after a pause of `last_s` before the one that has ended.

    One that came up and was killed, however young, is replaced at once: each life takes some bundles further. One that
    died before its first word would not come up now either, so it is tried less and less often.
    """
    return SHORTEST_PAUSE_S if came_up else min(2 * last_s, LONGEST_PAUSE_S)


class Supervisor:
    """Keeps the Provider running until it is stopped."""

    def __init__(
        self,
        platform: DataPlatform,
        admission: Admission,
        images: Images,
        outbox: Outbox,
        settings: ProviderSettings,
        clock: Clock,
        target: Callable[[ProviderSettings, Connection], None] = main,
        hang_s: float = HANG_S,
    ) -> None:
        self._platform = platform
        self._admission = admission
        self._images = images
        self._outbox = outbox
        self._settings = settings
        self._clock = clock
        self._target = target
        self._hang_s = hang_s
        self._outgoing: _Outgoing = queue.SimpleQueue()  # one for each life
        self._doorbell, self._ring = os.pipe()
        self._stopping = threading.Event()
        self._process: BaseProcess | None = None
        self._came_up = False  # whether this life has said anything yet
        self._thread = threading.Thread(target=self._run, name="supervisor", daemon=True)
        self.last_beat = Alive()  # what the Provider last said of itself, for `system`
        self.trouble: str | None = None  # why nothing that it says is taken down at present, likewise

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
        os.write(self._ring, b".")
        self._thread.join(timeout_s)

    def _note(self, job: Job) -> None:
        """A listener of the platform: pass on what concerns the Provider, without ever waiting for it."""
        if isinstance(job.state, Building):
            self._outgoing.put(job)
        elif isinstance(job.state, Ended) and job.state.work is None:
            self._outgoing.put(Abandon(job.id))

    def _run(self) -> None:
        pause_s = SHORTEST_PAUSE_S
        while not self._stopping.is_set():
            self._came_up = False
            exit_code = self._one_life()
            if self._stopping.is_set():
                break
            pause_s = next_pause_s(pause_s, came_up=self._came_up)
            log.error("provider_died", exit_code=exit_code, next_in_s=pause_s)
            self._stopping.wait(pause_s)

    def _one_life(self) -> int | None:
        """Bear a Provider and stay with it until it is gone; its exit code, None if none could be born."""
        ours, theirs = multiprocessing.Pipe()
        process = multiprocessing.get_context("spawn").Process(
            target=self._target, args=(self._settings, theirs), name="dopq-provider", daemon=True
        )
        with ours:
            with theirs:  # the process gets its own; with ours open, the pipe would not close when it dies
                try:
                    process.start()
                except OSError as error:
                    log.warning("provider_not_started", cause=error.strerror)
                    return None
            self._process = process
            self._live(ours, process)
        _end(process)
        return process.exitcode

    def _live(self, pipe: Connection, process: BaseProcess) -> None:
        """One life of a Provider: from telling it all that is to be done until its death or our stop."""
        outgoing = self._outgoing = queue.SimpleQueue()  # before the jobs are looked through: none falls between
        writer = threading.Thread(target=self._write, args=(pipe, outgoing), name="to-provider", daemon=True)
        writer.start()
        try:
            self._brief(outgoing)
            self._listen(pipe, process)
        except (EOFError, OSError) as error:
            log.warning("provider_pipe_broken", cause=type(error).__name__)
        except Exception:
            log.exception("supervisor_defect")
        finally:
            outgoing.put(None)

    def _brief(self, outgoing: _Outgoing) -> None:
        """Tell a new Provider everything: what can be found again, and what is to be built."""
        for made in self._images.all():
            if made.fingerprint:
                outgoing.put(Known(made.user, made.fingerprint, made.image))
        for job in self._platform.alive():
            if is_to_be_built(job.state):
                outgoing.put(job)

    def _listen(self, pipe: Connection, process: BaseProcess) -> None:
        """Hear the Provider until it dies, or has been silent for so long that it is killed, or we stop."""
        heard_s = self._clock.monotonic()
        while not self._stopping.is_set():
            left_s = heard_s + self._hang_s - self._clock.monotonic()
            if left_s <= 0:
                log.error("provider_hangs", pid=process.pid, silent_s=self._hang_s)
                process.kill()
                return
            ready = wait([pipe, process.sentinel, self._doorbell], left_s)
            if pipe in ready:
                message = pipe.recv()
                self._came_up = True
                self._hear_patiently(message)
                heard_s = self._clock.monotonic()  # what it has said since lies in the pipe
            elif process.sentinel in ready:
                return

    def _write(self, pipe: Connection, outgoing: _Outgoing) -> None:
        """Send what there is to say; in a thread of its own, since a full pipe or a dead share may keep it waiting."""
        with contextlib.suppress(OSError):  # it died; the next life is told everything anew
            while (news := outgoing.get()) is not None:
                pipe.send(self._order(news) if isinstance(news, Job) else news)

    def _hear_patiently(self, message: FromProvider) -> None:
        """Hear it as soon as the journal takes it: the Provider could do nothing else either, and is left alone."""
        while not self._stopping.is_set():
            try:
                self._hear(message)
            except StateUnwritable as full:
                if self.trouble is None:
                    log.warning("waiting_for_journal", message=type(message).__name__, cause=full.message)
                self.trouble = str(full)
                self._stopping.wait(RETRY_S)
            else:
                self.trouble = None
                return

    def _hear(self, message: FromProvider) -> None:
        match message:
            case Taken():
                self._outgoing.put(self._admit(message))
            case Built(job, spec, image, has_input):
                self._settle(lambda: self._platform.enqueue(job, spec, image, has_input=has_input), message)
            case Rejected(job, outcome, reason, problems):
                self._settle(lambda: self._platform.reject(job, outcome, reason, problems), message)
            case Imaged(job, image, fingerprint):
                self._images.add(job, image, fingerprint)
            case OnHold(job, reason):
                self._settle(lambda: self._platform.hold(job, reason), message)
            case GoesOn(job):
                self._settle(lambda: self._platform.resume(job), message)
            case Alive():
                self.last_beat = message

    def _admit(self, taken: Taken) -> Job | Declined | Refused:
        """The job that a bundle is from now on, or why it becomes none."""
        key, known = taken.key, self._platform.is_known(taken.key)
        if not known and (refusal := self._admission.refusal(taken)):
            return refusal
        job = self._platform.accept(taken.user, taken.bundle, key, name_from_bundle(taken.bundle))
        if self._is_done_with(job):  # a former life was killed before it emptied the inbox
            (self._settings.watch.spool / key).unlink(missing_ok=True)
        return job

    def _is_done_with(self, job: Job) -> bool:
        """Whether nobody needs the copy of a job's bundle any more: neither the job, nor who gives the bundle back."""
        if not isinstance(job.state, Ended):
            return False
        return job.state.outcome is StateName.SUCCEEDED or job not in self._platform.unpublished()

    def _settle(self, command: Callable[[], Job], message: FromProvider) -> None:
        try:
            command()
        except (WrongState, NotFound) as late:
            # Cancelled meanwhile, or said a second time by a Provider that was born again.
            log.info("provider_late", message=type(message).__name__, cause=late.message)

    def _order(self, job: Job) -> Accepted:
        build = is_to_be_built(job.state)
        held = isinstance(job.state, Held) and job.state.awaits_space
        return Accepted(job.key, job.id, job.user, job.bundle, str(self._build_log(job)), build, held)

    def _build_log(self, job: Job) -> Path:
        """Where the build log belongs; its folder is there unless the share is away."""
        try:
            folder = self._outbox.folder(job)
        except OSError as error:
            log.warning("share_refuses", job=job.id, cause=error.strerror)
            folder = self._outbox.place(job)
        return folder / BUILD_LOG


def _end(process: BaseProcess) -> None:
    """Make sure that the process is gone: its pipe is closed, so it ends by itself; if not, it is killed."""
    process.join(END_S)
    if process.is_alive():
        log.warning("provider_killed", pid=process.pid)
        process.kill()
        process.join()
