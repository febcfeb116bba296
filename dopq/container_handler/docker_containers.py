"""Containers on a real Docker engine: each verb of the port that a job needs on its way."""

from __future__ import annotations

import http.client
import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime
from typing import Any

from dopq.container_handler import docker_connection
from dopq.container_handler.docker_connection import DockerConnection, refusal
from dopq.container_handler.docker_http import DockerHttp, Refused
from dopq.container_handler.docker_json import (
    container_body,
    instant,
    keeps_apart,
    may_have_gone_down_with_the_engine,
    network_body,
    observation,
    sample,
)
from dopq.container_handler.engine import (
    Absent,
    ContainerName,
    ContainerRequest,
    Created,
    Exited,
    Observation,
    Origin,
    Sample,
)
from dopq.errors import EngineRefused, EngineUnavailable
from dopq.job import ImageId
from dopq.utils.crash_points import step

_REMOVAL_TIMEOUT_S = 30.0


class DockerContainers:
    """The verbs of `ContainerEngine` for containers; may be shared between threads."""

    def __init__(self, connection: DockerConnection) -> None:
        self._connection = connection
        self._translated = connection.translated
        self._http = DockerHttp(connection.url)
        self._lock = threading.Lock()
        self._never_started: set[ContainerName] = set()  # made by us, in this life, and by nobody started since

    def provide_network(self, name: str) -> bool:
        """See ContainerEngine."""
        with self._doing(f"make the network {name}"):
            try:
                self._call("POST", "/networks/create", body=network_body(name))
            except Refused as refused:
                if refused.status != 409:  # there is one
                    raise
                found = self._call("GET", f"/networks/{name}")
                if not keeps_apart(found):
                    raise EngineRefused(
                        f"The network {name} lets its containers reach each other.",
                        f"Remove it, and it is made anew: `docker network rm {name}`.",
                    ) from refused
                return False
            return True

    def create(self, request: ContainerRequest) -> None:
        """See ContainerEngine."""
        with self._doing(f"create the container {request.name}"):
            try:
                with step("container create"):
                    self._call("POST", "create", {"name": request.name}, container_body(request))
                with self._lock:
                    self._never_started.add(request.name)
            except Refused as refused:
                if refused.status != 409:  # the name is in use: a call before this one, or somebody else
                    raise
                self._check_ours(request)

    def _check_ours(self, request: ContainerRequest) -> None:
        try:
            labels = self._inspected(request.name)["Config"]["Labels"] or {}
        except Refused as refused:
            if refused.status != 404:
                raise
            raise EngineUnavailable(f"The container {request.name} is just being removed.", "Ask again.") from refused
        if not request.labels.items() <= labels.items():
            raise EngineRefused(
                f"The name {request.name} is in use by a container that is not this node's.",
                f"Remove it if nobody needs it: `docker rm {request.name}`.",
            )

    def start(self, name: ContainerName) -> None:
        """See ContainerEngine.

        Docker would run an exited container a second time, so its state is looked at first, unless we have made it and
        never started it: one owner per name, the node, keeps two starts from racing. With an init in the container a
        missing command is no error here: the init ends with 127 and says so in the log.
        """
        doing = f"start the container {name}"
        with self._doing(doing):
            seen = Created() if self._is_new(name) else self.observe(name)
            if isinstance(seen, Created | Absent):  # Absent: let the engine say so
                with step("container start"):
                    self._call("POST", f"{name}/start")
            elif isinstance(seen, Exited) and seen.error:
                raise refusal(doing, seen.error)

    def _is_new(self, name: ContainerName) -> bool:
        """Whether nobody can have started it; true once, since whoever asks starts it."""
        with self._lock:
            known = name in self._never_started
            self._never_started.discard(name)
            return known

    def observe(self, name: ContainerName) -> Observation:
        """See ContainerEngine."""
        with self._doing(f"tell about the container {name}"):
            try:
                seen = observation(self._inspected(name))
            except Refused as refused:
                if refused.status != 404:
                    raise
                return Absent()
            if isinstance(seen, Exited) and may_have_gone_down_with_the_engine(seen):
                since = self._up_since()
                return replace(seen, with_engine=since is not None and seen.finished_at < since)
            return seen

    def _up_since(self) -> datetime | None:
        """When the engine began to serve: it makes its default bridge anew at each start. None where it has none.

        Asked over a connection of its own: an engine that is stopping takes no new ones, but answers on those it has
        while it ends its containers (Docker 20.10).
        """
        anew = DockerHttp(self._connection.url)
        try:
            bridge = anew.call("GET", "/networks/bridge", timeout_s=docker_connection.CALL_TIMEOUT_S)
            return instant(bridge["Created"])
        except Refused as refused:
            if refused.status != 404:
                raise
            return None

    def origin(self, name: ContainerName) -> Origin | None:
        """See ContainerEngine."""
        with self._doing(f"tell what the container {name} was made from"):
            try:
                inspected = self._inspected(name)
            except Refused as refused:
                if refused.status != 404:
                    raise
                return None
            return Origin(ImageId(inspected["Image"]), inspected["Config"]["Labels"] or {})

    def wait(self, name: ContainerName, timeout_s: float) -> Exited | Absent | None:
        """See ContainerEngine."""
        with self._doing(f"wait for the container {name}"):
            seen = self.observe(name)
            if isinstance(seen, Exited | Absent):
                return seen
            # Docker counts a container that was never started as one that does not run.
            condition = "next-exit" if isinstance(seen, Created) else "not-running"
            try:
                self._call("POST", f"{name}/wait", {"condition": condition}, timeout_s=max(timeout_s, 0.001))
            except Refused as refused:
                if refused.status != 404:
                    raise
                return Absent()
            except TimeoutError:
                pass
            seen = self.observe(name)
            return seen if isinstance(seen, Exited | Absent) else None

    def log(self, name: ContainerName) -> Iterator[bytes]:
        """See ContainerEngine.

        The one call without a timeout: a job may be silent for days. An engine that ends closes the connection.
        """
        with self._doing(f"show the log of the container {name}"):
            yield from self._http.frames(f"/containers/{name}/logs", {"follow": 1, "stdout": 1, "stderr": 1})

    def use(self, name: ContainerName) -> Sample:
        """See ContainerEngine."""
        with self._doing(f"measure the container {name}"):
            try:
                return sample(self._call("GET", f"{name}/stats", {"stream": "false", "one-shot": "true"}))
            except Refused as refused:
                if refused.status != 404:
                    raise
                return Sample()

    def stop(self, name: ContainerName, grace_s: int) -> None:
        """See ContainerEngine."""
        with self._doing(f"stop the container {name}"), _unless(404), step("container stop"):
            self._call("POST", f"{name}/stop", {"t": grace_s}, timeout_s=docker_connection.CALL_TIMEOUT_S + grace_s)

    def remove(self, name: ContainerName) -> None:
        """See ContainerEngine."""
        with self._lock:
            self._never_started.discard(name)
        with self._doing(f"remove the container {name}"), _unless(404), step("container remove"):
            try:
                self._call("DELETE", name, {"v": "true", "force": "true"})
            except Refused as refused:
                if refused.status != 409:  # somebody else is removing it
                    raise
                self._call("POST", f"{name}/wait", {"condition": "removed"}, timeout_s=_REMOVAL_TIMEOUT_S)

    def containers(self, labels: Mapping[str, str]) -> Mapping[ContainerName, Mapping[str, str]]:
        """See ContainerEngine."""
        return {name: found["Labels"] or {} for name, found in self._listed(labels)}

    def ids(self, labels: Mapping[str, str]) -> Mapping[str, ContainerName]:
        """See ContainerEngine."""
        return {str(found["Id"]): name for name, found in self._listed(labels)}

    def _listed(self, labels: Mapping[str, str]) -> list[tuple[ContainerName, dict[str, Any]]]:
        wanted = json.dumps({"label": [f"{key}={value}" for key, value in labels.items()]})
        with self._doing("list its containers"):
            found = self._call("GET", "json", {"all": "true", "filters": wanted})
        # One that is half removed has no name any more.
        return [(ContainerName(c["Names"][0].removeprefix("/")), c) for c in found if c["Names"]]

    def _inspected(self, name: ContainerName) -> dict[str, Any]:
        inspected: dict[str, Any] = self._call("GET", f"{name}/json")
        return inspected

    def _call(
        self,
        method: str,
        what: str,
        query: Mapping[str, object] | None = None,
        body: object = None,
        *,
        timeout_s: float | None = None,
    ) -> Any:
        limit_s = docker_connection.CALL_TIMEOUT_S if timeout_s is None else timeout_s
        path = what if what.startswith("/") else f"/containers/{what}"
        return self._http.call(method, path, query, body, timeout_s=limit_s)

    @contextmanager
    def _doing(self, doing: str) -> Iterator[None]:
        """Let only errors of ours out of the body. `doing` completes "The container engine would not ..."."""
        try:
            yield
        except Refused as refused:
            raise refusal(doing, refused.words, refused.status) from refused
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise self._connection.no_answer(error) from error


@contextmanager
def _unless(status: int) -> Iterator[None]:
    """Take a refusal with this status for an answer."""
    try:
        yield
    except Refused as refused:
        if refused.status != status:
            raise
