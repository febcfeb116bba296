"""Whose the containers on this machine are. The engine is asked for those alone that were not met before."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from dopq.container_handler.container import NODE_LABEL, is_of_node
from dopq.container_handler.engine import ContainerEngine
from dopq.job import JobId
from dopq.utils.attempt import Attempt

ANSWER_S = 2.0
"""An engine that does not answer for so long is taken to be away."""


class JobContainers:
    """Which container is which job's. Not thread-safe."""

    def __init__(self, engine: ContainerEngine, node_id: str) -> None:
        self._engine = engine
        self._node_id = node_id
        self._known: dict[str, JobId | None] = {}

    def of(self, ids: Collection[str]) -> Mapping[str, JobId | None] | None:
        """The job of each of these containers, None for those that are nobody's; None where the engine is away.

        One that was met before is known also when it is gone by now.
        """
        unknown = [it for it in ids if it not in self._known]
        listed = self._listed() if unknown else {}
        if listed is None:
            return None
        self._known |= {it: listed.get(it) for it in unknown}
        self._known = {it: self._known[it] for it in ids}
        return self._known

    def _listed(self) -> dict[str, JobId] | None:
        found: dict[str, JobId] = {}
        attempt = Attempt(lambda: found.update(self._ask()), "containers-of-jobs")
        return found if attempt.is_over(ANSWER_S) and attempt.error is None else None

    def _ask(self) -> dict[str, JobId]:
        ids = self._engine.ids({NODE_LABEL: self._node_id})
        return {it: JobId(int(name.split("-")[-2])) for it, name in ids.items() if is_of_node(self._node_id, name)}
