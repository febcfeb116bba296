"""Connections to a Docker engine: one per thread, with an end to every wait, and errors in our own words."""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

import docker
import docker.auth
import docker.errors
import docker.utils
import requests
import urllib3

from dopq.container_handler.docker_faults import Faults, is_fault
from dopq.container_handler.docker_words import unreachable
from dopq.errors import DopqError, EngineUnavailable

CALL_TIMEOUT_S = 60.0  # for calls that should take a moment: a busy disk makes them slow, a hung engine endless
_CANCEL_TIMEOUT_S = 5.0
_GO_ON = "do what it was asked"


class DockerConnection:
    """Speaks to the engine at `url` for any number of threads.

    Attributes:
        faults: what became of its errors of its own, whoever met them.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self.faults = Faults()
        self._api_version: str | None = None  # agreed on by the first connection, used by the later ones
        self._local = threading.local()

    @property
    def client(self) -> Any:
        """This thread's docker-py client: its connections must not be shared."""
        if not hasattr(self._local, "client"):
            client = docker.APIClient(base_url=self.url, version=self._api_version, timeout=CALL_TIMEOUT_S)
            self._api_version = client.api_version
            self._local.client = client
        return self._local.client

    @contextmanager
    def translated(self, doing: str) -> Iterator[None]:
        """Let only errors of ours out of the body. `doing` completes "The container engine would not ..."."""
        try:
            yield
            self.faults.over(doing)
        except docker.errors.APIError as error:
            fault = is_fault(error.status_code)
            raise self.faults.error(doing, error.explanation or str(error), fault=fault) from error
        except (docker.errors.DockerException, requests.RequestException, urllib3.exceptions.HTTPError) as error:
            raise self.no_answer(error) from error
        except struct.error as error:  # docker-py: the stream ended inside a frame's header
            raise self.no_answer(error) from error

    def no_answer(self, error: Exception) -> EngineUnavailable:
        """Our error for an engine that did not answer, or broke off."""
        why, hint = unreachable(repr(error))
        return EngineUnavailable(f"The container engine at {self.url} does not answer: {why}.", hint)

    def no_build(self, response: requests.Response) -> DopqError:
        """Our error for a fault of the engine's in the place of a build."""
        return self.faults.error("build an image", _explanation(response), fault=True)

    def post(
        self,
        path: str,
        params: Mapping[str, object],
        *,
        body: Iterable[bytes] | None = None,
        headers: Mapping[str, str] | None = None,
        timeout_s: float = CALL_TIMEOUT_S,
    ) -> Messages:
        """Call what answers with a stream of JSON messages, as builds and pulls do.

        By hand, since docker-py can neither ask for BuildKit nor put an end to a pull that hangs.
        """
        with self.translated(_GO_ON):
            response = self.client.post(
                self.client._url(path),
                params=params,
                data=body,
                headers={"Content-Type": "application/x-tar", **(headers or {})},
                stream=True,
                timeout=timeout_s,
            )
            return Messages(self, response)

    def build(self, context: Iterable[bytes], params: Mapping[str, str], timeout_s: float) -> Messages:
        """Send a tar stream to be built."""
        return self.post("/build", params, body=context, timeout_s=timeout_s)

    def cancel_build(self, build_id: str) -> None:
        """Tell BuildKit to give a build up; the classic builder stops by itself when its connection breaks."""
        with suppress(EngineUnavailable), self.translated("cancel a build"):
            self.client.post(self.client._url("/build/cancel"), params={"id": build_id}, timeout=_CANCEL_TIMEOUT_S)

    def image(self, reference: str) -> Mapping[str, Any] | None:
        """All that the engine knows of a local image; None where there is none of that name."""
        with self.translated(f"look for the image {reference}"):
            try:
                return dict(self.client.inspect_image(reference))
            except docker.errors.NotFound:
                return None

    def pull(self, reference: str, timeout_s: float) -> Messages:
        """Fetch an image from its registry, with the credentials that the operator has logged in with."""
        repository, tag = docker.utils.parse_repository_tag(reference)
        registry, _ = docker.auth.resolve_repository_name(repository)
        credentials = docker.auth.get_config_header(self.client, registry)
        return self.post(
            "/images/create",
            {"fromImage": repository, "tag": tag or "latest"},
            headers={"X-Registry-Auth": credentials} if credentials else None,
            timeout_s=timeout_s,
        )


class Messages:
    """The JSON messages of one answer, as they come; a refusal is a message like `{"error": "..."}`, too."""

    def __init__(self, connection: DockerConnection, response: requests.Response) -> None:
        self._connection = connection
        self._client = connection.client
        self._response = response
        self._refused = response.status_code >= 400
        self._fault = is_fault(response.status_code) and response.url.partition("?")[0].endswith("/build")
        # Taken now: when the answer has ended there is no way to it any more.
        self._socket: Any = None if self._refused else self._client._get_raw_response_socket(response)

    def __iter__(self) -> Iterator[Mapping[str, Any]]:
        with self._connection.translated(_GO_ON):
            if self._fault:  # of a pull or an archive it may well be a judgement: registries have faults, too
                raise self._connection.no_build(self._response)
            if self._refused:
                yield {"error": _explanation(self._response)}
            else:
                yield from self._client._stream_helper(self._response, decode=True)

    def break_off(self) -> None:
        """End the stream, from any thread: whoever reads it finds it at its end or broken."""
        with suppress(OSError, AttributeError):  # it has ended meanwhile
            getattr(self._socket, "_sock", self._socket).shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Give the connection back; for the thread that reads."""
        self._response.close()


def _explanation(response: requests.Response) -> str:
    try:
        return str(response.json()["message"])
    except (ValueError, KeyError):
        return response.text.strip()
