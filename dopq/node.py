"""A node: builds every part once, hands the parts to each other, starts them in order and stops them in order.

Order of the start: lock, journal, engine, publisher, runner (which takes up what a former life left running),
scheduler, Provider, boundary. A client that gets an answer therefore meets a node that is whole. The stop goes the
other way round: first nobody is answered, then nothing new is taken, then nothing new is started, then jobs are let
go (their containers run on), and at last the share is told what is still to be told.
"""

from __future__ import annotations

import json
import math
import os
import queue
import secrets
import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path

from filelock import FileLock, Timeout

from dopq import __version__
from dopq.accounts import Accounts
from dopq.admission import Admission, require_owners
from dopq.audit import AuditLog
from dopq.boundary import Boundary
from dopq.boundary.doors import Tls, socket_path
from dopq.boundary.identity import identify_by
from dopq.certificate_folder import expiry_warning, own
from dopq.config import Paths, Settings, node_name
from dopq.container_handler.docker_engine import DockerEngine, find_engine
from dopq.container_handler.outputs import discard
from dopq.container_handler.rules import Rules, rules_of, rules_to_wire
from dopq.controller import DopqController
from dopq.controller.peers import PeerDesk
from dopq.data_platform import DataPlatform
from dopq.disk import Floor, shortage
from dopq.errors import AlreadyRunning, NotFound, OperatorError, TryAgain
from dopq.forecaster import Forecaster
from dopq.gpu_guard import GpuGuard
from dopq.gpu_watch import GpuWatch
from dopq.housekeeping import Housekeeping
from dopq.image_maker import BuildLimits
from dopq.image_sweep import ImageSweep
from dopq.images import Images
from dopq.inbox_watch import WatchSettings
from dopq.job import Queued
from dopq.job_containers import JobContainers
from dopq.outbox import Outbox
from dopq.peers.link import TlsPeerLink
from dopq.peers.live import LivePeers, Self, this_machine
from dopq.peers.record import Specs
from dopq.peers.specs import specs
from dopq.provider import ProviderSettings
from dopq.publisher import Publisher
from dopq.results import Results
from dopq.room import Capacity
from dopq.runner import Runner, RunnerSettings
from dopq.scheduler import Scheduler
from dopq.share import Share, make_user_folders
from dopq.share_sweep import ShareSweep
from dopq.state_folder import PRIVATE_UMASK, make_private
from dopq.store import Database, Journal
from dopq.supervisor import Supervisor
from dopq.system import deferred_to_wire, engine_to_wire, gpus_to_wire, machine_to_wire, processes_to_wire
from dopq.tls import peer_certificate, peer_context, peer_name, server_context
from dopq.tokens import Tokens
from dopq.uploads import Uploads
from dopq.users import User, Users
from dopq.utils import cpu
from dopq.utils.attempt import Attempt
from dopq.utils.clock import Clock, SystemClock
from dopq.utils.cpu import Host
from dopq.utils.crash_points import arm
from dopq.utils.files import write_atomic
from dopq.utils.gpu_probe import probe_for
from dopq.utils.log import logger
from dopq.wire import Plain, time_to_wire

log = logger(__name__)

FIRST_LOOK_S = 12.0
"""How long the start waits for a first look at the GPUs of a machine of which none are known yet."""

STOP_S = 5.0
"""What each part may take to stop before we go on without it."""


def serve(settings: Settings, paths: Paths) -> None:
    """Run a node until SIGTERM, SIGINT or an admin's `shutdown_queue`.

    Raises:
        AlreadyRunning: another node serves this state folder.
        OperatorError: something that the machine's owner has to mend first; says what.
    """
    # Not an Event: a signal's handler runs in the thread that waits, and would wait for the lock which that one holds.
    stop_wishes: queue.SimpleQueue[None] = queue.SimpleQueue()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop_wishes.put(None))
    os.umask(PRIVATE_UMASK)
    if arm(os.environ):
        log.warning("dies_at_a_crash_point", cause="a test asks for it")
    with ExitStack() as stack:
        paths.make()
        make_private(paths)
        stack.enter_context(_only_one(paths))
        if Share(paths).open():
            _make_user_folders(paths)
        require_owners(paths, settings.share.identity)
        node = Node(settings, paths, engine_url(settings), SystemClock(), lambda: stop_wishes.put(None))
        stack.callback(node.close)
        stack.callback(node.stop)
        node.start()
        log.info("ready", node=node.name, nameserver=node.boundary.address, share=paths.share, pid=os.getpid())
        stop_wishes.get()
        log.info("stopping")
    log.info("stopped")


