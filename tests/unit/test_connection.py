"""One connection: how it holds up its caller, and for how long it counts as being answered."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from dopq.boundary.connection import Connection
from dopq.boundary.doors import Evidence, TcpDoor
from dopq.boundary.guard import Visit
from dopq.boundary.places import Places
from dopq.boundary.rates import LONGEST_WAIT_S
from dopq.caller import Caller
from dopq.errors import SlowDown
from dopq.protocol.frames import Kind, frame
from dopq.protocol.plain import pack
from dopq.protocol.stream import Stream
from tests.waiting import wait_until

MESSAGES = frame(Kind.CONNECT, 0, pack({"object": "desk", "handshake": {}})) + frame(
    Kind.INVOKE, 1, pack(["desk", "look", [], {}])
)


class LargeAnswers:
    """A guard that lets everybody in, as told, and answers with 8 MiB."""

    def __init__(self, pause: float | SlowDown = 0.0) -> None:
        self.pause = pause
        self.asked = threading.Event()
        self.called = self.in_turn = False

    def admit(self, *_: object) -> Visit:
        return Visit("desk", ["look"], Evidence("10.0.0.9"), None, Caller(None, "10.0.0.9"))

    def pause_s(self, _visit: Visit) -> float:
        self.asked.set()
        if isinstance(self.pause, SlowDown):
            raise self.pause
        return self.pause

    @contextmanager
    def turn(self, *_: object) -> Iterator[None]:
        self.in_turn = True
        yield
        self.in_turn = False

    def call(self, *_: object) -> bytes:
        self.called = True
        return bytes(8 * 2**20)


@contextmanager
def served(guard: Any) -> Iterator[tuple[Connection, socket.socket, threading.Thread]]:
    """A connection to that guard, over which a call has been sent."""
    ours, theirs = socket.socketpair()
    door = TcpDoor("127.0.0.1", 0, None)
    connection = Connection(Stream(ours), Evidence("10.0.0.9"), door, guard, Places(1, 1))
    thread = threading.Thread(target=connection.run)
    thread.start()
    theirs.sendall(MESSAGES)
    yield connection, theirs, thread
    connection.cut()
    thread.join(10)
    theirs.close()
    door.close()


def test_who_is_held_up_and_cut_lets_go_of_their_thread_and_is_not_answered() -> None:
    guard = LargeAnswers(60.0)
    with served(guard) as (connection, _, thread):
        assert guard.asked.wait(5)
        connection.cut()
        thread.join(5)
        assert not thread.is_alive()
    assert not guard.called


def test_who_is_refused_is_held_up_besides() -> None:
    guard = LargeAnswers(SlowDown("no"))
    with served(guard) as (_, theirs, _):
        began = time.monotonic()
        stream, until = Stream(theirs), began + 10
        while b"slow_down" not in stream.read(1, until) + bytes(stream._read_ahead):
            pass
        assert time.monotonic() - began >= LONGEST_WAIT_S * 0.9
    assert not guard.called


def test_a_call_is_being_answered_until_its_answer_is_read() -> None:
    guard = LargeAnswers()
    with served(guard) as (_, theirs, _):
        wait_until(lambda: guard.called, 5.0)
        assert guard.in_turn
        stream = Stream(theirs)
        stream.read(8 * 2**20, time.monotonic() + 10)
        wait_until(lambda: not guard.in_turn, 5.0)
