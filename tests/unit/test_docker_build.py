"""One build, against an engine that says what the test lets it say."""

from __future__ import annotations

import io
import threading
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest

from dopq.container_handler.buildkit_trace import Vertex
from dopq.container_handler.docker_build import ImageBuild, Limit, base_refusal
from dopq.container_handler.image_name import BaseImage
from dopq.errors import BuildFailed, EngineUnavailable
from tests.unit.test_buildkit_trace import encode

CONTEXT = b"the tar stream"
IMAGE = {"aux": {"ID": "sha256:1"}}
Message = Mapping[str, Any]


class Said:
    """A stream of messages that ends; `broken` runs while it is read."""

    def __init__(self, *messages: Message, broken: Callable[[], None] = lambda: None) -> None:
        self.messages, self.broken = messages, broken

    def __iter__(self) -> Iterator[Message]:
        yield from self.messages
        self.broken()

    def break_off(self) -> None: ...
    def close(self) -> None: ...


class ScriptedCalls:
    """Answers builds and pulls from a script, and keeps what was asked."""

    def __init__(self, builds: list[Said], pulls: dict[str, Said] | None = None) -> None:
        self.builds, self.pulls = builds, pulls or {}
        self.contexts: list[bytes] = []
        self.pulled: list[str] = []
        self.cancelled = 0
        self.images: dict[str, Message] = {}

    def image(self, reference: str) -> Message | None:
        return self.images.get(reference) if reference in self.pulled else None

    def build(self, context: Iterator[bytes], params: Mapping[str, str], timeout_s: float) -> Said:
        self.contexts.append(b"".join(context))
        return self.builds.pop(0)

    def cancel_build(self, build_id: str) -> None:
        self.cancelled += 1

    def pull(self, reference: str, timeout_s: float) -> Said:
        self.pulled.append(reference)
        return self.pulls[reference]


def run(calls: ScriptedCalls, limit: Limit | None = None, log: Callable[[bytes], object] = lambda _: None) -> str:
    limit = limit or Limit(threading.Event(), timeout_s=30)
    return ImageBuild(calls, io.BytesIO(CONTEXT), {}, log, limit).run()


def not_allowed(reference: str) -> Said:
    """What BuildKit says when a registry wants a token and nobody is there to get one."""
    vertex = Vertex("a", f"[internal] load metadata for {reference}", True, False, "no active sessions")
    return Said({"id": "moby.buildkit.trace", "aux": encode(vertex)}, {"error": "no active sessions"})


def test_the_image_comes_back() -> None:
    assert run(ScriptedCalls([Said(IMAGE)])) == "sha256:1"


def test_base_images_that_buildkit_may_not_fetch_are_pulled_and_the_whole_context_is_sent_again() -> None:
    calls = ScriptedCalls(
        [not_allowed("a:1"), not_allowed("b:1"), Said(IMAGE)],
        {"a:1": Said({"status": "Pull complete"}), "b:1": Said()},
    )
    said: list[bytes] = []
    assert run(calls, log=said.append) == "sha256:1"
    assert calls.pulled == ["a:1", "b:1"]
    assert calls.contexts == [CONTEXT] * 3
    assert b"=> pulling a:1\n" in said


def test_an_image_that_was_pulled_in_vain_is_not_pulled_again() -> None:
    calls = ScriptedCalls([not_allowed("a:1"), not_allowed("a:1")], {"a:1": Said()})
    with pytest.raises(BuildFailed, match="no active sessions"):
        run(calls)
    assert calls.pulled == ["a:1"]


def test_a_base_image_that_cannot_be_pulled_fails_the_build() -> None:
    calls = ScriptedCalls([not_allowed("a:1")], {"a:1": Said({"error": "manifest unknown"})})
    with pytest.raises(BuildFailed, match=r"base image a:1 .* manifest unknown"):
        run(calls)


def test_a_connection_that_breaks_is_no_failure_of_the_build() -> None:
    def broken() -> None:
        raise EngineUnavailable("The connection broke.")

    with pytest.raises(EngineUnavailable):
        run(ScriptedCalls([Said(broken=broken)]))


def test_a_connection_that_we_broke_ourselves_is_a_cancelled_build() -> None:
    cancelled = threading.Event()

    def broken() -> None:
        cancelled.set()
        raise EngineUnavailable("The connection broke.")

    with pytest.raises(BuildFailed, match="cancelled") as failed:
        run(ScriptedCalls([Said(broken=broken)]), Limit(cancelled, timeout_s=30))
    assert failed.value.details == {"cancelled": True}


def test_the_upload_of_a_cancelled_build_stops() -> None:
    cancelled = threading.Event()
    cancelled.set()
    calls = ScriptedCalls([Said(IMAGE)])
    with pytest.raises(BuildFailed, match="cancelled"):
        run(calls, Limit(cancelled, timeout_s=30))
    assert calls.contexts == []


PLAIN = {"Os": "linux", "Architecture": "amd64", "Config": None}


def test_base_images_that_are_missing_are_pulled_before_anything_is_built() -> None:
    calls = ScriptedCalls([Said(IMAGE)], pulls={"python:3": Said({"status": "Pulled"})})
    calls.images["python:3"] = PLAIN
    build = ImageBuild(
        calls, io.BytesIO(CONTEXT), {}, lambda _: None, Limit(threading.Event(), 30), {BaseImage("python:3")}
    )
    build.run()
    assert calls.pulled == ["python:3"]
    assert len(calls.contexts) == 1


def test_a_base_image_that_brings_instructions_is_looked_at_and_nothing_is_built() -> None:
    calls = ScriptedCalls([], pulls={"python:3": Said()})
    calls.images["python:3"] = {**PLAIN, "Config": {"OnBuild": ["COPY --from=dopq/alice/1 / /"]}}
    build = ImageBuild(
        calls, io.BytesIO(CONTEXT), {}, lambda _: None, Limit(threading.Event(), 30), {BaseImage("python:3")}
    )
    with pytest.raises(BuildFailed, match="ONBUILD COPY --from=dopq/alice/1"):
        build.run()
    assert not calls.contexts


@pytest.mark.parametrize(
    ("asked", "fine"),
    [("", True), ("linux/amd64", True), ("linux/amd64/v2", True), ("linux/arm64", False), ("linux/amd64x", False)],
)
def test_a_base_image_serves_the_platform_that_it_is_for(asked: str, fine: bool) -> None:
    assert (base_refusal(BaseImage("python", asked), PLAIN) is None) == fine
