"""What a node knows of others: what it takes, what it refuses, and whom it gives up."""

from __future__ import annotations

import json
from dataclasses import replace
from random import Random
from typing import Any

import pytest

from dopq.peers import judgement
from dopq.peers.liveness import Liveness
from dopq.peers.neighbourhood import Neighbourhood
from dopq.peers.record import NodeRecord, canonical, read
from dopq.peers.refusal import Refused, Why
from tests.neighbours import START, Hands, certificate, facts, key, neighbourhood, record

HOUR = 3600.0


@pytest.fixture
def hands() -> Hands:
    return Hands()


@pytest.fixture
def mine(hands: Hands) -> Neighbourhood:
    return neighbourhood(0, hands)


def whys(refused: list[Refused]) -> list[Why]:
    return [it.why for it in refused]


def reason(mine: Neighbourhood, said: NodeRecord) -> Why | None:
    """Why a record is not taken."""
    before = mine.table
    refused = mine.hear([said])
    assert mine.table == before or not refused
    return refused[0].why if refused else None


def odd(number: int, **changed: Any) -> NodeRecord:
    """What a hostile node could sign that `signed` would not."""
    body = canonical(json.loads(record(number).body) | changed)
    return read(body, key(number).sign(body))


# --- what is taken, and what is not ---


def test_news_is_taken_and_old_news_is_not(mine: Neighbourhood) -> None:
    assert mine.hear([record(1, sequence=5, version="2.1")]) == []
    assert mine.hear([record(1, sequence=4, version="2.0")]) == []
    assert mine.hear([record(1, incarnation=0, sequence=9, version="1.9")]) == []
    assert mine.table[key(1).node_id].facts.version == "2.1"
    assert mine.refusals[Why.OLD] == 2


def test_a_forged_record_is_refused(mine: Neighbourhood) -> None:
    assert reason(mine, replace(record(1), signature=bytes(64))) is Why.FORGED
    assert reason(mine, replace(record(1), signature=record(2).signature)) is Why.FORGED


def test_what_was_signed_in_the_future_is_refused(mine: Neighbourhood, hands: Hands) -> None:
    late = record(1, issued_at=int(START) + 301)
    assert reason(mine, late) is Why.FROM_THE_FUTURE
    hands.now += 1
    assert reason(mine, late) is None


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"addresses": ["127.0.0.1"]}, Why.BAD_ADDRESS),
        ({"addresses": ["192.0.2.1", "169.254.169.254"]}, Why.BAD_ADDRESS),
        ({"addresses": ["unix:/run/docker.sock"]}, Why.BAD_ADDRESS),
        ({"addresses": ["0x7f000001"]}, Why.BAD_ADDRESS),
        ({"port": 22}, Why.OTHER_PORT),
    ],
)
def test_a_record_that_would_lead_us_elsewhere_is_refused(
    mine: Neighbourhood, changed: dict[str, Any], why: Why
) -> None:
    assert reason(mine, odd(1, **changed)) is why


