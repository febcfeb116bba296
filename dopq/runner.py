"""The runner: carries each started job from its lease to its end, one thread a job.

Every step looks before it acts, so that the same walk begins a job, adopts one that a former life of the node left
running, and finishes one that ended meanwhile. What the engine says counts, never memory; an engine that does not
answer leaves everything open. A share that does not answer leaves nothing open: a run ends on our own disk
(docs/adr/0033).
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import TypeVar

from dopq.config import ContainerSettings, Paths, TemplatesSettings
from dopq.container_handler.container import (
    JOBS_NETWORK,
    NODE_LABEL,
    container_name,
    container_request,
    is_of_node,
    job_network,
    job_user,
)
from dopq.container_handler.engine import (
    Absent,
    Alive,
    Capacity,
    ContainerEngine,
    ContainerName,
    Created,
    Exited,
    Observation,
)
from dopq.container_handler.proof import Proof, node_key
from dopq.data_platform import DataPlatform
from dopq.errors import DopqError, EngineRefused, EngineUnavailable
from dopq.job import (
    GpuId,
    Job,
    JobId,
    Occupying,
    Running,
    State,
    Stopping,
    gpus_held,
    lease_of,
    started_at,
)
from dopq.live import Load
from dopq.log_mirror import LogMirror
from dopq.namespaces import Namespaces
from dopq.results import Results
from dopq.sampler import Sampler
from dopq.starts import Starts
from dopq.utils.attempt import Attempt
from dopq.utils.clock import Clock
from dopq.utils.crash_points import step
from dopq.utils.files import append_rest
from dopq.utils.gpu import GpuProbe
from dopq.utils.log import logger
from dopq.verdict import verdict

log = logger(__name__)

RETRY_S = 1.0
"""How long to leave an engine or a disk alone that did not answer."""

DEFECT_S = 10.0
"""How long to leave a job alone after an error that nobody foresaw, such as a full disk under the journal."""

WAIT_S = 30.0

REMOVAL_S = 3.0
"""How long a stop waits for the engine to remove what stands ready for jobs."""

GIVE_WAY_S, LONGEST_GIVE_WAY_S = 0.05, 1.0
"""A container is removed when none has been started for so long, or after so long at the latest."""

ANSWER_S = 10.0
"""A share that does not answer for so long hangs."""

Result = TypeVar("Result")


class _NodeStops(Exception):
    """Leaves a job's thread when the node stops; the container runs on and is adopted at the next start."""


@dataclass(frozen=True, slots=True)
class RunnerSettings:
    """How this node runs containers."""

    node_id: str
    paths: Paths
    container: ContainerSettings
    templates: TemplatesSettings


