"""What people read of a build, and what its failure says."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from dopq.container_handler.build_log import BuildLog
from dopq.container_handler.buildkit_trace import Vertex, VertexLog
from dopq.errors import BuildFailed, EngineRefused, EngineUnavailable
from tests.unit.test_buildkit_trace import encode


def trace(*events: Vertex | VertexLog) -> dict[str, Any]:
    return {"id": "moby.buildkit.trace", "aux": encode(*events)}


def step(digest: str, name: str, *, started: bool = True, cached: bool = False, error: str = "") -> Vertex:
    return Vertex(digest, name, started, cached, error)


def told(build: BuildLog, *messages: dict[str, Any]) -> str:
    return b"".join(build.add(message) for message in messages).decode()


def test_steps_that_run_side_by_side_are_told_apart() -> None:
    text = told(
        BuildLog(),
        trace(step("a", "[a 1/1] RUN one", started=False)),
        trace(step("a", "[a 1/1] RUN one")),
        trace(step("b", "[b 1/1] RUN two")),
        trace(VertexLog("a", b"from one\n"), VertexLog("b", b"from two\n"), VertexLog("b", b"again\n")),
    )
    assert text.splitlines() == [
        "=> [a 1/1] RUN one",
        "=> [b 1/1] RUN two",
        "=> [a 1/1] RUN one",
        "from one",
        "=> [b 1/1] RUN two",
        "from two",
        "again",
    ]


def test_a_step_from_the_cache_is_marked_and_told_once() -> None:
    cached = trace(step("a", "[2/2] RUN pip install", cached=True))
    assert told(BuildLog(), cached, cached) == "=> [2/2] RUN pip install CACHED\n"


def test_the_image_is_taken_from_either_builder() -> None:
    for message in ({"id": "moby.image.id", "aux": {"ID": "sha256:1"}}, {"aux": {"ID": "sha256:1"}}):
        build = BuildLog()
        assert told(build, message) == ""
        assert build.image == "sha256:1"


def test_a_failed_step_is_named_with_its_exit_code_and_its_last_words() -> None:
    build = BuildLog()
    words = "executor failed running [/bin/sh -c pip install foo]: exit code: 1"
    told(
        build,
        trace(step("a", "[2/3] RUN pip install foo")),
        trace(VertexLog("a", b"looking\nNo matching distribution\n\n")),
        trace(step("a", "[2/3] RUN pip install foo", error=words)),
        {"error": words},
    )
    failure = build.failure()
    assert isinstance(failure, BuildFailed)
    assert failure.message == (
        'The build step "[2/3] RUN pip install foo" failed with exit code 1. Its last words: "No matching distribution".'
    )
    assert failure.details["last_lines"] == ["looking", "No matching distribution"]


def test_the_classic_builder_fails_in_the_same_words_and_without_colours() -> None:
    build = BuildLog()
    text = told(
        build,
        {"stream": "Step 2/2 : RUN pip install foo"},
        {"stream": "\n"},
        {"stream": " ---> Running in cd5bc833ac31\n"},
        {"stream": "\x1b[91mNo matching distribution\n\x1b[0m"},
        {"stream": "Removing intermediate container cd5bc833ac31\n"},
        {"error": "The command '/bin/sh -c pip install foo' returned a non-zero code: 1"},
    )
    assert "\x1b" not in text
    assert build.failure().message == (
        'The build step "[2/2] RUN pip install foo" failed with exit code 1. Its last words: "No matching distribution".'
    )


def test_a_dockerfile_that_cannot_be_read_is_told_without_the_builders_wrapping() -> None:
    build = BuildLog()
    wrapped = "failed to solve with frontend dockerfile.v0: failed to create LLB definition: unknown instruction: FORM"
    told(build, {"error": wrapped})
    assert build.failure().message == "The image could not be built: unknown instruction: FORM."


def test_a_missing_base_image_is_named() -> None:
    build = BuildLog()
    name = "[internal] load metadata for docker.io/library/python:9"
    told(build, trace(step("a", name)), trace(step("a", name, error="not found")), {"error": "not found"})
    assert "docker.io/library/python:9" in build.failure().message


@pytest.mark.parametrize(
    ("name", "reference"),
    [
        ("[internal] load metadata for docker.io/library/python:3.11", "docker.io/library/python:3.11"),
        ("resolve image config for docker.io/docker/dockerfile:1", "docker.io/docker/dockerfile:1"),
        ("resolve image config for docker-image://docker.io/docker/dockerfile:1", "docker.io/docker/dockerfile:1"),
    ],
)
def test_a_base_image_that_buildkit_may_not_ask_for_is_to_be_pulled(name: str, reference: str) -> None:
    build = BuildLog()
    text = told(
        build,
        trace(step("a", name)),
        trace(step("a", name, error="no active sessions")),
        {"error": "no active sessions"},
    )
    assert "ERROR" not in text  # it is about to be mended
    assert build.unpulled == [reference]


def test_a_full_disk_is_the_operators_to_clear() -> None:
    build = BuildLog()
    told(build, {"error": "write /app: no space left on device"})
    assert isinstance(build.failure(), EngineRefused)


def test_a_build_that_ends_without_a_word_is_to_be_repeated() -> None:
    assert isinstance(BuildLog().failure(), EngineUnavailable)


def test_progress_that_cannot_be_read_is_passed_over_with_one_warning(caplog: pytest.LogCaptureFixture) -> None:
    build, unreadable = BuildLog(), {"id": "moby.buildkit.trace", "aux": "AAAA"}
    with caplog.at_level(logging.WARNING):
        assert told(build, unreadable, unreadable, {"aux": {"ID": "sha256:1"}}, {"id": "new", "aux": 7}, {}) == ""
    assert build.image == "sha256:1"
    assert len(caplog.records) == 1
