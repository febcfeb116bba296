"""What follows for jobs from a look at the GPUs. Runs in the thread that looks."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime, timedelta

from dopq.config import GpuSettings
from dopq.data_platform import DataPlatform
from dopq.errors import WrongState
from dopq.gpu_conduct import idle, idle_since, idle_warning, overruns, trespasses
from dopq.gpu_use import By, Use, explain, past_the_queue, unleased_since
from dopq.gpu_watch import GpuWatch
from dopq.job import Actor, GpuId, Job, JobId, Lease, Reason, Running, StateName, lease_of
from dopq.job_containers import JobContainers
from dopq.utils.clock import Clock
from dopq.utils.gpu import GpuSurvey
from dopq.utils.log import logger
from dopq.utils.processes import origin

log = logger(__name__)

ENDING_S = 15.0
"""How long a process may still be ending after its job has; then its GPU is handed out no more until it is gone."""


class GpuGuard:
    """Ends jobs whose GPUs are broken, withholds GPUs that are used past the queue, and minds what jobs do with theirs.

    Attributes:
        uses: who used which GPU at the last look.
    """

    def __init__(
        self, platform: DataPlatform, watch: GpuWatch, containers: JobContainers, settings: GpuSettings, clock: Clock
    ) -> None:
        self._platform = platform
        self._watch = watch
        self._containers = containers
        self._settings = settings
        self._clock = clock
        self._idle_since: dict[GpuId, datetime] = {}
        self._unleased_since: dict[JobId, float] = {}
        self._overran: set[JobId] = set()
        self.uses: tuple[Use, ...] = ()

    def look(self, survey: GpuSurvey) -> None:
        """Draw the consequences of a look. Of one without an answer there are none."""
        if survey.stale:
            return
        broken = self._watch.offer().broken
        uses = self._explained(survey)
        jobs = self._platform.leased()
        leases = {job.id: lease for job in jobs if (lease := lease_of(job.state))}
        self._spare(uses, {job: lease.gpus for job, lease in leases.items()})
        warnings = self._warnings(survey, uses, jobs, leases)
        for job in jobs:
            if sick := leases[job.id].gpus & broken.keys():
                self._end(job, broken[min(sick)])
            elif isinstance(job.state, Running):
                self._mind(job, warnings.get(job.id))

    # --- who uses what ------------------------------------------------------------------------------------------------

    def _explained(self, survey: GpuSurvey) -> tuple[Use, ...]:
        seen = [(GpuId(gpu.uuid), process) for gpu in survey.gpus for process in gpu.processes or ()]
        origins = {process.pid: origin(process.pid) for _, process in seen}
        ids = frozenset[str]().union(*(it.containers or frozenset() for it in origins.values()))
        containers = self._containers.of(ids)
        held = {job.id: lease.gpus for job in self._platform.leased() if (lease := lease_of(job.state))}
        now_s = self._clock.monotonic()
        outlived = {job for job, since_s in self._unleased_since.items() if now_s - since_s >= ENDING_S}
        uses = tuple(explain(gpu, process, origins[process.pid], containers, held, outlived) for gpu, process in seen)
        self._unleased_since = unleased_since(self._unleased_since, uses, held, now_s)
        return uses

    def _spare(self, uses: tuple[Use, ...], leases: Mapping[JobId, frozenset[GpuId]]) -> None:
        foreign = past_the_queue(uses, self.uses, leases) if self._settings.foreign == "spare" else {}
        self._watch.withhold(foreign)
        known = {(use.gpu, use.process.pid) for use in self.uses}
        for use in uses:
            if use.by in {By.TRESPASSER, By.STRANGER} and (use.gpu, use.process.pid) not in known:
                log.warning("gpu_used_past_the_queue", gpu=use.gpu, pid=use.process.pid, user=use.user, job=use.job)
        self.uses = uses

    # --- what jobs do -------------------------------------------------------------------------------------------------

    def _warnings(
        self, survey: GpuSurvey, uses: tuple[Use, ...], jobs: list[Job], leases: Mapping[JobId, Lease]
    ) -> dict[JobId, Reason]:
        """What is odd about each job; the gravest counts."""
        return {**self._idle(survey, jobs), **self._overrunning(survey, uses, leases), **trespasses(uses)}

    def _idle(self, survey: GpuSurvey, jobs: list[Job]) -> dict[JobId, Reason]:
        now = self._clock.now()
        utilisation = {GpuId(gpu.uuid): gpu.utilisation_percent for gpu in survey.gpus}
        self._idle_since = idle_since(self._idle_since, utilisation, now)
        if not self._settings.idle_minutes:
            return {}
        latest = now - timedelta(minutes=self._settings.idle_minutes)
        return {
            job.id: idle_warning(since)
            for job in jobs
            if isinstance(state := job.state, Running)
            and (since := idle(state.lease, self._idle_since, state.started_at))
            and since <= latest
        }

    def _overrunning(
        self, survey: GpuSurvey, uses: tuple[Use, ...], leases: Mapping[JobId, Lease]
    ) -> dict[JobId, Reason]:
        """Those who did at the look before, too: a moment's peak is no overrun."""
        totals = {GpuId(gpu.uuid): total for gpu in survey.gpus if (total := gpu.memory_total_bytes) is not None}
        found, before = overruns(leases, uses, totals), self._overran
        self._overran = set(found)
        return {job: reason for job, reason in found.items() if job in before}

    def _mind(self, job: Job, warning: Reason | None) -> None:
        policies = {"gpu_idle": self._settings.idle_policy, "gpu_overrun": self._settings.overrun_policy}
        if warning and policies.get(warning.code) == "end":
            self._end(job, warning)
            return
        with suppress(WrongState):  # it has ended in this moment
            self._platform.warn(job.id, warning)

    def _end(self, job: Job, reason: Reason) -> None:
        with suppress(WrongState):  # as above
            self._platform.request_stop(job.id, StateName.FAILED, reason, Actor.SCHEDULER)
