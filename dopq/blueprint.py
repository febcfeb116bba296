"""What the containers of this node's jobs are made from."""

from __future__ import annotations

import os

from dopq.container_handler.container import container_request, job_user
from dopq.container_handler.engine import ContainerName, ContainerRequest
from dopq.container_handler.proof import Proof
from dopq.errors import EngineRefused
from dopq.job import Job, Occupying
from dopq.results import Results
from dopq.runner_settings import RunnerSettings


class Blueprint:
    """Says what the container of an attempt is created from, and has the folder there that it needs. Thread-safe."""

    def __init__(self, results: Results, proof: Proof, settings: RunnerSettings) -> None:
        self._results = results
        self._proof = proof
        self._settings = settings

    def request(self, job: Job, namespace: ContainerName | None = None) -> ContainerRequest:
        """Of the attempt that a job is at; `namespace` as in `container_request`.

        Raises:
            EngineRefused: it has no lease any more.
            OSError: our own disk does not serve now.
        """
        if not isinstance(job.state, Occupying):
            raise EngineRefused(f"Job {job.id} has no lease any more.")
        output = self._results.output_folder(job)
        output.mkdir(mode=0o777, parents=True, exist_ok=True)
        output.chmod(0o777)  # whoever the job's processes run as
        settings = self._settings
        return container_request(
            job,
            job.state.work,
            job.state.lease,
            node_id=settings.node_id,
            folder=output.parent,
            data=settings.paths.data,
            settings=settings.container,
            templates=settings.templates,
            user=job_user(settings.container.user, service=(os.geteuid(), os.getegid())),
            namespace=namespace,
            machine_bytes=os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
            mac=self._proof.mac(settings.container_of(job), job.state.work.image),
        )
