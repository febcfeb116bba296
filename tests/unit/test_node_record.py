"""A node's record: what it says, and who is believed to have said it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from dopq.clean import clean
from dopq.errors import OperatorError
from dopq.peers.node_key import NodeKey
from dopq.peers.record import MOST_BYTES, Facts, canonical, is_genuine, read, signed
from dopq.peers.refusal import Refused, Why
from tests.hostile_text import HOSTILE
from tests.neighbours import facts, key, record


def resigned(number: int, **changed: Any) -> tuple[bytes, bytes]:
    """Body and signature as the node itself could make them if it were hostile."""
    body = canonical(json.loads(record(number).body) | changed)
    return body, key(number).sign(body)


def test_a_record_is_read_as_it_was_signed() -> None:
    made = record(1, metadata={"lab": "west"})
    got = read(made.body, made.signature)
    assert got == made
    assert is_genuine(got)
    assert got.facts.metadata == {"lab": "west"}


def test_nobody_who_passes_it_on_can_change_it() -> None:
    made = record(1)
    changed = canonical(json.loads(made.body) | {"name": "gpu9"})
    assert not is_genuine(read(changed, made.signature))
    assert not is_genuine(read(made.body, record(2).signature))


def test_a_signature_is_for_records_alone() -> None:
    made = record(1)
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    public = Ed25519PublicKey.from_public_bytes(key(1).public)
    public.verify(made.signature, b"DoPQ node record 1\n" + made.body)


def test_what_a_newer_version_says_besides_is_passed_on() -> None:
    body, signature = resigned(1, colour="green")
    got = read(body, signature)
    assert is_genuine(got)
    assert b'"colour":"green"' in got.body


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (b"", Why.MALFORMED),
        (b"{}", Why.MALFORMED),
        (b"[1]", Why.MALFORMED),
        (b"null", Why.MALFORMED),
        (b"\xff\xfe", Why.MALFORMED),
        (b"[" * 8000, Why.MALFORMED),
        (b'{"a":' * 1600, Why.MALFORMED),
        (b"1" * 5000, Why.MALFORMED),
        (b" " + record(1).body, Why.MALFORMED),
        (record(1).body.replace(b'{"addresses"', b'{"port":1,"addresses"', 1), Why.MALFORMED),
        (record(1).body + b" " * MOST_BYTES, Why.TOO_LARGE),
    ],
)
def test_what_is_no_record_is_refused(body: bytes, why: Why) -> None:
    with pytest.raises(Refused) as refused:
        read(body, bytes(64))
    assert refused.value.why is why


@pytest.mark.parametrize(
    "changed",
    [
        {"port": 0},
        {"port": 70_000},
        {"port": True},
        {"port": "9090"},
        {"port": None},
        {"sequence": -1},
        {"sequence": 2**60},
        {"incarnation": 1.5},
        {"issued_at": float(10**9)},
        {"name": ""},
        {"name": "GPU 1"},
        {"name": "x" * 64},
        {"version": "2\x1b"},
        {"key": "00"},
        {"key": "Z" * 64},
        {"certificate": "AB"},
        {"addresses": "192.0.2.1"},
        {"addresses": ["192.0.2.1"] * 9},
        {"addresses": [1]},
        {"metadata": {"lab": 1}},
        {"metadata": {"Lab": "west"}},
        {"metadata": {"x" * 40: "west"}},
        {"metadata": {"lab": "w" * 129}},
        {"metadata": {f"key{n}": "x" for n in range(33)}},
        {"specs": {"cpus": "many"}},
        {"specs": {"cpus": -1}},
        {"specs": {"gpus": [{}] * 33}},
        {"specs": None},
    ],
)
def test_what_no_node_says_is_refused(changed: dict[str, Any]) -> None:
    with pytest.raises(Refused) as refused:
        read(*resigned(1, **changed))
    assert refused.value.why is Why.MALFORMED


@pytest.mark.parametrize("text", [text for text in HOSTILE.values() if clean(text) != text])
def test_hostile_text_is_refused_wherever_it_stands(text: str) -> None:
    for changed in ({"metadata": {"lab": text}}, {"specs": {"cpu_model": text}}, {"unknown": [{"deep": text}]}):
        with pytest.raises(Refused) as refused:
            read(*resigned(1, **changed))
        assert refused.value.why in {Why.HOSTILE_TEXT, Why.MALFORMED, Why.TOO_LARGE}


def test_a_record_that_would_be_too_large_is_not_signed() -> None:
    metadata = {f"key{n}": "\u00e4" * 128 for n in range(32)}
    with pytest.raises(Refused) as refused:
        signed(facts(1, metadata=metadata), key(1))
    assert refused.value.why is Why.TOO_LARGE


def test_a_key_is_made_once_and_kept_private(tmp_path: Path) -> None:
    file = tmp_path / "node.key"
    made = NodeKey.kept_in(file)
    assert NodeKey.kept_in(file).node_id == made.node_id
    assert file.stat().st_mode & 0o777 == 0o600
    assert signed(Facts(**facts(1).model_dump()), made).node_id == made.node_id


@pytest.mark.parametrize("content", [b"", b"x" * 31, b"x" * 33])
def test_a_damaged_key_stops_the_start_with_words(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "node.key"
    file.write_bytes(content)
    with pytest.raises(OperatorError, match=r"node\.key"):
        NodeKey.kept_in(file)
