"""One connection, from its handshake to its end, in a thread of its own.

Every wait has a total deadline. What is no call, in the form that is served, ends the connection after a word why.
"""

from __future__ import annotations

import threading
from typing import Any

from dopq.boundary.doors import Door, Evidence
from dopq.boundary.guard import Guard, Visit
from dopq.boundary.places import Places
from dopq.boundary.rates import LONGEST_WAIT_S
from dopq.errors import DopqError, SlowDown, UserError
from dopq.protocol.frames import CORRELATED, EXCEPTION, HEADER_BYTES, BadFrame, Header, Kind, answer, frame, read_header
from dopq.protocol.plain import NotPlain, pack, unpack
from dopq.protocol.stream import Stream, StreamClosed, TooSlow, deadline
from dopq.utils.log import logger
from dopq.wire import ERROR_CLASS, Plain, error_to_wire

log = logger(__name__)

HANDSHAKE_S = 5.0
"""From the connection to the end of the handshake, that of TLS included."""

MESSAGE_S = 30.0
"""From a message's first byte to its last."""

IDLE_S, STRANGERS_IDLE_S = 600.0, 30.0
"""How long a connection may say nothing. Clients connect anew when they have something to ask."""

SEND_S, SEND_BYTES_PER_S = 10.0, 128 * 1024
"""An answer has to be read within so long, and the longer the larger it is."""

LAST_WORD_S = 1.0
"""How long the other end may take to read why the connection ends."""

HANDSHAKE_BYTES, CALL_BYTES, STRANGERS_BYTES = 4 * 1024, 2**20, 16 * 1024
"""What one message may carry. Larger things go in pieces; who has not said who they are has nothing large to say."""

MAX_ITEMS = 10_000
"""How many values one message may have in its lists and objects."""


