"""Places at the boundary: never more guests than there may be, and no stranger keeps anybody out."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from dopq.boundary.places import Places

MOST, MOST_PER_SOURCE = 8, 3
sources = st.sampled_from(["a", "b", "c", "d"])
users = st.sampled_from(["anna", "bert", "olga", "cleo"])


class Guest:
    def __init__(self, source: str) -> None:
        self.source, self.user, self.is_cut = source, None, False
        self.user: str | None

    def cut(self) -> None:
        self.is_cut = True


class PlacesMachine(RuleBasedStateMachine):
    """What comes, says who it is, and goes, in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.places = Places(MOST, MOST_PER_SOURCE)
        self.inside: list[Guest] = []

    @rule(source=sources)
    def come(self, source: str) -> None:
        strangers = [guest for guest in self.inside if guest.user is None]
        of_source = [guest for guest in strangers if guest.source == source]
        guest = Guest(source)
        crowded = len(of_source) >= MOST_PER_SOURCE
        full = len(self.inside) >= MOST
        self.places.take(guest, source)
        if crowded or full:
            [cut] = [other for other in self.inside if other.is_cut]
            if of_source and crowded:
                assert cut is of_source[0], "the stranger of that address who was there longest"
            elif strangers:
                assert cut is strangers[0], "the stranger who was there longest"
            else:
                held = Counter(other.user for other in self.inside)
                assert held[cut.user] == max(held.values()), "of those who have the most"
                assert cut is next(other for other in self.inside if other.user == cut.user), "the longest there"
        self.inside.append(guest)
        self.inside = [g for g in self.inside if not g.is_cut]

    @rule(number=st.integers(0, 20), user=users)
    def say_who(self, number: int, user: str) -> None:
        strangers = [guest for guest in self.inside if guest.user is None]
        if not strangers:
            return
        guest = strangers[number % len(strangers)]
        theirs = sum(other.user == user for other in self.inside)
        assert self.places.know(guest, user) == (theirs < MOST_PER_SOURCE)
        if theirs < MOST_PER_SOURCE:
            guest.user = user

    @rule(number=st.integers(0, 20))
    def go(self, number: int) -> None:
        if self.inside:
            self.places.leave(self.inside.pop(number % len(self.inside)))

    @invariant()
    def never_too_many(self) -> None:
        assert list(self.places) == self.inside
        assert len(self.places) <= MOST
        for source in "abcd":
            assert sum(g.source == source for g in self.inside if g.user is None) <= MOST_PER_SOURCE
        for user in ("anna", "bert", "olga", "cleo"):
            assert sum(guest.user == user for guest in self.inside) <= MOST_PER_SOURCE
        assert all(not guest.is_cut for guest in self.inside)


TestPlaces = PlacesMachine.TestCase


@given(st.integers(1, 200))
def test_silent_strangers_at_one_address_keep_nobody_else_out(attackers: int) -> None:
    places = Places(MOST, MOST_PER_SOURCE)
    for _ in range(attackers):
        places.take(Guest("attacker"), "attacker")
    honest = Guest("honest")
    places.take(honest, "honest")
    assert places.know(honest, "anna")
    for number in range(attackers):
        places.take(Guest(f"attacker {number}"), f"attacker {number}")
    assert not honest.is_cut


def test_who_was_cut_has_no_place_to_come_back_to() -> None:
    places = Places(1, 1)
    first, second = Guest("a"), Guest("b")
    places.take(first, "a")
    places.take(second, "b")
    assert first.is_cut
    assert not places.know(first, "anna")


def test_one_user_keeps_nobody_else_of_their_machine_out() -> None:
    places = Places(MOST, MOST_PER_SOURCE)
    for _ in range(MOST_PER_SOURCE):
        annas = Guest("login node")
        places.take(annas, "login node")
        assert places.know(annas, "anna")
    berts = Guest("login node")
    places.take(berts, "login node")
    assert places.know(berts, "bert")


def test_a_few_users_together_keep_nobody_out() -> None:
    places = Places(MOST, MOST_PER_SOURCE)
    for number in range(MOST):
        theirs = Guest("login node")
        places.take(theirs, "login node")
        assert places.know(theirs, ["anna", "bert", "olga"][number % 3])
    cleos = Guest("login node")
    places.take(cleos, "login node")
    assert places.know(cleos, "cleo")
