"""Frames: what Pyro5's wire protocol puts before and around a payload. Pure.

A frame is a header of 40 bytes, annotations that nobody here reads, and a payload. The numbers are those of Pyro5 5.17
(`Pyro5/protocol.py`); a test holds them against the installed Pyro5.
"""

from __future__ import annotations

import struct
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from enum import IntEnum

_HEADER = struct.Struct("!4sHBBHHII16sHH")
HEADER_BYTES = _HEADER.size
TAG, VERSION, MAGIC = b"PYRO", 502, 0x4DC5
MSGPACK = 4
"""The serializer's number. The others are refused unread: one of them can end a process."""

EXCEPTION = 1 << 0
CORRELATED = 1 << 6
"""The only flag that a request may carry; compressed, one-way, batch, streamed and kept-serialized ones are refused."""

NO_CORRELATION = b"\0" * 16


class Kind(IntEnum):
    """What a frame is for."""

    CONNECT = 1
    CONNECT_OK = 2
    CONNECT_FAIL = 3
    INVOKE = 4
    RESULT = 5
    PING = 6


class BadFrame(Exception):
    """The other end does not speak as it should; says how. The connection is of no use any more.

    `seq` is the frame's number, for an answer, where at least that can be known.
    """

    def __init__(self, what: str, seq: int | None = None) -> None:
        super().__init__(what)
        self.seq = seq


@dataclass(frozen=True, slots=True)
class Header:
    """The head of a frame whose body, annotations and payload, is still to be read."""

    kind: Kind
    flags: int
    seq: int
    payload_bytes: int
    annotations_bytes: int
    correlation: bytes

    @property
    def body_bytes(self) -> int:
        """How much follows the header."""
        return self.annotations_bytes + self.payload_bytes


def read_header(data: bytes, kinds: AbstractSet[Kind], flags: int, max_bytes: int) -> Header:
    """The header in these 40 bytes.

    Args:
        kinds: those that may come now.
        flags: those that may be set.
        max_bytes: how large the body may be.

    Raises:
        BadFrame: it is none, or not one that may come now.
    """
    tag, version, kind, serializer, set_flags, seq, payload, annotations, correlation, _, magic = _HEADER.unpack(data)
    if tag != TAG or magic != MAGIC:
        raise BadFrame("that is not Pyro5's protocol")
    if version != VERSION:
        raise BadFrame(f"protocol version {version} is not served, only {VERSION}")
    if kind not in kinds:
        raise BadFrame(f"a message of type {kind} cannot come now", seq)
    if serializer != MSGPACK and kind != Kind.PING:  # a ping has no payload that anybody would read
        raise BadFrame(f"serializer {serializer} is not served, only msgpack ({MSGPACK})", seq)
    if set_flags & ~flags:
        raise BadFrame(
            f"flags {set_flags & ~flags:#x} are not served: no compressed, one-way, batch or streamed calls", seq
        )
    if annotations + payload > max_bytes:
        raise BadFrame(f"a message of {annotations + payload} bytes is too large, {max_bytes} are taken", seq)
    return Header(Kind(kind), set_flags, seq, payload, annotations, correlation)


def frame(kind: Kind, seq: int, payload: bytes, *, flags: int = 0, correlation: bytes = NO_CORRELATION) -> bytes:
    """A whole frame without annotations."""
    head = _HEADER.pack(TAG, VERSION, kind, MSGPACK, flags, seq, len(payload), 0, correlation, 0, MAGIC)
    return head + payload


def answer(to: Header, kind: Kind, payload: bytes, *, flags: int = 0) -> bytes:
    """The frame that answers another one."""
    return frame(kind, to.seq, payload, flags=flags | (to.flags & CORRELATED), correlation=to.correlation)