def engine_url(settings: Settings) -> str:
    """Where the engine is: configured, or found. Raises `OperatorError` where there is none."""
    url = settings.engine.url or find_engine(os.environ)
    if url is None:
        raise OperatorError(
            "No container engine answers on this machine.",
            "Install and start Docker (Debian: apt install docker.io), or set engine.url in the settings.",
        )
    return url


def stop_running(paths: Paths) -> int:
    """Stop the node that serves this state folder on this machine, and wait until it has stopped; its pid.

    Raises:
        NotFound: no node runs.
        TryAgain: it is still stopping after a minute.
    """
    lock = FileLock(paths.lock)
    try:
        with lock.acquire(timeout=0):
            raise NotFound(f"No node serves {paths.state}.", "`dopq serve` starts one.")
    except Timeout:
        pid = _pid(paths)
    if pid is None:
        raise TryAgain(f"The node that serves {paths.state} is just starting or stopping.", "Ask again in a moment.")
    with suppress(ProcessLookupError):  # it has ended in this moment
        os.kill(pid, signal.SIGTERM)
    try:
        with lock.acquire(timeout=60):
            return pid
    except Timeout:
        raise TryAgain(f"The node (pid {pid}) is still stopping after a minute.", "Look at its log.") from None


class Node:
    """All parts of one node."""

    def __init__(
        self, settings: Settings, paths: Paths, engine_url: str, clock: Clock, request_shutdown: Callable[[], None]
    ) -> None:
        self._started = ExitStack()
        self.name = node_name(settings.node)
        self._paths = paths
        self._uses_tls = settings.remote.tls
        self._clock = clock
        self._started_at = clock.now()
        self._database = Database(paths.journal)
        journal, users = Journal(self._database), Users(self._database)
        tokens = Tokens(self._database, clock, settings.remote.token_days)
        node_id = journal.noted("node_id") or secrets.token_hex(4)
        journal.note("node_id", node_id)
        self.platform = DataPlatform(journal, users, clock, settings.queue, self.name, settings.container, settings.gpu)
        _tidy(paths, self.platform)
        self._share = Share(paths)
        outbox = Outbox(paths.outbox, self._share.check)
        results = Results(outbox, paths.jobs)
        self._publisher = Publisher(self.platform, outbox, results, paths)
        runner_settings = RunnerSettings(node_id, paths, settings.container, settings.templates)
        self._gpus = GpuWatch(probe_for(settings.gpu.devices), journal, clock, str(settings.gpu.devices))
        self._gpus.start(FIRST_LOOK_S)
        self._runner = Runner(self.platform, DockerEngine(engine_url), results, self._gpus, runner_settings, clock)
        gpus = self._gpus.offer().models
        capacity = _capacity(settings, len(gpus))
        self._scheduler = Scheduler(
            self.platform, self._gpus.offer, self._runner.carry, settings.queue, capacity, clock, settings.gpu.weights
        )
        containers = JobContainers(DockerEngine(engine_url), node_id)
        self._guard = GpuGuard(self.platform, self._gpus, containers, settings.gpu, clock)
        self._gpus.subscribe(self._guard.look)
        self._gpus.subscribe(lambda _survey: self._scheduler.wake())
        self._forecaster = Forecaster(self.platform, journal, clock)
        rules = rules_of(settings, paths.root, has_gpus=bool(gpus))
        provider = _provider_settings(settings, paths, self._share, engine_url, node_id, rules)
        images = Images(self._database)
        admission = Admission(users, settings.share.identity)
        self._supervisor = Supervisor(self.platform, admission, images, outbox, provider, clock)
        floor = Floor(settings.disk.floor_bytes, settings.disk.floor_percent)
        space = partial(shortage, [paths.uploads], floor, cpu.disk)
        uploads = Uploads(paths.uploads, paths.spool, settings.intake.max_bundle_bytes, space)
        self._housekeeping = Housekeeping(
            paths.journal,
            ImageSweep(images, DockerEngine(engine_url), settings.build.keep_images_days, floor, cpu.disk),
            ShareSweep(self.platform, paths, settings.share),
            self._share,
            uploads,
            clock,
        )
        self._this_machine = this_machine()
        self._peers = LivePeers(
            Self(
                self.name,
                own(paths, clock.now()).fingerprint if self._uses_tls else "",
                settings.remote.host,
                settings.remote.port,
                lambda: self.boundary.address,
                self._specs,
            ),
            settings.peers,
            paths,
            TlsPeerLink(peer_context(paths), peer_name, peer_certificate) if self._uses_tls else None,
            lambda: clock.now().timestamp(),
        )
        self.platform.subscribe(lambda *_: self._peers.wake())
        controller = DopqController(
            self.platform,
            results,
            uploads,
            self.system,
            self._peers.peers,
            request_shutdown,
            rules_to_wire(rules),
            Accounts(self._database, tokens, clock, self._welcome),
        )
        self._audit = AuditLog(paths.audit, clock, is_registered=lambda name: users.by_name(name) is not None)
        self.boundary = Boundary(
            controller,
            settings.remote,
            identify=identify_by(users, tokens),
            audit=self._audit.record,
            tls=Tls(server_context(paths), peer_name) if settings.remote.tls else None,
            socket=socket_path(settings.remote.socket),
            peers=PeerDesk(self._peers.peers) if self._uses_tls else None,
        )
        # Not before the port is ours: a second node on the same state, which cannot have it, would silence the first.
        self._peers.begin_life(self._database.take_over())

    def start(self) -> None:
        """Start every part, in order, and tell where we are in `node.json`."""
        self._publisher.start()
        self._started.callback(self._publisher.stop, STOP_S)
        self._runner.start()
        self._started.callback(self._runner.stop)
        self._scheduler.start()
        self._started.callback(self._scheduler.stop, STOP_S)
        self._forecaster.start()
        self._started.callback(self._forecaster.stop, STOP_S)
        self._supervisor.start()
        self._started.callback(self._supervisor.stop, STOP_S)
        self._housekeeping.start()
        self._started.callback(self._housekeeping.stop, STOP_S)
        self.boundary.start()
        self._started.callback(self.boundary.stop, STOP_S)
        self._peers.start()
        self._started.callback(self._peers.stop, STOP_S)
        facts = {"pid": os.getpid(), "version": __version__, "node": self.name, "nameserver": self.boundary.address}
        write_atomic(self._paths.node_file, json.dumps(facts) + "\n", 0o600)
        self._started.callback(self._paths.node_file.unlink, missing_ok=True)

    def stop(self) -> None:
        """Stop every part that has been started, the other way round; one that fails to stop holds up no other."""
        self._started.close()

    def close(self) -> None:
        """Ask the GPUs no more, and close the journal."""
        self._gpus.stop(STOP_S)
        self._database.close()

    def system(self) -> Plain:
        """The machine, the engine, the share and our processes, as plain data; nothing here waits for any of them."""
        return {
            "node": self.name,
            "version": __version__,
            "pid": os.getpid(),
            "started_at": time_to_wire(self._started_at),
            "uptime_s": (self._clock.now() - self._started_at).total_seconds(),
            "processes": processes_to_wire({"node": os.getpid(), "provider": self._supervisor.pid}),
            "share": str(self._paths.share),
            "nameserver": self.boundary.address,
            "engine": engine_to_wire(self._runner.capacity),
            "machine": machine_to_wire(self._machine()),
            "gpus": gpus_to_wire(self._gpus.newest, self._gpus.offer(), self._guard.uses, self.platform.occupying()),
            "deferred": deferred_to_wire(self._supervisor.last_beat.deferred),
            "warnings": self._warnings(),
        }

    def _machine(self) -> Host:
        """The share's disk as the Provider saw it last: to look here could take for ever."""
        host, share = cpu.survey([self._paths.state]), self._supervisor.last_beat.share_disk
        return replace(host, disks=(*host.disks, replace(share, folder=self._paths.share))) if share else host

    def _specs(self) -> Specs:
        """What other nodes are told of this one."""
        alive = self.platform.alive()
        waiting = [job for job in alive if isinstance(job.state, Queued)]
        newest = self.platform.describe([max(waiting, key=lambda job: job.id)])[0] if waiting else None
        survey, offer = self._gpus.newest, self._gpus.offer()
        return specs(self._this_machine, cpu.survey([self._paths.state]), survey, offer, alive, newest)

    def _welcome(self, user: User) -> None:
        """Make a new user's folders. In a thread of its own: nobody who registers waits for a share that hangs."""

        def make() -> None:
            try:
                make_user_folders(self._paths, user.name, user.uid)
            except (OperatorError, OSError) as error:
                log.error("user_folders_not_made", user=user.name, cause=str(error))

        Attempt(make, f"welcome-{user.name}")

    def _warnings(self) -> list[str]:
        offer = self._gpus.offer()
        provider = None if self._supervisor.pid else "The Provider is not running; it is being started again."
        beat = self._supervisor.last_beat
        troubles = (
            self._runner.trouble,
            self._audit.trouble,
            self.boundary.trouble,
            self._peers.trouble,
            self._publisher.trouble,
            provider,
            *beat.troubles,
            self._gpus.newest.reason if offer.models else None,
            *(reason.sentence for reason in offer.withheld.values()),
            self._tls_trouble(),
        )
        return list(dict.fromkeys(trouble for trouble in troubles if trouble))

    def _tls_trouble(self) -> str | None:
        warning = expiry_warning(self._paths, self._clock.now()) if self._uses_tls else None
        return str(warning) if warning else None


