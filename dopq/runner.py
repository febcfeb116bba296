"""The runner: carries each started job from its lease to its end, one thread a job (walk.py says how)."""

from __future__ import annotations

import threading

from dopq.ahead import Ahead
from dopq.asking import Asking, NodeStops
from dopq.beginning import Beginning
from dopq.blueprint import Blueprint
from dopq.container_handler.container import job_network
from dopq.container_handler.engine import Absent, Capacity, ContainerEngine, Observation
from dopq.container_handler.proof import Proof, node_key
from dopq.data_platform import DataPlatform
from dopq.ending import Ending
from dopq.job import Job, JobId, Occupying, Stopping, lease_of
from dopq.log_follower import LogFollower
from dopq.log_mirror import LogMirror
from dopq.namespaces import Namespaces
from dopq.prepared import Prepared
from dopq.process_watch import ProcessWatch
from dopq.removal import Removal
from dopq.results import Results
from dopq.runner_settings import RunnerSettings
from dopq.sampler import Sampler
from dopq.starts import Starts
from dopq.utils.attempt import Attempt
from dopq.utils.clock import Clock
from dopq.utils.gpu import GpuProbe
from dopq.utils.log import logger
from dopq.walk import Walk

log = logger(__name__)

DEFECT_S = 10.0
"""How long to leave a job alone after an error that nobody foresaw, such as a full disk under the journal."""

STOP_S = 1.0
"""How long a stop waits for each of the threads."""

REMOVAL_S = 3.0
"""How long a stop waits for the engine to remove what stands ready for jobs."""


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
        self._settings = settings
        self._asking = asking = Asking()
        self._lock = threading.Lock()
        self._carried: dict[JobId, threading.Thread] = {}
        starts, proof = Starts(), Proof(engine, node_key(settings.paths.container_key))
        network, ready = job_network(settings.container.network), settings.container.ready_namespaces
        self._namespaces = Namespaces(engine, proof, settings.node_id, network, ready, starts)
        blueprint = Blueprint(results, proof, settings)
        self._prepared = Prepared(engine, proof, self._namespaces, blueprint, settings, clock)
        self._ahead = Ahead(platform, self._prepared, starts)
        self._sampler = Sampler(platform, engine, settings.container_of)
        self._mirror = LogMirror(results)
        self._processes = ProcessWatch(platform, starts)
        self._removal = Removal(platform, engine, proof, self._namespaces, self._prepared, starts, asking, settings)
        self._walk = Walk(
            engine,
            Beginning(
                platform,
                engine,
                proof,
                results,
                blueprint,
                self._namespaces,
                self._prepared,
                starts,
                settings,
                self._ask_to_stop,
            ),
            LogFollower(engine, results, self._mirror, asking, settings),
            self._processes,
            Ending(platform, results, self._sampler, probe, starts, self._removal, asking, settings, clock),
            asking,
            settings,
            clock,
        )

    @property
    def capacity(self) -> Capacity | None:
        """What the engine last said of itself; None until it has answered."""
        return self._sampler.capacity

    @property
    def trouble(self) -> str | None:
        """Why the engine or our own disk does not serve at present, for `system`; None while it does."""
        return self._asking.trouble

    def start(self) -> None:
        """Take up every job that a former life left on its way, and remove containers of jobs that have ended."""
        self._platform.subscribe(self._note)
        self._sampler.start()
        self._mirror.start()
        self._processes.start()
        self._namespaces.start()
        self._ahead.start()
        for job in self._platform.alive():
            if isinstance(job.state, Occupying):
                self._take_on(job, [])
        threading.Thread(target=self._removal.sweep, name="sweep", daemon=True).start()

    def stop(self) -> None:
        """Let go of every job. Containers run on."""
        self._asking.stopping.set()
        self._ahead.stop(STOP_S)
        self._namespaces.stop(STOP_S)
        Attempt(self._remove_ready, "remove-ready").is_over(REMOVAL_S)
        self._processes.stop(STOP_S)
        self._sampler.stop(STOP_S)
        self._mirror.stop(STOP_S)

    def _remove_ready(self) -> None:
        self._prepared.remove_all()
        self._namespaces.remove_ready()

    def carry(self, job: Job) -> None:
        """Carry a job that was just given a lease to its end, in a thread of its own. Once is enough; twice is fine."""
        self._take_on(job, [Absent()])

    def _take_on(self, job: Job, known: list[Observation]) -> None:
        """`known`: what is known of its container without a look; nothing where a former life may have made it."""
        with self._lock:
            if job.id not in self._carried and not self._asking.stopping.is_set():
                thread = threading.Thread(target=self._carry, args=(job.id, known), name=f"job-{job.id}", daemon=True)
                self._carried[job.id] = thread
                thread.start()

    def _carry(self, job_id: JobId, known: list[Observation]) -> None:
        while job := self._still_on_its_way(job_id):
            try:
                self._walk.go(job, known)
            except NodeStops:
                log.info("job_left_running", job=job_id)
                with self._lock:
                    del self._carried[job_id]
                return
            except Exception:
                log.exception("runner_defect", job=job_id)
                self._asking.stopping.wait(DEFECT_S)  # then from the start: every step looks before it acts

    def _still_on_its_way(self, job_id: JobId) -> Job | None:
        """The job, if it is to be carried on; else this thread is done with it, and a further attempt gets its own."""
        with self._lock:
            job = self._platform.job(job_id)
            if isinstance(job.state, Occupying):
                return job
            del self._carried[job_id]
            return None

    def _note(self, job: Job) -> None:
        """A listener of the platform: a job that was asked to stop gets its signal, while there is a process."""
        if isinstance(job.state, Stopping) and lease_of(job.state):
            self._ask_to_stop(job)

    def _ask_to_stop(self, job: Job) -> None:
        name, grace_s = self._settings.container_of(job), self._settings.container.stop_grace_s
        stop = (lambda: self._engine.stop(name, grace_s),)
        threading.Thread(target=self._asking.quietly, args=stop, name=f"stop-{job.id}", daemon=True).start()
