"""The removal of containers: each with its namespace, and never somebody else's."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

from dopq.asking import Asking
from dopq.container_handler.container import NODE_LABEL, is_of_node
from dopq.container_handler.engine import ContainerEngine, ContainerName
from dopq.container_handler.proof import Proof
from dopq.data_platform import DataPlatform
from dopq.job import Occupying
from dopq.namespaces import Namespaces
from dopq.prepared import Prepared
from dopq.runner_settings import RunnerSettings
from dopq.starts import Starts
from dopq.utils.log import logger

log = logger(__name__)

GIVE_WAY_S, LONGEST_GIVE_WAY_S = 0.05, 1.0
"""A container is removed when none has been started for so long, or after so long at the latest."""


class Removal:
    """Removes containers that nobody needs any more. Thread-safe."""

    def __init__(
        self,
        platform: DataPlatform,
        engine: ContainerEngine,
        proof: Proof,
        namespaces: Namespaces,
        prepared: Prepared,
        starts: Starts,
        asking: Asking,
        settings: RunnerSettings,
    ) -> None:
        self._platform = platform
        self._engine = engine
        self._proof = proof
        self._namespaces = namespaces
        self._prepared = prepared
        self._starts = starts
        self._asking = asking
        self._settings = settings

    def remove(self, name: ContainerName) -> None:
        """Remove a container when nobody else is just being started. What the engine refuses stays until a sweep."""
        self._starts.give_way(GIVE_WAY_S, LONGEST_GIVE_WAY_S)
        self._asking.quietly(lambda: self._remove(name))

    def sweep(self) -> None:
        """Remove containers of jobs that have ended: a former life was killed between the end and the removal."""
        labels = {NODE_LABEL: self._settings.node_id}
        self._asking.quietly(lambda: self._remove_unwanted(self._engine.containers(labels)))

    def _remove_unwanted(self, found: Mapping[ContainerName, Mapping[str, str]]) -> None:
        wanted = {
            self._settings.container_of(job) for job in self._platform.alive() if isinstance(job.state, Occupying)
        }
        ours = {name for name in found if is_of_node(self._settings.node_id, name)}
        nobodys = (ours - wanted) | self._prepared.left_behind(found)
        for name in [*nobodys, *self._namespaces.left_behind(found, wanted)]:
            if self._asking.until_answered(partial(self._remove, name)):
                log.info("container_swept", container=name)

    def _remove(self, name: ContainerName) -> bool:
        """Remove a container with its namespace, unless it is somebody else's; whether it was not."""
        if self._proof.is_somebody_elses(name):
            return False
        self._namespaces.remove_with(name)
        return True
