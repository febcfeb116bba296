"""The container engine port on a real Docker engine, 20.10 or later, through docker-py's low-level client.

Nothing of docker-py or of the HTTP libraries below it gets past this file and docker_connection.py, neither objects
nor exceptions. Docker's event stream is not used: it replays a few hundred entries at most, so what counts is asked.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Mapping
from contextlib import closing, suppress
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

import docker
import docker.errors
import docker.utils
import requests

from dopq.container_handler.docker_build import ImageBuild, Limit, build_params
from dopq.container_handler.docker_connection import DockerConnection, Messages
from dopq.container_handler.docker_containers import DockerContainers
from dopq.container_handler.docker_faults import error_of
from dopq.container_handler.engine import Capacity
from dopq.container_handler.image_name import BaseImage
from dopq.errors import EngineUnavailable
from dopq.job import ImageId

STANDARD_SOCKET = "unix:///var/run/docker.sock"

_PING_TIMEOUT_S = 3.0
_IMPORT_TIMEOUT_S = 600.0
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


class DockerEngine(DockerContainers):
    """A Docker engine as `ContainerEngine`; may be shared between threads.

    Args:
        base_url: where the engine listens, `unix:///...` or `tcp://host:port`; None is Docker's standard socket.
            The environment is not looked at; `find_engine` does that.
    """

    def __init__(self, base_url: str | None = None) -> None:
        super().__init__(DockerConnection(base_url or STANDARD_SOCKET))

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


def _loaded(stream: Messages) -> ImageId:
    for message in stream:
        match message:
            case {"stream": str(text)} if text.startswith(_LOADED):
                return ImageId(text.removeprefix(_LOADED).strip())
            case {"error": str(words)}:
                raise error_of("load an image", words)
    raise error_of("load an image", "there is none in the archive")


def _imported(stream: Messages, doing: str) -> ImageId:
    for message in stream:
        match message:
            case {"status": str(image)} if image.startswith("sha256:"):
                return ImageId(image)
            case {"error": str(words)}:
                raise error_of(doing, words)
    raise EngineUnavailable("The container engine broke off the import without a word.", "Import again.")
