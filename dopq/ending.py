"""The last part of a job's way: its container is over, and everything of it is on our own disk."""

from __future__ import annotations

from dopq.asking import Asking
from dopq.container_handler.engine import Absent, Exited
from dopq.data_platform import DataPlatform
from dopq.errors import EngineRefused
from dopq.job import GpuId, Job, Occupying, started_at
from dopq.removal import Removal
from dopq.results import Results
from dopq.runner_settings import RunnerSettings
from dopq.sampler import Sampler
from dopq.starts import Starts
from dopq.utils.attempt import Attempt
from dopq.utils.clock import Clock
from dopq.utils.crash_points import step
from dopq.utils.gpu import GpuProbe
from dopq.utils.log import logger
from dopq.verdict import verdict

log = logger(__name__)

ANSWER_S = 10.0
"""A share that does not answer for so long hangs."""


class Ending:
    """Ends jobs, has them tried again, and brings home what they left. Thread-safe."""

    def __init__(
        self,
        platform: DataPlatform,
        results: Results,
        sampler: Sampler,
        probe: GpuProbe,
        starts: Starts,
        removal: Removal,
        asking: Asking,
        settings: RunnerSettings,
        clock: Clock,
    ) -> None:
        self._platform = platform
        self._results = results
        self._sampler = sampler
        self._probe = probe
        self._starts = starts
        self._removal = removal
        self._asking = asking
        self._settings = settings
        self._clock = clock

    def finish(self, job: Job, seen: Absent | Exited | EngineRefused) -> None:
        """Judge what the engine says, enter that, and clear up. Its lease ends first: others may have its GPUs.

        Raises:
            NodeStops: the node stops; the next life does the rest.
        """
        lost = self._lost_gpus(job) if isinstance(seen, Exited) and seen.exit_code else frozenset()
        name = self._settings.container_of(job)
        _, reason = verdict(self._platform.job(job.id).state, seen, lost)
        if self._platform.try_again(job.id, reason):
            self._sampler.take(job.id)
        else:
            self._end(job, seen, lost)
            self._starts.expect_one()
            self._bring(job)
        self._removal.remove(name)

    def _lost_gpus(self, job: Job) -> frozenset[GpuId]:
        """The GPUs of a job that the machine has no more; none where nobody can say."""
        held = job.state.lease.gpus if isinstance(job.state, Occupying) else frozenset[GpuId]()
        survey = self._probe.survey() if held else None
        return held - {GpuId(gpu.uuid) for gpu in survey.gpus} if survey and not survey.stale else frozenset()

    def _end(self, job: Job, seen: Absent | Exited | EngineRefused, lost: frozenset[GpuId]) -> None:
        """The lease ends here, if it has not yet: whatever is still to be done, others may have its GPUs now."""
        state = self._platform.job(job.id).state
        outcome, reason = verdict(state, seen, lost)
        ran = seen if isinstance(seen, Exited) else None
        with step("job end"):
            self._platform.finish(
                job.id,
                outcome,
                reason,
                at=ran.finished_at if ran else self._clock.now(),
                exit_code=ran.exit_code if ran else None,
                started_at=started_at(state) or (ran.started_at if ran else None),
                use=self._sampler.take(job.id),
            )

    def _bring(self, job: Job) -> None:
        """Bring everything into the share. What a share lacks that refuses or hangs is brought by the publisher."""
        attempt = Attempt(lambda: self._results.bring(job), f"bring-{job.id}")
        while not attempt.is_over(ANSWER_S):
            self._asking.check_on()
            if not Attempt(self._results.check_share, "share-answers").is_over(ANSWER_S):
                log.warning("results_wait_for_share", job=job.id, cause="the share does not answer")
                return
        if attempt.error:
            log.warning("results_wait_for_share", job=job.id, cause=str(attempt.error))
