"""The calling end: one connection to one remote object, over which one thread at a time calls its methods.

What comes back is as little trusted as what comes in at a service: plain data within limits, an error of ours or a
refusal, and nothing that is called, connected to, or raised because a reply names it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dopq.errors import DopqError, InvariantBroken, ServiceUnreachable
from dopq.protocol.frames import (
    CORRELATED,
    EXCEPTION,
    HEADER_BYTES,
    BadFrame,
    Header,
    Kind,
    frame,
    read_header,
)
from dopq.protocol.plain import NotPlain, pack, unpack
from dopq.protocol.stream import Stream, StreamClosed, TooSlow, deadline
from dopq.wire import ERROR_CLASS, error_from_wire

MAX_REPLY_BYTES = 16 * 2**20
MAX_REPLY_ITEMS, MAX_REPLY_LENGTH = 1_000_000, 100_000
"""How many values there may be in a reply, and in one of its lists: enough for 10,000 jobs."""
MAX_WORDS = 500
"""How much is told of what another kind of service says."""


class CutOff(ServiceUnreachable):
    """The connection broke, or no answer came in time, after a call was sent: it may or may not have happened."""


class Refused(ServiceUnreachable):
    """Something answers there, but it does not let us in, or has no such object."""


class Channel:
    """A connection to the object of that name; the stream belongs to it from now on."""

    def __init__(self, stream: Stream, target: str, handshake: Mapping[str, object], timeout_s: float) -> None:
        """Say who we are and whom we want.

        Raises:
            Refused: there is no such object, or it does not let us in; says what the other end said.
            ServiceUnreachable: no answer within `timeout_s`, or none that can be understood.
        """
        self._stream = stream
        self._target = target
        self._seq = 0
        head, answer = self._exchange(
            Kind.CONNECT, {"handshake": dict(handshake), "object": target}, deadline(timeout_s)
        )
        if head.kind is not Kind.CONNECT_OK:
            self.close()
            raise Refused(f"The service does not let us in: {str(answer)[:MAX_WORDS]}.")

    def call(self, method: str, arguments: list[object], named: Mapping[str, object], timeout_s: float) -> Any:
        """Call a method and return its answer, plain data.

        Raises:
            CutOff: no answer came within `timeout_s`. The channel is closed.
            DopqError: what the method raised.
        """
        head, answer = self._exchange(Kind.INVOKE, [self._target, method, arguments, dict(named)], deadline(timeout_s))
        if head.flags & EXCEPTION:
            raise _error(answer)
        return answer

    def __del__(self) -> None:
        """Hang up: a thread that ended has let go of its connection without a word."""
        if stream := getattr(self, "_stream", None):
            stream.close()

    def close(self) -> None:
        """Hang up."""
        self._stream.cut()
        self._stream.close()

    def _exchange(self, kind: Kind, message: object, until: float) -> tuple[Header, Any]:
        self._seq = (self._seq + 1) & 0xFFFF
        try:
            data = pack(message)
        except NotPlain as error:
            raise InvariantBroken(f"A call {error}.") from error
        expected = {Kind.CONNECT: {Kind.CONNECT_OK, Kind.CONNECT_FAIL}, Kind.INVOKE: {Kind.RESULT}}[kind]
        try:
            self._stream.write(frame(kind, self._seq, data), until)
            head = read_header(
                self._stream.read(HEADER_BYTES, until), expected, EXCEPTION | CORRELATED, MAX_REPLY_BYTES
            )
            _require_answer(head, self._seq)
            body = self._stream.read(head.body_bytes, until)
            return head, unpack(memoryview(body)[head.annotations_bytes :], MAX_REPLY_ITEMS, MAX_REPLY_LENGTH)
        except (StreamClosed, TooSlow, BadFrame, NotPlain) as error:
            self.close()
            raise CutOff(f"The service gave no answer that can be used: {error}.") from error


def _require_answer(head: Header, seq: int) -> None:
    if head.seq != seq:
        raise BadFrame("the answer is to another question")


def _error(answer: object) -> DopqError:
    """The error in an answer. Whatever class it names, it becomes one of ours."""
    if isinstance(answer, dict) and answer.get("__class__") == ERROR_CLASS:
        return error_from_wire(answer)
    return DopqError(f"The service answered with an error of its own: {_words(answer)}.")


def _words(answer: object) -> str:
    match answer:
        case {"__class__": str(name), "args": [str(sentence), *_]}:
            return f"{name}: {sentence}"[:MAX_WORDS]
        case _:
            return str(answer)[:MAX_WORDS]
