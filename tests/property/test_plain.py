"""Plain data: what is packed comes back, and no bytes whatever do anything but be read or refused."""

from __future__ import annotations

import math
import tracemalloc
from contextlib import suppress
from typing import Any

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dopq.job import StateName
from dopq.protocol.plain import MAX_DEPTH, MAX_LENGTH, NotPlain, pack, unpack

text = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | text
    | st.binary(max_size=40)
)
plain = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=5) | st.dictionaries(text, inner, max_size=5), max_leaves=30
).filter(lambda value: depth(value) <= MAX_DEPTH)


def depth(value: Any) -> int:
    if isinstance(value, dict | list):
        inner = value.values() if isinstance(value, dict) else value
        return 1 + max(map(depth, inner), default=0)
    return 0


def values(value: Any) -> int:
    """How many values there are in it, as `unpack` counts them."""
    if isinstance(value, dict | list):
        inner = value.values() if isinstance(value, dict) else value
        return 1 + len(value) + sum(map(values, inner))
    return 0


@given(plain)
def test_what_is_packed_comes_back(value: Any) -> None:
    assert unpack(pack(value), 1000) == value


@given(plain)
def test_exactly_so_many_values_are_taken_as_are_allowed(value: Any) -> None:
    assert unpack(pack(value), values(value)) == value
    if values(value):
        with pytest.raises(NotPlain, match="too many"):
            unpack(pack(value), values(value) - 1)


@given(st.binary(max_size=400))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    try:
        value = unpack(data, 100)
    except NotPlain:
        return
    assert depth(value) <= MAX_DEPTH
    assert unpack(pack(value), 100) == value


@given(plain, st.data())
def test_a_mutated_message_is_read_or_refused(value: Any, data: st.DataObject) -> None:
    packed = bytearray(pack(value))
    place = data.draw(st.integers(0, len(packed) - 1))
    packed[place] = data.draw(st.integers(0, 255))
    with suppress(NotPlain):
        assert depth(unpack(bytes(packed), 1000)) <= MAX_DEPTH


@pytest.mark.parametrize(
    "value", [(1, 2), {1, 2}, object(), StateName.QUEUED, {"a": (1,)}, 2**64, "\ud800", {"\udfff": 1}, [1j], range(3)]
)
def test_nothing_but_plain_data_leaves(value: object) -> None:
    with pytest.raises(NotPlain):
        pack(value)


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
def test_a_number_that_is_none_is_refused_wherever_it_lies(number: float) -> None:
    for value in (number, [number], {"a": [{"b": number}]}):
        with pytest.raises(NotPlain, match="number"):
            unpack(msgpack.packb(value), 100)


def test_a_tag_makes_no_object() -> None:
    tagged = {"__class__": "builtins.SystemExit", "__exception__": True, "args": [1]}
    assert unpack(pack(tagged), 100) == tagged


def test_a_value_lies_as_deep_as_allowed_and_no_deeper() -> None:
    nested: Any = 0
    for _ in range(MAX_DEPTH):
        nested = [nested]
    assert unpack(pack(nested), 100) == nested
    with pytest.raises(NotPlain, match="deeper"):
        unpack(pack([nested]), 100)


@pytest.mark.parametrize("kind", [b"\xdd", b"\xdf"])
@pytest.mark.parametrize("announced", [MAX_LENGTH, 16 * 1024, 2**19])
def test_lists_that_are_announced_in_each_other_take_no_memory(kind: bytes, announced: int) -> None:
    """msgpack takes 8 bytes for every value that is announced, at 1,024 depths, before it looks for the first one."""
    key = b"\xa0" if kind == b"\xdf" else b""
    bomb = (kind + announced.to_bytes(4, "big") + key) * 1_020
    tracemalloc.start()
    try:
        with pytest.raises(NotPlain):
            unpack(bomb + bytes(2**20), 10_000)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 10 * 2**20


def test_a_list_is_as_long_as_allowed_and_no_longer() -> None:
    assert len(unpack(pack([0] * MAX_LENGTH), 10_000)) == MAX_LENGTH
    for value in ([0] * (MAX_LENGTH + 1), {str(number): 0 for number in range(MAX_LENGTH + 1)}):
        with pytest.raises(NotPlain):
            unpack(pack(value), 10_000)