def _make_user_folders(paths: Paths) -> None:
    """The folders of those who were registered before the share was this one."""
    with closing(Database(paths.journal)) as database:
        for user in Users(database).all():
            make_user_folders(paths, user.name, user.uid)


def _pid_file(paths: Paths) -> Path:
    return paths.state / "node.pid"


def _pid(paths: Paths) -> int | None:
    """What the node that holds the lock has written down; None in the moments before and after."""
    try:
        return int(_pid_file(paths).read_text(encoding="ascii"))
    except (FileNotFoundError, ValueError):
        return None


@contextmanager
def _only_one(paths: Paths) -> Iterator[None]:
    """Hold the state folder for this process alone. The kernel lets go of it when the process dies, however it dies."""
    pid_file = _pid_file(paths)
    try:
        with FileLock(paths.lock, timeout=0):
            write_atomic(pid_file, f"{os.getpid()}\n", 0o600)
            yield
            pid_file.unlink(missing_ok=True)
    except Timeout:
        pid = _pid(paths) or "unknown"
        raise AlreadyRunning(
            f"A node already serves {paths.state}; its pid is {pid}.",
            f"Stop that one first (kill {pid}), or give this one a node.state of its own.",
        ) from None


def _capacity(settings: Settings, gpus: int) -> Capacity:
    """What this machine has to give besides its GPUs. What cannot be read is not counted."""
    host, slots_per_gpu = cpu.survey(), settings.gpu.slots_per_gpu
    return Capacity(
        slots_per_gpu=slots_per_gpu,
        places=settings.queue.max_running or max(host.cpus or 1, gpus * slots_per_gpu),
        cpus=host.cpus or math.inf,
        memory_bytes=host.memory_total_bytes or math.inf,
    )


