"""Reading BuildKit's progress, which `POST /build?version=2` sends as `{"id": "moby.buildkit.trace", "aux": "..."}`.

Each `aux` is base64 of one protocol buffer, `moby.buildkit.v1.StatusResponse` (moby/buildkit, control.proto). A few of
its fields say all that a build log needs, so they are read by hand instead of through a generated module.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator
from dataclasses import dataclass

# Field numbers of control.proto.
_STATUS_VERTEXES, _STATUS_LOGS = 1, 3
_VERTEX_DIGEST, _VERTEX_NAME, _VERTEX_CACHED, _VERTEX_STARTED, _VERTEX_ERROR = 1, 3, 4, 5, 7
_LOG_VERTEX, _LOG_MESSAGE = 1, 4

# Wire types: https://protobuf.dev/programming-guides/encoding/
_VARINT, _FIXED_64, _LENGTH_DELIMITED, _FIXED_32 = 0, 1, 2, 5
_VARINT_MAX_BYTES = 10


@dataclass(frozen=True, slots=True)
class Vertex:
    """One step of the build as it stands now; told anew at each change."""

    digest: str
    name: str
    started: bool
    cached: bool
    error: str


@dataclass(frozen=True, slots=True)
class VertexLog:
    """A piece of what a step wrote; not cut at line ends."""

    digest: str
    text: bytes


def decode(aux: str) -> list[Vertex | VertexLog]:
    """The steps and then the log pieces of one trace, in the order of the trace.

    Raises:
        ValueError: not base64, or not the message that we know.
    """
    status = _message(base64.b64decode(aux, validate=True))
    vertexes = [_vertex(_message(_bytes(v))) for v in status.get(_STATUS_VERTEXES, [])]
    logs = [_log(_message(_bytes(v))) for v in status.get(_STATUS_LOGS, [])]
    return [*vertexes, *logs]


_Value = int | bytes
_Fields = dict[int, list[_Value]]  # a field may be repeated; of a single one the last counts


def _vertex(fields: _Fields) -> Vertex:
    return Vertex(
        digest=_text(fields, _VERTEX_DIGEST),
        name=_text(fields, _VERTEX_NAME),
        started=_VERTEX_STARTED in fields,
        cached=fields.get(_VERTEX_CACHED, [0])[-1] == 1,
        error=_text(fields, _VERTEX_ERROR),
    )


def _log(fields: _Fields) -> VertexLog:
    return VertexLog(_text(fields, _LOG_VERTEX), _bytes(fields.get(_LOG_MESSAGE, [b""])[-1]))


def _text(fields: _Fields, number: int) -> str:
    return _bytes(fields.get(number, [b""])[-1]).decode(errors="replace")


def _bytes(value: _Value) -> bytes:
    if isinstance(value, int):
        raise ValueError("a number where bytes belong")  # noqa: TRY004 - callers expect one error for all bad input
    return value


def _message(data: bytes) -> _Fields:
    fields: _Fields = {}
    for number, value in _pairs(data):
        fields.setdefault(number, []).append(value)
    return fields


def _pairs(data: bytes) -> Iterator[tuple[int, _Value]]:
    at = 0
    while at < len(data):
        key, at = _varint(data, at)
        value: _Value
        match key & 7:
            case wire_type if wire_type == _VARINT:
                value, at = _varint(data, at)
            case wire_type if wire_type == _LENGTH_DELIMITED:
                size, at = _varint(data, at)
                value, at = _slice(data, at, size)
            case wire_type if wire_type == _FIXED_64:
                value, at = _slice(data, at, 8)
            case wire_type if wire_type == _FIXED_32:
                value, at = _slice(data, at, 4)
            case wire_type:
                raise ValueError(f"wire type {wire_type} at byte {at}")
        yield key >> 3, value


def _slice(data: bytes, at: int, size: int) -> tuple[bytes, int]:
    if at + size > len(data):
        raise ValueError(f"ends inside a field of {size} bytes")
    return data[at : at + size], at + size


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """The number that begins at byte `at`, seven bits a byte and lowest first, and where the next thing begins."""
    number = 0
    for position, byte in enumerate(data[at : at + _VARINT_MAX_BYTES]):
        number |= (byte & 0x7F) << (7 * position)
        if byte < 0x80:
            return number, at + position + 1
    raise ValueError(f"no end of the number at byte {at}")
