"""Plain data as msgpack, and back: the only thing that crosses the wire.

None, booleans, integers, finite floats, text, bytes, lists, and objects with text as keys. Nothing that is read here
becomes an object of any class, whatever it is tagged with, and nothing costs more than its limits allow.
"""

from __future__ import annotations

import math
from typing import Any

import msgpack

MAX_DEPTH = 16
"""How deep lists and objects may lie in each other."""

MAX_LENGTH = 1_000
"""How many values one list or object of a call may have."""


class NotPlain(ValueError):
    """These bytes are no plain data, or this value is none; says why."""


def pack(value: object) -> bytes:
    """Plain data as msgpack.

    Raises:
        NotPlain: there is something else in it, a subclass of text or a tuple included.
    """
    try:
        return bytes(msgpack.packb(value, strict_types=True))
    except (TypeError, ValueError, OverflowError) as error:  # UnicodeEncodeError is a ValueError
        raise NotPlain(f"cannot be told as plain data: {error}") from error


def unpack(data: bytes | memoryview, max_items: int, max_length: int = MAX_LENGTH) -> Any:
    """What `pack` made.

    Args:
        max_items: how many values there may be in all its lists and objects together: a byte can ask for an empty
            object, which takes 64.
        max_length: how many there may be in one list or object. msgpack takes memory for as many as are announced,
            and goes through it again when it gives up, at up to 1,024 depths: five bytes each.

    Raises:
        NotPlain: it is malformed, too deep, too long, has too many values, the same key twice, or a number that is
            none.
    """
    reader = _Reader(max_items)
    try:
        value = msgpack.unpackb(
            data,
            list_hook=reader.listed,
            object_pairs_hook=reader.paired,
            ext_hook=_refuse_extension,
            max_array_len=max_length,
            max_map_len=max_length,
        )
    except NotPlain:
        raise
    except Exception as error:  # noqa: BLE001 - msgpack has no common base: ExtraData, StackError, UnicodeDecodeError, …
        raise NotPlain(f"malformed msgpack ({type(error).__name__})") from None
    _require_plain(value, MAX_DEPTH)
    return value


class _Reader:
    """Counts values as msgpack ends each list and object, so that it stops before it has built them all."""

    def __init__(self, left: int) -> None:
        self._left = left

    def listed(self, items: list[Any]) -> list[Any]:
        self._count(len(items))
        return items

    def paired(self, pairs: list[tuple[Any, Any]]) -> dict[Any, Any]:
        self._count(len(pairs))
        table = dict(pairs)
        if len(table) != len(pairs):
            raise NotPlain("the same key twice")
        return table

    def _count(self, items: int) -> None:
        self._left -= items + 1
        if self._left < 0:
            raise NotPlain("too many values")


def _refuse_extension(code: int, _data: bytes) -> object:
    raise NotPlain(f"extension type {code}")


def _require_plain(value: object, depth: int) -> None:
    kind = type(value)
    if kind is dict:
        assert isinstance(value, dict)
        _require_depth(depth)
        for key, item in value.items():
            if type(key) is not str:
                raise NotPlain("a key that is no text")
            _require_plain(item, depth - 1)
    elif kind is list:
        assert isinstance(value, list)
        _require_depth(depth)
        for item in value:
            _require_plain(item, depth - 1)
    elif kind is float:
        assert isinstance(value, float)
        if not math.isfinite(value):
            raise NotPlain("a number that is none")
    elif value is not None and kind not in _SCALARS:
        raise NotPlain(f"a {kind.__name__}")


_SCALARS = frozenset({bool, int, str, bytes})


def _require_depth(left: int) -> None:
    if left <= 0:
        raise NotPlain(f"deeper than {MAX_DEPTH}")
