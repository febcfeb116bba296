"""Reading BuildKit's progress messages, also those that are broken."""

from __future__ import annotations

import base64
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dopq.container_handler.buildkit_trace import Vertex, VertexLog, decode

# As an engine (20.10.24) sent them.
LOG_OF_TWO_LINES = (
    "Gl8KR3NoYTI1NjpiNTk0OTBmMWI0OWMxMGZkZTIwN2E0NWI5NjdlMTZmZGM1N2M4OGU0YjQ4OGI0NmMwNWMxN2MyMGNlNDBlMzAyEgwIvpKE2AYQhdC2"
    "vAIYAiIEdHdvChpfCkdzaGEyNTY6YjU5NDkwZjFiNDljMTBmZGUyMDdhNDViOTY3ZTE2ZmRjNTdjODhlNGI0ODhiNDZjMDVjMTdjMjBjZTQwZTMwMhIM"
    "CL6ShNgGEMa/t7wCGAEiBG9uZQo="
)
STARTED_STEP = (
    "Cn8KR3NoYTI1NjphNTcwNTRkZjZmMDllYzdmZjQwNTMzZDk1NjdlOTVhYmRmMDM3ZDc0NTk0ZGZkODc3NmJiODEwN2I5ZjM3NmZmGiZbMS8yXSBGUk9N"
    "IGRvY2tlci5pby9saWJyYXJ5L2VhLWJhc2U6MSoMCL6ShNgGELvO9fgB"
)


def varint(number: int) -> bytes:
    out = b""
    while number > 0x7F:
        out, number = out + bytes([number & 0x7F | 0x80]), number >> 7
    return out + bytes([number])


def field(number: int, value: bytes | int) -> bytes:
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    return varint(number << 3 | 2) + varint(len(value)) + value


def encode(*events: Vertex | VertexLog) -> str:
    """The reverse of `decode`, with fields in between that it does not know."""
    message = b""
    for event in events:
        if isinstance(event, Vertex):
            inner = field(1, event.digest.encode()) + field(2, b"input") + field(3, event.name.encode())
            inner += field(4, int(event.cached)) + (field(5, b"\x08\x01") if event.started else b"")
            inner += field(7, event.error.encode()) if event.error else b""
            message += field(1, inner)
        else:
            inner = field(1, event.digest.encode()) + field(2, b"") + field(3, 1) + field(4, event.text)
            message += (
                field(2, b"a status")
                + field(3, inner)
                + varint(99 << 3 | 1)
                + b"8 bytes!"
                + varint(98 << 3 | 5)
                + b"four"
            )
    return base64.b64encode(message).decode()


texts = st.text(st.characters(exclude_categories=["Cs"]))
vertexes = st.builds(Vertex, texts, texts, st.booleans(), st.booleans(), texts)
logs = st.builds(VertexLog, texts, st.binary())


def test_what_an_engine_sent_is_read() -> None:
    two, one = decode(LOG_OF_TWO_LINES)
    assert isinstance(two, VertexLog)
    assert isinstance(one, VertexLog)
    assert (two.text, one.text) == (b"two\n", b"one\n")
    assert two.digest == one.digest == "sha256:b59490f1b49c10fde207a45b967e16fdc57c88e4b488b46c05c17c20ce40e302"


def test_a_step_that_an_engine_began_is_read() -> None:
    (step,) = decode(STARTED_STEP)
    assert isinstance(step, Vertex)
    assert (step.name, step.started, step.cached, step.error) == (
        "[1/2] FROM docker.io/library/ea-base:1",
        True,
        False,
        "",
    )


@given(st.lists(vertexes), st.lists(logs))
def test_steps_and_logs_survive_the_way(steps: list[Vertex], words: list[VertexLog]) -> None:
    assert decode(encode(*steps, *words)) == [*steps, *words]


@given(st.binary())
def test_garbage_is_refused_with_one_error_or_means_nothing(garbage: bytes) -> None:
    with suppress(ValueError):
        decode(base64.b64encode(garbage).decode())


@given(st.text())
def test_what_is_not_base64_is_refused_with_the_same_error(text: str) -> None:
    with suppress(ValueError):
        decode(text)


@given(vertexes, st.data())
def test_a_message_that_is_cut_off_is_refused_or_shorter(step: Vertex, data: st.DataObject) -> None:
    whole = base64.b64decode(encode(step))
    cut = whole[: data.draw(st.integers(1, len(whole) - 1))]
    with pytest.raises(ValueError, match=r"ends inside|no end of"):
        decode(base64.b64encode(cut).decode())
