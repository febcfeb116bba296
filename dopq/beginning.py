"""The first part of a job's way: from its lease to a running process, from wherever a former life came to."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime

from dopq.blueprint import Blueprint
from dopq.container_handler.container import JOBS_NETWORK, job_network
from dopq.container_handler.engine import Absent, Alive, ContainerEngine, ContainerName, Created, Exited, Observation
from dopq.container_handler.proof import Proof
from dopq.data_platform import DataPlatform
from dopq.errors import EngineRefused
from dopq.job import Job, Running, Stopping, lease_of
from dopq.namespaces import Namespaces
from dopq.prepared import Prepared
from dopq.results import Results
from dopq.runner_settings import RunnerSettings
from dopq.starts import Starts


class Beginning:
    """Creates and starts the containers of jobs. Looks before it acts: called again, it goes on. Thread-safe."""

    def __init__(
        self,
        platform: DataPlatform,
        engine: ContainerEngine,
        proof: Proof,
        results: Results,
        blueprint: Blueprint,
        namespaces: Namespaces,
        prepared: Prepared,
        starts: Starts,
        settings: RunnerSettings,
        ask_to_stop: Callable[[Job], None],
    ) -> None:
        """`ask_to_stop`: called with a job that was asked to stop before its process ran."""
        self._platform = platform
        self._engine = engine
        self._proof = proof
        self._results = results
        self._blueprint = blueprint
        self._namespaces = namespaces
        self._prepared = prepared
        self._starts = starts
        self._settings = settings
        self._ask_to_stop = ask_to_stop
        self._has_network = False  # whether that of the jobs was there in this life

    def begin(self, job: Job, known: list[Observation]) -> Observation:
        """What is there of a job's container once it has been started, unless it had been or is not to be.

        Args:
            known: what is known of it without a look, taken out; empty where a former life may have made it.

        Raises:
            EngineRefused: the container cannot be had.
            EngineUnavailable, OSError: call again.
        """
        job, name = self._platform.job(job.id), self._settings.container_of(job)
        state = job.state
        seen = known.pop() if known else self._observe(job, name)
        if isinstance(seen, Exited) and seen.error and self._network_was_gone(name):
            self._engine.remove(name)
            seen = Absent()
        if isinstance(seen, Absent | Created) and isinstance(state, Running | Stopping):
            return Absent()  # it shall not run any more; or it ran and is gone, and this would be a second run
        if isinstance(seen, Absent | Created):
            with self._starts.one():
                begun_at = self._start(job, name, made=isinstance(seen, Created))
            seen = self._engine.observe(name)
            if begun_at and isinstance(seen, Alive | Exited):
                seen = replace(seen, started_at=begun_at)
        if isinstance(seen, Exited) and seen.error:
            raise EngineRefused(f"{seen.error}.")  # said before, when nobody heard it
        if isinstance(seen, Alive | Exited):
            now = self._platform.mark_running(job.id, seen.started_at)
            if isinstance(now.state, Stopping):
                self._ask_to_stop(now)
        return seen

    def _observe(self, job: Job, name: ContainerName) -> Observation:
        """What is there of a name that only we know to give, but anybody with the engine at hand may have taken."""
        seen = self._engine.observe(name)
        if not isinstance(seen, Absent) and not self._proof.is_ours(name):
            raise EngineRefused(
                f"The name {name} is in use by a container that is not this node's.",
                f"Remove it if nobody needs it: `docker rm {name}`.",
            )
        return self._prepared.recall(job, seen)

    def _start(self, job: Job, name: ContainerName, *, made: bool) -> datetime | None:
        """Have its process run; since when, where the engine does not know that: it stood by."""
        try:
            if not made:
                self._create(job, name)
            return self._set_going(name)
        except EngineRefused:
            if not self._network_was_gone(name):
                raise
            self._engine.remove(name)
            self._create(job, name)
            return self._set_going(name)

    def _set_going(self, name: ContainerName) -> datetime | None:
        begun_at = self._prepared.begin(name)
        if begun_at is None:
            self._engine.start(name)
        return begun_at

    def _create(self, job: Job, name: ContainerName) -> None:
        if lease := lease_of(job.state):
            self._results.begin_attempt(job, lease.attempt)
        if self._prepared.take(job):
            return
        if not self._has_network:
            self._provide_network()
        self._engine.create(self._blueprint.request(job, self._namespaces.lend(name)))

    def _network_was_gone(self, name: ContainerName) -> bool:
        """Whether a container could not start for want of its namespace or network, which one made anew will have."""
        return self._namespaces.has_died(name) or self._provide_network()

    def _provide_network(self) -> bool:
        """Have the network of the jobs, where they have one of ours; whether there was none: anybody may prune it."""
        ours = job_network(self._settings.container.network) == JOBS_NETWORK
        is_new = ours and self._engine.provide_network(JOBS_NETWORK)
        self._has_network = True
        return is_new
