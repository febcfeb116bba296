"""The container engine port on a real Docker engine, 20.10 or later, through docker-py's low-level client.

Nothing of docker-py or of the HTTP libraries below it gets past this file and docker_connection.py, neither objects
nor exceptions. Docker's event stream is not used: it replays a few hundred entries at most, so what counts is asked.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import closing, suppress
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

import docker
import docker.errors
import docker.utils
import requests
import urllib3

from dopq.container_handler.docker_build import ImageBuild, Limit, build_params
from dopq.container_handler.docker_connection import DockerConnection, Messages, refusal
from dopq.container_handler.docker_json import container_body, observation, resource_use
from dopq.container_handler.engine import (
    Absent,
    Capacity,
    ContainerName,
    ContainerRequest,
    Created,
    Exited,
    Observation,
)
from dopq.container_handler.image_name import BaseImage
from dopq.errors import EngineRefused, EngineUnavailable
from dopq.job import ImageId, ResourceUse

STANDARD_SOCKET = "unix:///var/run/docker.sock"

_PING_TIMEOUT_S = 3.0
_IMPORT_TIMEOUT_S = 600.0
_REMOVAL_TIMEOUT_S = 30.0
_PIECE_BYTES = 1 << 18
_LOADED = "Loaded image ID: "  # what the engine says of an image without a name


def find_engine(environment: Mapping[str, str]) -> str | None:
    """Address of a Docker engine that answers, or None.

    DOCKER_HOST decides when `environment` has it; else the standard socket is tried, then the rootless one
    (https://docs.docker.com/engine/security/rootless/). Podman is passed over: it answers there, but builds otherwise.
    """
    candidates = [STANDARD_SOCKET]
    if runtime_dir := environment.get("XDG_RUNTIME_DIR"):
        candidates.append(f"unix://{runtime_dir}/docker.sock")
    if chosen := environment.get("DOCKER_HOST"):
        candidates = [chosen]
    return next((url for url in candidates if _answers(url)), None)


def _answers(url: str) -> bool:
    with suppress(docker.errors.DockerException, requests.RequestException):
        client = docker.APIClient(base_url=url, timeout=_PING_TIMEOUT_S)
        with closing(client):
            return _is_docker(client.version())
    return False


def _is_docker(version: Mapping[str, Any]) -> bool:
    return any(part["Name"] == "Engine" for part in version.get("Components") or [])


def _has_buildkit(version: Mapping[str, Any]) -> bool:
    """Every Docker engine on Linux has it since API 1.39; the ping's `Builder-Version` says only which is preferred."""
    api = tuple(int(part) for part in version["ApiVersion"].split("."))
    return _is_docker(version) and version["Os"] == "linux" and api >= (1, 39)


class DockerEngine:
    """A Docker engine as `ContainerEngine`; may be shared between threads.

    Args:
        base_url: where the engine listens, `unix:///...` or `tcp://host:port`; None is Docker's standard socket.
            The environment is not looked at; `find_engine` does that.
    """

    def __init__(self, base_url: str | None = None) -> None:
        self._connection = DockerConnection(base_url or STANDARD_SOCKET)
        self._translated = self._connection.translated

    @property
    def _client(self) -> Any:
        return self._connection.client

    def capacity(self) -> Capacity:
        """See ContainerEngine."""
        with self._translated("say what it has"):
            version, info = self._client.version(), self._client.info()
        root = Path(info["DockerRootDir"])
        return Capacity(version["Version"], info["NCPU"], info["MemTotal"], _has_buildkit(version), root)

    # --- images ------------------------------------------------------------------------------------------------------

    def image(self, reference: str) -> ImageId | None:
        """See ContainerEngine."""
        with self._translated(f"look for the image {reference}"):
            try:
                return ImageId(self._client.inspect_image(reference)["Id"])
            except docker.errors.NotFound:
                return None

    def image_bytes(self, image: ImageId) -> int | None:
        """See ContainerEngine."""
        with self._translated(f"measure the image {image}"):
            try:
                return int(self._client.inspect_image(image)["Size"])
            except docker.errors.NotFound:
                return None

    def tag(self, image: ImageId, reference: str) -> bool:
        """See ContainerEngine."""
        repository, tag = docker.utils.parse_repository_tag(reference)
        with self._translated(f"tag the image {image} as {reference}"):
            try:
                return bool(self._client.tag(image, repository, tag))
            except docker.errors.NotFound:
                return False

    def build(
        self,
        context: BinaryIO,
        *,
        tag: str,
        labels: Mapping[str, str],
        log: Callable[[bytes], object],
        cancelled: threading.Event,
        timeout_s: float,
        memory_bytes: int | None = None,
        bases: Collection[BaseImage] = (),
    ) -> ImageId:
        """See ContainerEngine."""
        limit = Limit(cancelled, timeout_s)
        with self._translated("build an image"):
            buildkit = memory_bytes is None and _has_buildkit(self._client.version())
        params = build_params(tag, labels, buildkit=buildkit, memory_bytes=memory_bytes)
        return ImageBuild(self._connection, context, params, log, limit, bases).run()

    def import_image(self, root: BinaryIO, *, reference: str, changes: tuple[str, ...] = ()) -> ImageId:
        """See ContainerEngine."""
        repository, tag = docker.utils.parse_repository_tag(reference)
        params = {"fromSrc": "-", "repo": repository, "tag": tag or "latest", "changes": list(changes)}
        pieces = iter(partial(root.read, _PIECE_BYTES), b"")
        with closing(
            self._connection.post("/images/create", params, body=pieces, timeout_s=_IMPORT_TIMEOUT_S)
        ) as answer:
            return _imported(answer, f"import the image {reference}")

    def load(self, archive: BinaryIO, *, tag: str) -> ImageId:
        """See ContainerEngine."""
        pieces = iter(partial(archive.read, _PIECE_BYTES), b"")
        with closing(
            self._connection.post("/images/load", {"quiet": "1"}, body=pieces, timeout_s=_IMPORT_TIMEOUT_S)
        ) as answer:
            image = _loaded(answer)
        if not self.tag(image, tag):
            raise EngineUnavailable("The image went as soon as it was loaded.", "Load it again.")
        return image

    def remove_image(self, reference: str) -> None:
        """See ContainerEngine."""
        with self._translated(f"remove the image {reference}"), suppress(docker.errors.NotFound):
            self._client.remove_image(reference)

    # --- containers --------------------------------------------------------------------------------------------------

    def create(self, request: ContainerRequest) -> None:
        """See ContainerEngine."""
        with self._translated(f"create the container {request.name}"):
            try:
                self._client.create_container_from_config(container_body(request), request.name)
            except docker.errors.APIError as error:
                if error.status_code != 409:  # the name is in use: a call before this one, or somebody else
                    raise
                self._check_ours(request)

    def _check_ours(self, request: ContainerRequest) -> None:
        try:
            labels = self._client.inspect_container(request.name)["Config"]["Labels"] or {}
        except docker.errors.NotFound as error:
            raise EngineUnavailable(f"The container {request.name} is just being removed.", "Ask again.") from error
        if not request.labels.items() <= labels.items():
            raise EngineRefused(
                f"The name {request.name} is in use by a container that is not this node's.",
                f"Remove it if nobody needs it: `docker rm {request.name}`.",
            )

    def start(self, name: ContainerName) -> None:
        """See ContainerEngine.

        Docker would run an exited container a second time, so its state is looked at first: one owner per name, the
        node, keeps two starts from racing. With an init in the container a missing command is no error here: the
        init ends with 127 and says so in the log.
        """
        doing = f"start the container {name}"
        with self._translated(doing):
            seen = self.observe(name)
            if isinstance(seen, Created | Absent):  # Absent: let the engine say so
                self._client.start(name)
            elif isinstance(seen, Exited) and seen.error:
                raise refusal(doing, seen.error)

    def observe(self, name: ContainerName) -> Observation:
        """See ContainerEngine."""
        with self._translated(f"tell about the container {name}"):
            try:
                return observation(self._client.inspect_container(name))
            except docker.errors.NotFound:
                return Absent()

    def wait(self, name: ContainerName, timeout_s: float) -> Exited | Absent | None:
        """See ContainerEngine."""
        with self._translated(f"wait for the container {name}"):
            # Docker counts a container that was never started as one that does not run.
            condition = "next-exit" if isinstance(self.observe(name), Created) else "not-running"
            try:
                self._client.wait(name, timeout=max(timeout_s, 0.001), condition=condition)
            except docker.errors.NotFound:
                return Absent()
            except requests.RequestException as error:
                if not _is_read_timeout(error):
                    raise
            seen = self.observe(name)
            return seen if isinstance(seen, Exited | Absent) else None

    def log(self, name: ContainerName) -> Iterator[bytes]:
        """See ContainerEngine.

        The one call without a timeout: a job may be silent for days. An engine that ends closes the connection.
        """
        params = {"follow": 1, "stdout": 1, "stderr": 1}
        with self._translated(f"show the log of the container {name}"):
            client = self._client
            # Not docker-py's logs(): it takes a broken connection for the end.
            url = client._url("/containers/{0}/logs", name)
            with closing(client._get(url, params=params, stream=True)) as response:
                client._raise_for_status(response)
                yield from client._multiplexed_response_stream_helper(response)

    def use(self, name: ContainerName) -> ResourceUse:
        """See ContainerEngine."""
        with self._translated(f"measure the container {name}"):
            try:
                return resource_use(self._client.stats(name, stream=False, one_shot=True))
            except docker.errors.NotFound:
                return ResourceUse()

    def stop(self, name: ContainerName, grace_s: int) -> None:
        """See ContainerEngine."""
        with self._translated(f"stop the container {name}"), suppress(docker.errors.NotFound):
            self._client.stop(name, timeout=grace_s)

    def remove(self, name: ContainerName) -> None:
        """See ContainerEngine."""
        with self._translated(f"remove the container {name}"), suppress(docker.errors.NotFound):
            try:
                self._client.remove_container(name, v=True, force=True)
            except docker.errors.APIError as error:
                if error.status_code != 409:  # somebody else is removing it
                    raise
                self._client.wait(name, timeout=_REMOVAL_TIMEOUT_S, condition="removed")

    def containers(self, labels: Mapping[str, str]) -> Mapping[ContainerName, Mapping[str, str]]:
        """See ContainerEngine."""
        wanted = {"label": [f"{key}={value}" for key, value in labels.items()]}
        with self._translated("list its containers"):
            found = self._client.containers(all=True, filters=wanted)
        # One that is half removed has no name any more.
        return {ContainerName(c["Names"][0].removeprefix("/")): c["Labels"] or {} for c in found if c["Names"]}

    def ids(self, labels: Mapping[str, str]) -> Mapping[str, ContainerName]:
        """See ContainerEngine."""
        wanted = {"label": [f"{key}={value}" for key, value in labels.items()]}
        with self._translated("list its containers"):
            found = self._client.containers(all=True, filters=wanted)
        return {str(c["Id"]): ContainerName(c["Names"][0].removeprefix("/")) for c in found if c["Names"]}


def _loaded(stream: Messages) -> ImageId:
    for message in stream:
        match message:
            case {"stream": str(text)} if text.startswith(_LOADED):
                return ImageId(text.removeprefix(_LOADED).strip())
            case {"error": str(words)}:
                raise refusal("load an image", words)
    raise refusal("load an image", "there is none in the archive")


def _imported(stream: Messages, doing: str) -> ImageId:
    for message in stream:
        match message:
            case {"status": str(image)} if image.startswith("sha256:"):
                return ImageId(image)
            case {"error": str(words)}:
                raise refusal(doing, words)
    raise EngineUnavailable("The container engine broke off the import without a word.", "Import again.")


def _is_read_timeout(error: requests.RequestException) -> bool:
    """Whether time ran out while waiting for an answer, which requests tells in two ways (before or in the body)."""
    inner = error.args[0] if error.args else None
    return isinstance(error, requests.ReadTimeout) or isinstance(inner, urllib3.exceptions.ReadTimeoutError)
