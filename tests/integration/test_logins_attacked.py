"""Guessing and floods of logins over the network: what they cost, and that whoever knows their password gets in."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Self

import pytest

from dopq.errors import DopqError
from dopq.protocol.channel import Channel, CutOff
from dopq.protocol.stream import Stream
from dopq.wire import CONTROLLER
from tests.boundary_process import PASSWORD, BoundaryProcess, boundary_process

TIMEOUT_S = 60.0
ELSEWHERE = "127.0.0.2"


@pytest.fixture
def target(tmp_path: Path) -> Iterator[BoundaryProcess]:
    with boundary_process(tmp_path) as running:
        yield running


def channel(target: BoundaryProcess, source: str) -> Channel:
    connected = socket.create_connection((target.host, target.port), TIMEOUT_S, (source, 0))
    return Channel(Stream(connected), CONTROLLER, {}, TIMEOUT_S)


def login(target: BoundaryProcess, source: str, name: str, password: str) -> str:
    """`in`, or the code of the refusal; asked again where the connection had to give way to a newcomer."""
    for _ in range(4):
        with suppress(CutOff):
            return login_once(target, source, name, password)
    return login_once(target, source, name, password)


def login_once(target: BoundaryProcess, source: str, name: str, password: str) -> str:
    connected = channel(target, source)
    try:
        return "in" if connected.call("login", [name, password], {}, TIMEOUT_S)["token"] else ""
    except CutOff:
        raise
    except DopqError as error:
        return error.code
    finally:
        connected.close()


class Elsewhere(threading.Thread):
    """Somebody at another address who does the same thing again and again."""

    def __init__(self, act: Callable[[], str], pause_s: float) -> None:
        super().__init__()
        self._act = act
        self._pause_s = pause_s
        self._over = threading.Event()
        self.answers: list[str] = []
        self.took_s: list[float] = []

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self.join(TIMEOUT_S)

    def run(self) -> None:
        while not (self._over.wait(self._pause_s) and self.answers):
            began = time.monotonic()
            self.answers.append(self._act())
            self.took_s.append(time.monotonic() - began)


def test_a_hundred_wrong_logins_cost_few_hash_checks_and_the_right_one_from_elsewhere_works(
    target: BoundaryProcess,
) -> None:
    """As fast as they can come: the bound is that of any time, 8 and one more every 10 s; the boundary lets fewer in."""
    names = ["cleo", "bert", "nemo", "x" * 254]
    before, began = target.hash_checks, time.monotonic()
    with (
        Elsewhere(lambda: login(target, ELSEWHERE, "cleo", PASSWORD), pause_s=1.0) as honest,
        ThreadPoolExecutor(10) as guessers,
    ):
        guesses = list(
            guessers.map(
                lambda number: login(target, "127.0.0.1", names[number % 4], f"wrong horse battery {number}"),
                range(100),
            )
        )
        took_s = time.monotonic() - began
    checks = target.hash_checks - before - len(honest.answers)
    assert set(guesses) == {"login_refused", "slow_down"}
    assert guesses.count("login_refused") == checks, "who is told to slow down costs no check"
    assert 1 <= checks <= 8 + took_s / 10
    assert checks <= 15
    assert set(honest.answers) == {"in"}
    assert max(honest.took_s) < 2.0


def test_200_logins_at_once_all_get_an_answer_and_take_little_memory(target: BoundaryProcess) -> None:
    """From 50 addresses; half of them know the password, and some of these may be told to come back.

    They alone are as many as there are places, so that some have to give way and ask again.
    """
    idle_bytes = target.memory_bytes

    def attempt(number: int) -> str:
        name, password = ("cleo", PASSWORD) if number % 2 else ("nemo", "wrong horse battery")
        return login(target, f"127.0.1.{number % 50 + 1}", name, password)

    with (
        Elsewhere(lambda: hello(target), pause_s=0.05) as honest,
        ThreadPoolExecutor(200) as everybody,
    ):
        answers = list(everybody.map(attempt, range(200)))
    assert set(answers) <= {"in", "login_refused", "slow_down"}
    assert set(answers[1::2]) <= {"in", "slow_down"}
    assert answers.count("in") > 10
    assert target.peak_memory_bytes - idle_bytes < 128 * 2**20
    assert set(honest.answers) == {"dopq"}
    assert max(honest.took_s) < 1.0


def hello(target: BoundaryProcess) -> str:
    """What the service says it is, asked over a new connection."""
    connected = channel(target, ELSEWHERE)
    try:
        return str(connected.call("hello", [], {}, TIMEOUT_S)["service"])
    finally:
        connected.close()