def _tidy(paths: Paths, platform: DataPlatform) -> None:
    """Remove working files of jobs that have ended: a former life was killed before it came to that."""
    alive = {str(job.id): job.key for job in platform.alive()}
    unpublished = {str(job.id): job.key for job in platform.unpublished()}
    jobs, keys = {*alive, *unpublished}, {*alive.values(), *unpublished.values()}
    for folder in paths.jobs.iterdir():
        if folder.name not in jobs:
            discard(folder)
    for bundle in paths.spool.iterdir():
        if bundle.name not in keys:  # copied, but not accepted: the original lies in the inbox or with the client
            bundle.unlink()


def _provider_settings(
    settings: Settings, paths: Paths, share: Share, engine_url: str, node_id: str, rules: Rules
) -> ProviderSettings:
    intake, build = settings.intake, settings.build
    return ProviderSettings(
        watch=WatchSettings(
            paths.inbox, paths.spool, paths.invalid, intake.settle_s, intake.poll_fast_s, intake.poll_slow_s
        ),
        share=share,
        jobs=paths.jobs,
        rules=rules,
        engine_url=engine_url,
        node_id=node_id,
        concurrency=build.concurrency,
        build_limits=BuildLimits(build.timeout_s, build.memory_bytes or None, build.max_image_bytes),
        floor=Floor(settings.disk.floor_bytes, settings.disk.floor_percent),
        log_level=settings.node.log_level,
        log_json=settings.node.log_json,
    )