class Connection:
    """Serves one connection; `run` returns when it has ended."""

    def __init__(self, stream: Stream, evidence: Evidence, door: Door, guard: Guard, places: Places) -> None:
        self._stream = stream
        self._evidence = evidence
        self._door = door
        self._guard = guard
        self._places = places
        self._is_stranger = True
        self._lock = threading.Lock()
        self._busy = False
        self._finishing = False
        self._gone = threading.Event()

    def cut(self) -> None:
        """See `Guest`."""
        self._gone.set()
        self._stream.cut()

    def finish(self) -> None:
        """Answer what is being answered, and then nothing more. Returns at once."""
        with self._lock:
            self._finishing = True
            if not self._busy:
                self.cut()

    def run(self) -> None:
        """Serve until the other end hangs up, misbehaves or is silent for too long, or until we finish."""
        try:
            if visit := self._greet(deadline(HANDSHAKE_S)):
                while self._next_call(visit):
                    pass
        except (StreamClosed, TooSlow) as error:
            log.debug("connection_ended", source=self._evidence.address, cause=str(error))
        except Exception:
            log.exception("connection_failed", source=self._evidence.address)
        finally:
            self._places.leave(self)
            self._stream.close()

    # --- the handshake ------------------------------------------------------------------------------------------------

    def _greet(self, until: float) -> Visit | None:
        """Find out who wants to speak with which object; None where that is refused."""
        evidence = self._door.secure(self._stream, self._evidence, until)
        seq = None
        try:
            head = self._head({Kind.CONNECT}, HANDSHAKE_BYTES, until)
            seq = head.seq
            visit = self._guard.admit(*_greeting(_unpacked(head, self._stream.read(head.body_bytes, until))), evidence)
            self._seat(visit)
        except (BadFrame, NotPlain, DopqError) as error:
            self._last_word(frame(Kind.CONNECT_FAIL, seq or 0, pack(str(error))))
            return None
        # Pyro5's clients call only what is listed here.
        meta = {"methods": visit.methods, "oneway": [], "attrs": []}
        self._send(answer(head, Kind.CONNECT_OK, pack({"handshake": "dopq", "meta": meta})))
        return visit

    def _seat(self, visit: Visit) -> None:
        who = visit.caller.principal
        if who and not self._places.know(self, who):
            raise BadFrame(f"{who} has too many connections already")
        self._is_stranger = who is None

    # --- calls --------------------------------------------------------------------------------------------------------

    def _next_call(self, visit: Visit) -> bool:
        """Wait for a message and answer it; whether there may be another one."""
        self._stream.arrive(deadline(STRANGERS_IDLE_S if self._is_stranger else IDLE_S))
        until = deadline(MESSAGE_S)
        try:
            head = self._head({Kind.INVOKE, Kind.PING}, STRANGERS_BYTES if self._is_stranger else CALL_BYTES, until)
        except BadFrame as error:
            if error.seq is not None:
                self._last_word(frame(Kind.RESULT, error.seq, _told(_refusal(error)), flags=EXCEPTION))
            return False
        body = self._stream.read(head.body_bytes, until)
        refusal = self._slow_down(visit)
        if not self._begin():
            return False
        try:
            if refusal:
                self._send(_refused(head, refusal))
            else:
                self._answer(visit, head, body)
        finally:
            finishing = self._end()
        return not finishing

    def _slow_down(self, visit: Visit) -> SlowDown | None:
        """Hold up who asks too often. The time is their own: this is their thread, and it ends when they are cut."""
        try:
            self._gone.wait(self._guard.pause_s(visit))
        except SlowDown as error:
            self._gone.wait(LONGEST_WAIT_S)
            return error
        return None

    def _answer(self, visit: Visit, head: Header, body: bytes) -> None:
        if head.kind is Kind.PING:
            self._send(answer(head, Kind.PING, b"pong"))
            return
        try:
            target, method, arguments, named = _call(_unpacked(head, body))
            with self._guard.turn(visit, method):
                result = self._guard.call(visit, target, method, arguments, named)
                self._send(answer(head, Kind.RESULT, result))
        except NotPlain as error:
            self._send(_refused(head, _refusal(error)))
        except DopqError as error:
            self._send(_refused(head, error))

    def _begin(self) -> bool:
        with self._lock:
            self._busy = not self._finishing and not self._gone.is_set()
            return self._busy

    def _end(self) -> bool:
        with self._lock:
            self._busy = False
            return self._finishing

    # --- the stream ---------------------------------------------------------------------------------------------------

    def _head(self, kinds: set[Kind], max_bytes: int, until: float) -> Header:
        return read_header(self._stream.read(HEADER_BYTES, until), kinds, CORRELATED, max_bytes)

    def _send(self, data: bytes) -> None:
        self._stream.write(data, deadline(SEND_S + len(data) / SEND_BYTES_PER_S))

    def _last_word(self, data: bytes) -> None:
        until = deadline(LAST_WORD_S)
        self._stream.write(data, until)
        self._stream.pass_over(CALL_BYTES, until)


def _unpacked(head: Header, body: bytes) -> Any:
    return unpack(memoryview(body)[head.annotations_bytes :], MAX_ITEMS)


def _greeting(message: object) -> tuple[object, object]:
    """The object that is wanted, and what is brought for it."""
    match message:
        case {"object": target, "handshake": handshake}:
            return target, handshake
    raise NotPlain("a handshake names an object")


def _call(message: object) -> tuple[str, str, list[object], Plain]:
    """Object, method, arguments by place and by name, as Pyro5 arranges them."""
    match message:
        case [str(target), str(method), list(arguments), dict(named)]:
            return target, method, arguments, named
    raise NotPlain("a call is an object's name, a method's name, a list and an object of arguments")


def _refusal(error: BadFrame | NotPlain) -> DopqError:
    return UserError(f"The service cannot take this message: {error}.")


def _refused(head: Header, error: DopqError) -> bytes:
    return answer(head, Kind.RESULT, _told(error), flags=EXCEPTION)


def _told(error: DopqError) -> bytes:
    """An error as Pyro5 tells it; its text may be what somebody sent, so that it may have to be told without."""
    told = {"__class__": ERROR_CLASS, "__exception__": True, **error_to_wire(error)}
    try:
        return pack(told)
    except NotPlain:
        return pack(told | {"message": "The service refuses this call.", "details": {}})
