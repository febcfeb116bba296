"""The guard: who is counted as whom, and what one caller may take up."""

from __future__ import annotations

import threading
from contextlib import suppress
from typing import Any

import pytest

from dopq.access import Access, remote
from dopq.boundary.doors import Evidence
from dopq.boundary.guard import CHANGES_PER_S, STRANGERS_CALLS_PER_S, Guard, Visit
from dopq.boundary.rates import BURST_S, LONGEST_WAIT_S
from dopq.caller import Caller
from dopq.errors import SlowDown, UserError
from dopq.job import UserName
from dopq.protocol.plain import unpack
from dopq.users import Role, User
from tests.fakes import FakeClock

ANNA = User(UserName("anna"), Role.USER, 1.0, None, FakeClock().now())
KEY = "key-00000001"


class Desk:
    """Something that is served."""

    def __init__(self) -> None:
        self.times = 0

    @remote(Access.ANYBODY)
    def look(self, caller: Caller) -> int:
        return self._next()

    @remote(Access.ANYBODY, changes=True)
    def change(self, caller: Caller) -> int:
        return self._next()

    @remote(Access.ANYBODY)
    def watch(self, caller: Caller, wait_s: float) -> int:
        return self._next()

    def _next(self) -> int:
        self.times += 1
        return self.times


class NobodyWaits(threading.Event):
    """Not set, and yet nobody waits for it: a turn comes at once."""

    def wait(self, timeout: float | None = None) -> bool:
        return False


class Served:
    """A guard before a desk, to which one comes as anna, as a peer of that name, or as nobody."""

    def __init__(self) -> None:
        self.audited: list[str] = []
        self.guard = Guard(self._identify, self._audit, 50.0, NobodyWaits())
        self.guard.serve("desk", Desk())

    def _audit(self, _caller: Caller, _method: str, _what: object, result: str) -> None:
        self.audited.append(result)

    def _identify(self, evidence: Evidence, token: str | None) -> Caller:
        return Caller(ANNA if token else None, evidence.address, evidence.peer)

    def visit(self, token: str | None = None, evidence: Evidence | None = None) -> Visit:
        return self.guard.admit("desk", {"token": token}, evidence or Evidence("10.0.0.9"))

    def call(self, visit: Visit, method: str, **named: object) -> Any:
        return unpack(self.guard.call(visit, "desk", method, [], named), 100)


@pytest.fixture
def served() -> Served:
    return Served()


def refused_after(served: Served, visit: Visit) -> int:
    """How many messages go through at once, before one is refused."""
    for number in range(1_000):
        try:
            served.guard.pause_s(visit)
        except SlowDown:
            return number
    raise AssertionError("never")


def test_every_message_counts_whatever_it_says(served: Served) -> None:
    most = STRANGERS_CALLS_PER_S * (BURST_S + LONGEST_WAIT_S)
    assert refused_after(served, served.visit()) == pytest.approx(most, abs=3)


def test_a_peer_with_a_users_name_takes_nothing_of_theirs(served: Served) -> None:
    peer = served.visit(evidence=Evidence("10.0.0.9", peer="anna"))
    anna = served.visit("her token")
    refused_after(served, peer)
    assert served.guard.pause_s(anna) == 0.0
    assert served.call(peer, "change", key=KEY) == 1
    assert served.call(anna, "change", key=KEY) == 2, "not what the peer was told"


def test_strangers_with_other_uids_or_addresses_are_not_held_up(served: Served) -> None:
    local = [served.visit(evidence=Evidence("local", uid=uid)) for uid in (4711, 4712)]
    refused_after(served, local[0])
    assert served.guard.pause_s(local[1]) == 0.0
    assert served.guard.pause_s(served.visit(evidence=Evidence("10.0.0.10"))) == 0.0


def test_only_what_changes_something_is_remembered_by_its_key(served: Served) -> None:
    anna = served.visit("her token")
    assert [served.call(anna, "change", key=KEY) for _ in range(2)] == [1, 1]
    assert [served.call(anna, "look", key=KEY) for _ in range(2)] == [2, 3]


def test_nobody_pushes_what_they_did_out_of_the_audit_log(served: Served) -> None:
    most = CHANGES_PER_S * (BURST_S + LONGEST_WAIT_S)
    anna = served.visit("her token")
    for number in range(1_000):
        with suppress(SlowDown):
            served.call(anna, "change", key=f"key-{number:08}")
    assert len(served.audited) == pytest.approx(most, abs=3)
    assert served.call(anna, "look"), "to look is no change"


def test_a_users_calls_are_answered_two_at_a_time_and_those_that_wait_for_news_apart(served: Served) -> None:
    anna = served.visit("her token")
    with served.guard.turn(anna, "look"), served.guard.turn(anna, "look"):
        with pytest.raises(SlowDown), served.guard.turn(served.visit("her token"), "look"):
            pass
        with served.guard.turn(anna, "watch"), served.guard.turn(served.visit(), "look"):
            pass


def test_a_refusal_is_short_however_long_the_mistake(served: Served) -> None:
    with pytest.raises(UserError, match="Unexpected keyword") as refused:
        served.call(served.visit(), "look", **{"x" * 100_000: 1})
    told = refused.value
    assert len(told.message) + sum(map(len, told.details["problems"])) < 1_000  # type: ignore[arg-type, call-overload]
