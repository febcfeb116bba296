"""What follows for jobs from a look at the GPUs. Runs in the thread that looks."""

from __future__ import annotations

from contextlib import suppress

from dopq.data_platform import DataPlatform
from dopq.errors import WrongState
from dopq.gpu_watch import GpuWatch
from dopq.job import Actor, Job, Reason, StateName, gpus_held
from dopq.utils.gpu import GpuSurvey
from dopq.utils.log import logger

log = logger(__name__)


class GpuGuard:
    """Ends jobs whose GPUs are broken."""

    def __init__(self, platform: DataPlatform, watch: GpuWatch) -> None:
        self._platform = platform
        self._watch = watch

    def look(self, _survey: GpuSurvey) -> None:
        """Draw the consequences of a look."""
        broken = self._watch.offer().broken
        for job in self._platform.occupying():
            if sick := gpus_held(job.state) & broken.keys():
                self._end(job, broken[min(sick)])

    def _end(self, job: Job, reason: Reason) -> None:
        with suppress(WrongState):  # it has ended in this moment
            self._platform.request_stop(job.id, StateName.FAILED, reason, Actor.SCHEDULER)
