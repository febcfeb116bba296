"""How this node runs containers, and what it calls them."""

from __future__ import annotations

from dataclasses import dataclass

from dopq.config import ContainerSettings, Paths, TemplatesSettings
from dopq.container_handler.container import container_name
from dopq.container_handler.engine import ContainerName
from dopq.job import Job, Occupying


@dataclass(frozen=True, slots=True)
class RunnerSettings:
    """How this node runs containers.

    Attributes:
        standby: whether the containers of the jobs that come next are started before their leases, behind a latch.
    """

    node_id: str
    paths: Paths
    container: ContainerSettings
    templates: TemplatesSettings
    standby: bool = False

    def container_of(self, job: Job) -> ContainerName:
        """The name of the container of the attempt that a job is at."""
        return container_name(self.node_id, job.id, attempt_of(job))


def attempt_of(job: Job) -> int:
    """The attempt that a job is at; 1 for one that is at none."""
    return job.state.lease.attempt if isinstance(job.state, Occupying) else 1