def test_ten_thousand_nodes_find_no_place_and_cost_no_signature(
    mine: Neighbourhood, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(judgement, "MOST_NODES", 50)
    asked = 0

    def counting(_record: NodeRecord) -> bool:
        nonlocal asked
        asked += 1
        return True

    monkeypatch.setattr(judgement, "is_genuine", counting)
    template = record(1)
    for number in range(10_000):
        mine.hear([replace(template, node_id=f"{number:032x}")])
    assert len(mine.table) == 50
    assert mine.refusals[Why.TABLE_FULL] == 9_951
    assert asked == 49


def test_who_proves_itself_takes_the_place_of_hearsay(mine: Neighbourhood, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(judgement, "MOST_NODES", 3)
    mine.hear([record(1), record(2), record(3)])
    assert len(mine.table) == 3
    for number in (4, 5):
        mine.meet(record(number), f"gpu{number}", certificate(number))
    assert set(mine.table) == {key(number).node_id for number in (0, 4, 5)}
    with pytest.raises(Refused, match="proved themselves"):
        mine.meet(record(6), "gpu6", certificate(6))
    assert set(mine.table) == {key(number).node_id for number in (0, 4, 5)}


def test_records_together_may_not_be_too_large(mine: Neighbourhood, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(judgement, "MOST_TABLE_BYTES", 3 * len(record(1).body))
    assert whys(mine.hear([record(1), record(2), record(3)])) == [Why.TABLE_FULL, Why.TABLE_FULL]
    assert mine.hear([record(1, sequence=1)]) == [], "who is known stays up to date"


# --- who it is ---


@pytest.mark.parametrize(("name", "shown"), [("gpu2", 1), ("gpu1", 2), (None, 1), ("GPU1", 1)])
def test_who_shows_another_certificate_is_not_that_node(mine: Neighbourhood, name: str | None, shown: int) -> None:
    with pytest.raises(Refused, match="not_its_certificate"):
        mine.meet(record(1), name, certificate(shown))
    assert set(mine.table) == {mine.me}


def test_an_old_record_that_nobody_signed_vouches_for_nobody(mine: Neighbourhood) -> None:
    mine.hear([record(1, sequence=5)])
    body = canonical(json.loads(record(1).body) | {"name": "gpu3", "certificate": certificate(3)})
    with pytest.raises(Refused, match="forged"):
        mine.meet(read(body, bytes(64)), "gpu3", certificate(3))
    assert not mine.contact(key(1).node_id).vouched


def test_who_has_shown_its_certificate_is_known_as_itself(mine: Neighbourhood) -> None:
    mine.meet(record(1), "gpu1", certificate(1))
    assert mine.contact(key(1).node_id).vouched
    mine.meet(record(1), "gpu1", certificate(1))
    assert mine.liveness(key(1).node_id) is Liveness.ALIVE


# --- myself ---


def test_a_newer_record_about_me_makes_me_newer_still(mine: Neighbourhood) -> None:
    mine.hear([record(0, incarnation=7, sequence=3, version="1.0")])
    assert mine.own.version == (8, 0)
    assert mine.own.facts.version == "2.0.0"


def test_another_record_of_my_very_version_makes_me_newer_if_it_would_win(mine: Neighbourhood) -> None:
    for number in range(20):
        mine.hear([record(0, incarnation=mine.own.facts.incarnation, sequence=0, version=f"1.{number}")])
    assert mine.own.facts.version == "2.0.0"
    assert mine.own.facts.incarnation > 1


def test_old_records_about_me_change_nothing(mine: Neighbourhood) -> None:
    before = mine.own
    mine.hear([record(0, incarnation=0, sequence=99)])
    assert mine.own == before


def test_nobody_else_can_say_something_about_me(mine: Neighbourhood) -> None:
    before = mine.own
    assert reason(mine, replace(record(0, incarnation=9), signature=bytes(64))) is Why.FORGED
    assert mine.own == before


def test_a_new_life_is_newer_than_what_the_last_one_said(mine: Neighbourhood, hands: Hands) -> None:
    mine.hear([record(0, incarnation=7)])
    again = neighbourhood(0, hands, mine.known)
    assert again.own.version == (9, 0)


def test_what_changes_is_said_at_once_and_the_rest_once_a_heartbeat(mine: Neighbourhood, hands: Hands) -> None:
    assert not mine.renew(facts(0))
    assert mine.renew(facts(0, metadata={"lab": "west"}))
    assert mine.own.version == (1, 1)
    hands.now += 59
    assert not mine.renew(facts(0, metadata={"lab": "west"}))
    hands.now += 1
    assert mine.renew(facts(0, metadata={"lab": "west"}))
    assert mine.own.version == (1, 2)


# --- who is there ---


def test_silence_makes_suspect_then_down_and_news_alive_again(mine: Neighbourhood, hands: Hands) -> None:
    node = key(1).node_id
    mine.hear([record(1)])
    told = []
    for _ in range(8):
        told.append(mine.liveness(node))
        hands.now += 60
    assert told == [*["alive"] * 4, *["suspect"] * 3, "down"]
    mine.hear([record(1, sequence=1, issued_at=int(hands.now))])
    assert mine.liveness(node) is Liveness.ALIVE


def test_a_call_that_fails_makes_suspect_until_there_is_news(mine: Neighbourhood) -> None:
    node = key(1).node_id
    mine.hear([record(1)])
    mine.failed(node)
    assert mine.liveness(node) is Liveness.SUSPECT
    mine.hear([record(1)])
    assert mine.liveness(node) is Liveness.SUSPECT, "the same again is no news"
    mine.hear([record(1, sequence=1)])
    assert mine.liveness(node) is Liveness.ALIVE


def test_the_last_words_of_the_dead_are_no_sign_of_life(mine: Neighbourhood, hands: Hands) -> None:
    hands.now += HOUR
    mine.hear([record(1)])
    assert mine.liveness(key(1).node_id) is Liveness.DOWN


def test_hearsay_does_not_revive_whom_we_have_forgotten(mine: Neighbourhood, hands: Hands) -> None:
    mine.hear([record(1, incarnation=3, sequence=4)])
    hands.now += 7 * 24 * HOUR
    assert mine.tidy() == []
    hands.now += 301  # by so much their clock may be behind
    assert mine.tidy() == [key(1).node_id]
    assert set(mine.table) == {mine.me}
    assert reason(mine, record(1, incarnation=3, sequence=4)) is Why.BURIED
    assert reason(mine, record(1, incarnation=3, sequence=3)) is Why.BURIED
    assert reason(mine, record(1, incarnation=4, issued_at=int(hands.now))) is None
    assert mine.liveness(key(1).node_id) is Liveness.ALIVE


def test_a_tombstone_outlives_what_others_still_tell(mine: Neighbourhood, hands: Hands) -> None:
    mine.hear([record(1)])
    mine.remove(key(1).node_id)
    assert reason(mine, record(1)) is Why.BURIED
    hands.now += 30 * 24 * HOUR - 1
    mine.tidy()
    assert reason(mine, record(1)) is Why.BURIED
    hands.now += 2
    mine.tidy()
    assert mine.known.tombstones == {}


def test_tombstones_outlive_the_process(mine: Neighbourhood, hands: Hands) -> None:
    mine.hear([record(1)])
    mine.remove(key(1).node_id)
    assert reason(neighbourhood(0, hands, mine.known), record(1)) is Why.BURIED


def test_partners_are_those_who_are_there_and_one_who_is_not(mine: Neighbourhood, hands: Hands) -> None:
    mine.hear([record(number) for number in range(1, 6)])
    hands.now += HOUR
    mine.hear([record(number, sequence=1, issued_at=int(hands.now)) for number in (1, 2)])
    mine.hear([record(9, addresses=[])])
    names = {it.facts.name for it in mine.partners(3, Random(1))}
    assert {"gpu1", "gpu2"} < names
    assert len(names) == 3
    assert names - {"gpu1", "gpu2"} < {"gpu3", "gpu4", "gpu5"}


def test_who_looks_sees_no_table_that_is_being_changed(mine: Neighbourhood) -> None:
    before = mine.table
    seen = dict(before)
    mine.hear([record(1)])
    assert before == seen
    assert mine.table != seen