class Runner:
    """Everything between a lease and an end."""

    def __init__(
        self,
        platform: DataPlatform,
        engine: ContainerEngine,
        results: Results,
        probe: GpuProbe,
        settings: RunnerSettings,
        clock: Clock,
    ) -> None:
        self._platform = platform
        self._engine = engine
        self._results = results
        self._probe = probe
        self._settings = settings
        self._clock = clock
        self._stopping = threading.Event()
        self._lock = threading.Lock()
        self._carried: dict[JobId, threading.Thread] = {}
        self._starts = Starts()
        self._has_network = False  # whether that of the jobs was there in this life
        self._proof = Proof(engine, node_key(settings.paths.container_key))
        container = settings.container
        self._namespaces = Namespaces(
            engine,
            self._proof,
            settings.node_id,
            job_network(container.network),
            container.ready_namespaces,
            self._starts,
        )
        self._sampler = Sampler(platform, engine, self._name, clock)
        self._mirror = LogMirror(results)
        self.trouble: str | None = None  # why the engine or our own disk does not serve at present, for `system`

    @property
    def capacity(self) -> Capacity | None:
        """What the engine last said of itself; None until it has answered."""
        return self._sampler.capacity

    def load(self, job: JobId) -> Load | None:
        """What a running job takes at the moment; None where nobody could read it lately."""
        return self._sampler.load(job)

    def start(self) -> None:
        """Take up every job that a former life left with a lease, and remove containers of jobs that have ended."""
        self._platform.subscribe(self._note)
        self._sampler.start()
        self._mirror.start()
        self._namespaces.start()
        for job in self._platform.alive():
            if lease_of(job.state):
                self._take_on(job, [])
        threading.Thread(target=self._sweep, name="sweep", daemon=True).start()

    def stop(self) -> None:
        """Let go of every job. Containers run on."""
        self._stopping.set()
        self._namespaces.stop(RETRY_S)
        Attempt(self._namespaces.remove_ready, "remove-namespaces").is_over(REMOVAL_S)
        self._sampler.stop(RETRY_S)
        self._mirror.stop(RETRY_S)

    def carry(self, job: Job) -> None:
        """Carry a job that was just given a lease to its end, in a thread of its own. Once is enough; twice is fine."""
        self._take_on(job, [Absent()])

    def _take_on(self, job: Job, known: list[Observation]) -> None:
        """`known`: what is known of its container without a look; nothing where a former life may have made it."""
        with self._lock:
            if job.id not in self._carried and not self._stopping.is_set():
                thread = threading.Thread(target=self._carry, args=(job.id, known), name=f"job-{job.id}", daemon=True)
                self._carried[job.id] = thread
                thread.start()

    # --- one job ------------------------------------------------------------------------------------------------------

    def _carry(self, job_id: JobId, known: list[Observation]) -> None:
        while job := self._still_leased(job_id):
            try:
                self._walk(job, known)
            except _NodeStops:
                log.info("job_left_running", job=job_id)
                with self._lock:
                    del self._carried[job_id]
                return
            except Exception:
                log.exception("runner_defect", job=job_id)
                self._stopping.wait(DEFECT_S)  # then from the start: every step looks before it acts

    def _still_leased(self, job_id: JobId) -> Job | None:
        """The job, if it is to be carried on; else this thread is done with it, and a further attempt gets its own."""
        with self._lock:
            job = self._platform.job(job_id)
            if lease_of(job.state):
                return job
            del self._carried[job_id]
            return None

    def _walk(self, job: Job, known: list[Observation]) -> None:
        name = self._name(job)
        try:
            seen = self._asking(lambda: self._begin(job, name, known))
        except EngineRefused as refused:
            self._finish(job, name, refused)
            return
        followed_at = datetime.min.replace(tzinfo=UTC)
        while not isinstance(seen, Exited | Absent):
            self._asking(lambda: self._follow_log(job, name))
            followed_at = self._clock.now()
            seen = self._asking(lambda: self._engine.wait(name, WAIT_S)) or seen
        if isinstance(seen, Exited) and seen.finished_at >= followed_at:  # it may have said something since
            self._asking(lambda: self._follow_log(job, name))
        self._finish(job, name, seen)

    def _begin(self, job: Job, name: ContainerName, known: list[Observation]) -> Observation:
        """From the lease to a running process, from wherever a former life came to."""
        state = self._platform.job(job.id).state
        seen = known.pop() if known else self._observe(name)
        if isinstance(seen, Exited) and seen.error and self._network_was_gone(name):
            self._engine.remove(name)
            seen = Absent()
        if isinstance(seen, Absent | Created) and isinstance(state, Stopping):
            return Absent()  # never ran, and shall not
        if isinstance(seen, Absent) and isinstance(state, Running):
            return seen  # it ran and is gone: running it again would be a second run
        if isinstance(seen, Absent | Created):
            with self._starts.one():
                self._start(job, state, name, made=isinstance(seen, Created))
            seen = self._engine.observe(name)
        if isinstance(seen, Exited) and seen.error:
            raise EngineRefused(f"{seen.error}.")  # said before, when nobody heard it
        if isinstance(seen, Alive | Exited):
            now = self._platform.mark_running(job.id, seen.started_at)
            if isinstance(now.state, Stopping):
                self._ask_to_stop(now)
        return seen

    def _observe(self, name: ContainerName) -> Observation:
        """What is there of a name that only we know to give, but anybody with the engine at hand may have taken."""
        seen = self._engine.observe(name)
        if not isinstance(seen, Absent) and not self._proof.is_ours(name):
            raise EngineRefused(
                f"The name {name} is in use by a container that is not this node's.",
                f"Remove it if nobody needs it: `docker rm {name}`.",
            )
        return seen

    def _start(self, job: Job, state: State, name: ContainerName, *, made: bool) -> None:
        try:
            if not made:
                self._create(job, state, name)
            self._engine.start(name)
        except EngineRefused:
            if not self._network_was_gone(name):
                raise
            self._engine.remove(name)
            self._create(job, state, name)
            self._engine.start(name)

    def _create(self, job: Job, state: State, name: ContainerName) -> None:
        if not isinstance(state, Occupying):
            raise EngineRefused(f"Job {job.id} has no lease any more.")
        if not self._has_network:
            self._provide_network()
        output = self._results.output_folder(job)
        output.mkdir(mode=0o777, parents=True, exist_ok=True)
        output.chmod(0o777)  # whoever the job's processes run as
        self._results.begin_attempt(job, state.lease.attempt)
        self._engine.create(
            container_request(
                job,
                state.work,
                state.lease,
                node_id=self._settings.node_id,
                folder=output.parent,
                data=self._settings.paths.data,
                settings=self._settings.container,
                templates=self._settings.templates,
                user=job_user(self._settings.container.user, service=(os.geteuid(), os.getegid())),
                namespace=self._namespaces.lend(name),
                machine_bytes=os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
                mac=self._proof.mac(name, state.work.image),
            )
        )

    def _network_was_gone(self, name: ContainerName) -> bool:
        """Whether a container could not start for want of its namespace or network, which one made anew will have."""
        return self._namespaces.has_died(name) or self._provide_network()

    def _provide_network(self) -> bool:
        """Have the network of the jobs, where they have one of ours; whether there was none: anybody may prune it."""
        ours = job_network(self._settings.container.network) == JOBS_NETWORK
        is_new = ours and self._engine.provide_network(JOBS_NETWORK)
        self._has_network = True
        return is_new

    def _follow_log(self, job: Job, name: ContainerName) -> None:
        """Write to the log on our own disk what is not in it yet. The engine repeats its log from the first byte."""
        path = self._results.log_file(job)
        path.parent.mkdir(mode=0o700, exist_ok=True)
        with step("log append"):
            append_rest(path, self._log_of(job, name), self._results.log_start(job, _attempt(job)))

    def _log_of(self, job: Job, name: ContainerName) -> Iterator[bytes]:
        try:
            for chunk in self._engine.log(name):
                if self._stopping.is_set():  # before it is written: by now the next life of the node may write there
                    raise _NodeStops
                yield chunk
                self._mirror.grew(job)
        except EngineRefused as refused:  # no reason not to wait for its end: the container tells whether it is there
            log.warning("log_refused", container=name, cause=refused.message)

    def _finish(self, job: Job, name: ContainerName, seen: Absent | Exited | EngineRefused) -> None:
        lost = self._lost_gpus(job) if isinstance(seen, Exited) and seen.exit_code else frozenset()
        _, reason = verdict(self._platform.job(job.id).state, seen, lost)
        if self._platform.try_again(job.id, reason):
            self._sampler.take(job.id)
        else:
            self._end(job, seen, lost)
            self._starts.expect_one()
            self._bring(job)
        self._starts.give_way(GIVE_WAY_S, LONGEST_GIVE_WAY_S)
        self._quietly(lambda: self._asking(lambda: self._remove(name)))

    def _lost_gpus(self, job: Job) -> frozenset[GpuId]:
        """The GPUs of a job that the machine has no more; none where nobody can say."""
        held = gpus_held(job.state)
        survey = self._probe.survey() if held else None
        return held - {GpuId(gpu.uuid) for gpu in survey.gpus} if survey and not survey.stale else frozenset()

    def _remove(self, name: ContainerName) -> bool:
        """Remove a container with its namespace, unless it is somebody else's; whether it was not."""
        if self._proof.is_somebody_elses(name):
            return False
        self._namespaces.remove_with(name)
        return True

    def _end(self, job: Job, seen: Absent | Exited | EngineRefused, lost: frozenset[GpuId]) -> None:
        """The lease ends here: whatever is still to be done with what the job left, others may have its GPUs now."""
        state = self._platform.job(job.id).state
        outcome, reason = verdict(state, seen, lost)
        ran = seen if isinstance(seen, Exited) else None
        with step("lease end"):
            self._platform.finish(
                job.id,
                outcome,
                reason,
                at=ran.finished_at if ran else self._clock.now(),
                exit_code=ran.exit_code if ran else None,
                started_at=ran.started_at if ran else started_at(state),
                use=self._sampler.take(job.id),
            )

    def _bring(self, job: Job) -> None:
        """Bring everything into the share. What a share lacks that refuses or hangs is brought by the publisher."""
        attempt = Attempt(lambda: self._results.bring(job), f"bring-{job.id}")
        while not attempt.is_over(ANSWER_S):
            if self._stopping.is_set():
                raise _NodeStops
            if not Attempt(self._results.check_share, "share-answers").is_over(ANSWER_S):
                log.warning("results_wait_for_share", job=job.id, cause="the share does not answer")
                return
        if attempt.error:
            log.warning("results_wait_for_share", job=job.id, cause=str(attempt.error))

    # --- stopping -----------------------------------------------------------------------------------------------------

    def _note(self, job: Job) -> None:
        """A listener of the platform: a job that was asked to stop gets its signal."""
        if isinstance(job.state, Stopping):
            self._ask_to_stop(job)

    def _ask_to_stop(self, job: Job) -> None:
        grace_s = self._settings.container.stop_grace_s
        name = self._name(job)
        threading.Thread(
            target=self._quietly, args=(lambda: self._asking(lambda: self._engine.stop(name, grace_s)),), daemon=True
        ).start()

    # --- the engine ---------------------------------------------------------------------------------------------------

    def _asking(self, question: Callable[[], Result]) -> Result:
        """Ask the engine, or our own disk, until it serves. Unknown is not dead: nothing is decided meanwhile."""
        while True:
            if self._stopping.is_set():
                raise _NodeStops
            try:
                answer = question()
            except (EngineUnavailable, OSError) as away:
                if self.trouble is None:
                    log.warning("waiting_for_engine_or_disk", cause=str(away))
                self.trouble = str(away)
                self._stopping.wait(RETRY_S)
            else:
                self.trouble = None
                return answer

    def _quietly(self, action: Callable[[], object]) -> None:
        try:
            action()
        except _NodeStops:
            pass
        except DopqError as error:
            log.warning("engine_refused", code=error.code, cause=error.message)

    def _sweep(self) -> None:
        """Remove containers of jobs that have ended: a former life was killed between the end and the removal."""
        labels = {NODE_LABEL: self._settings.node_id}
        self._quietly(lambda: self._remove_unleased(self._asking(lambda: self._engine.containers(labels))))

    def _remove_unleased(self, found: Mapping[ContainerName, Mapping[str, str]]) -> None:
        wanted = {self._name(job) for job in self._platform.alive() if lease_of(job.state)}
        ours = {name for name in found if is_of_node(self._settings.node_id, name)}
        for name in [*(ours - wanted), *self._namespaces.left_behind(found, wanted)]:
            if self._asking(partial(self._remove, name)):
                log.info("container_swept", container=name)

    def _name(self, job: Job) -> ContainerName:
        return container_name(self._settings.node_id, job.id, _attempt(job))


def _attempt(job: Job) -> int:
    lease = lease_of(job.state)
    return lease.attempt if lease else 1
