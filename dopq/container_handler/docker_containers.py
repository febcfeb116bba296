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
from dopq.container_handler.docker_connection import DockerConnection
from dopq.container_handler.docker_faults import error_of, is_fault
from dopq.container_handler.docker_http import DockerHttp, Refused
from dopq.container_handler.docker_json import (
    container_body,
    instant,
    keeps_apart,
    may_have_gone_down_with_the_engine,
    network_body,
    observation,
    resource_use,
)
from dopq.container_handler.docker_log import kept_bytes, pieces
from dopq.container_handler.engine import (
    Absent,
    ContainerName,
    ContainerRequest,
    Created,
    Exited,
    LogPiece,
    Observation,
    Origin,
)
from dopq.errors import EngineRefused, EngineUnavailable
from dopq.job import ImageId, ResourceUse
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
                if refused.status == 404 and self._has_image(request.image):
                    raise self._contradiction(request.name) from refused
                if refused.status != 409:  # the name is in use: a call before this one, or somebody else
                    raise
                self._check_ours(request)

    def _has_image(self, image: ImageId) -> bool:
        try:
            self._call("GET", f"/images/{image}/json")
        except Refused as refused:
            if refused.status != 404:
                raise
            return False
        return True

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
                try:
                    with step("container start"):
                        self._call("POST", f"{name}/start")
                except Refused as refused:
                    seen = self._after_refused_start(name, doing, refused)
            if isinstance(seen, Exited) and seen.error:
                raise error_of(doing, seen.error)

    def _after_refused_start(self, name: ContainerName, doing: str, refused: Refused) -> Observation:
        """What came of a start that the engine refused: a container that could not start says so itself.

        Raises:
            EngineUnavailable: it stands as before: the engine has said nothing of it.
            EngineRefused: nor did it for long, or there is no such container.
        """
        seen = self.observe(name)
        if refused.status == 400 or isinstance(seen, Absent):
            raise refused
        if isinstance(seen, Created):
            raise self._connection.faults.error(doing, refused.words, fault=True) from refused
        return seen

    def _is_new(self, name: ContainerName) -> bool:
        """Whether nobody can have started it; true once, since whoever asks starts it."""
        with self._lock:
            known = name in self._never_started
            self._never_started.discard(name)
            return known

    def observe(self, name: ContainerName) -> Observation:
        """See ContainerEngine."""
        with self._asking(f"tell about the container {name}"):
            try:
                seen = observation(self._inspected(name))
            except Refused as refused:
                if refused.status != 404:
                    raise
                self._make_sure_that_it_is_gone(name)
                return Absent()
            if isinstance(seen, Exited) and may_have_gone_down_with_the_engine(seen):
                since = self._up_since()
                return replace(seen, with_engine=since is not None and seen.finished_at < since)
            return seen

    def _make_sure_that_it_is_gone(self, name: ContainerName) -> None:
        """Ask in other words: a job that is taken for gone is lost, and may have been running on."""
        if name in self._listed({"name": [f"^/{name}$"]}):
            raise self._contradiction(name)

    def _contradiction(self, name: ContainerName) -> EngineUnavailable:
        return EngineUnavailable(f"The container engine contradicts itself about {name}.", "Ask again in a moment.")

    def _up_since(self) -> datetime | None:
        """When the engine began to serve: it makes its default bridge anew at each start. None where it has none.

        Asked over a connection of its own: an engine that is stopping takes no new ones, but answers on those it has
        while it ends its containers (Docker 20.10).
        """
        anew, limit_s = DockerHttp(self._connection.url), docker_connection.CALL_TIMEOUT_S
        named = {"filters": json.dumps({"name": ["^bridge$"]})}  # a list: a 404 could be any fault's
        found = anew.call("GET", "/networks", named, timeout_s=limit_s)
        return next((instant(bridge["Created"]) for bridge in found), None)

    def origin(self, name: ContainerName) -> Origin | None:
        """See ContainerEngine."""
        with self._asking(f"tell what the container {name} was made from"):
            try:
                inspected = self._inspected(name)
            except Refused as refused:
                if refused.status != 404:
                    raise
                self._make_sure_that_it_is_gone(name)
                return None
            return Origin(ImageId(inspected["Image"]), inspected["Config"]["Labels"] or {})

    def wait(self, name: ContainerName, timeout_s: float) -> Exited | Absent | None:
        """See ContainerEngine."""
        with self._asking(f"wait for the container {name}"):
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
            except TimeoutError:
                pass
            seen = self.observe(name)
            return seen if isinstance(seen, Exited | Absent) else None

    def log(self, name: ContainerName) -> Iterator[LogPiece]:
        """See ContainerEngine.

        The one call without a timeout: a job may be silent for days. An engine that ends closes the connection.
        """
        with self._asking(f"show the log of the container {name}"):
            kept = kept_bytes(self._inspected(name))
            first = newest = None
            known = 0
            for newest in pieces(self._frames(name, follow=1), kept):
                first, known = first or newest, known + 1
                yield newest
            last = next(pieces(self._frames(name, tail=1), kept), None)
            if last and (newest is None or last.at != newest.at):
                yield from self._missed(name, kept, first, known)

    def _missed(self, name: ContainerName, kept: float, first: LogPiece | None, known: int) -> Iterator[LogPiece]:
        """What following a log has left out: Docker may end it early when a process prints much and ends at once.

        Its follower waits for news of the file and of the end, and on both hears one at random (20.10.24: 8 of 60 such
        logs were short).
        """
        for number, piece in enumerate(pieces(self._frames(name), kept)):
            if first and number == 0 and piece.at != first.at:  # dropped meanwhile: nobody knows what is in between
                yield replace(piece, is_sure=False)
                return
            if number >= known:
                yield piece

    def _frames(self, name: ContainerName, **how: int) -> Iterator[bytes]:
        return self._http.frames(f"/containers/{name}/logs", {"stdout": 1, "stderr": 1, "timestamps": 1, **how})

    def use(self, name: ContainerName) -> ResourceUse:
        """See ContainerEngine."""
        with self._asking(f"measure the container {name}"):
            try:
                return resource_use(self._call("GET", f"{name}/stats", {"stream": "false", "one-shot": "true"}))
            except Refused as refused:
                if refused.status != 404:
                    raise
                return ResourceUse()

    def stop(self, name: ContainerName, grace_s: int) -> None:
        """See ContainerEngine."""
        doing, limit_s = f"stop the container {name}", docker_connection.CALL_TIMEOUT_S + grace_s
        with self._asking(doing), _unless(404), step("container stop"):
            try:
                self._call("POST", f"{name}/stop", {"t": grace_s}, timeout_s=limit_s)
            except Refused as refused:
                if refused.status != 409:  # something else is being done with it; it has to end all the same
                    raise
                raise error_of(doing, refused.words, says_nothing=True) from refused

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
        return {name: found["Labels"] or {} for name, found in self._labelled(labels).items()}

    def ids(self, labels: Mapping[str, str]) -> Mapping[str, ContainerName]:
        """See ContainerEngine."""
        return {str(found["Id"]): name for name, found in self._labelled(labels).items()}

    def _labelled(self, labels: Mapping[str, str]) -> Mapping[ContainerName, Mapping[str, Any]]:
        with self._asking("list its containers"):
            return self._listed({"label": [f"{key}={value}" for key, value in labels.items()]})

    def _listed(self, filters: Mapping[str, list[str]]) -> Mapping[ContainerName, Mapping[str, Any]]:
        found = self._call("GET", "json", {"all": "true", "filters": json.dumps(filters)})
        # One that is half removed has no name any more.
        return {ContainerName(c["Names"][0].removeprefix("/")): c for c in found if c["Names"]}

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
            self._connection.faults.over(doing)
        except Refused as refused:
            raise self._connection.faults.error(doing, refused.words, fault=is_fault(refused.status)) from refused
        except (OSError, http.client.HTTPException, ValueError, KeyError, TypeError) as error:
            raise self._connection.no_answer(error) from error

    @contextmanager
    def _asking(self, doing: str) -> Iterator[None]:
        """The same for what only looks, or has to be done in the end: of a fault nothing is concluded, ever."""
        with self._doing(doing):
            try:
                yield
            except Refused as refused:
                if is_fault(refused.status):
                    raise error_of(doing, refused.words, says_nothing=True) from refused
                raise


@contextmanager
def _unless(status: int) -> Iterator[None]:
    """Take a refusal with this status for an answer."""
    try:
        yield
    except Refused as refused:
        if refused.status != status:
            raise
