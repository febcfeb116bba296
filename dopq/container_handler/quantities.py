"""Sizes as people write them in a spec: `512m`, `1.5g`."""

from __future__ import annotations

import re
from decimal import Decimal

_SIZE = re.compile(r"(\d{1,15}(?:\.\d{1,6})?) ?([kmgt])i?b?", re.IGNORECASE | re.ASCII)
_SIZE_FACTOR = {"k": 2**10, "m": 2**20, "g": 2**30, "t": 2**40}


def parse_size(text: str) -> int | None:
    """Bytes; units are powers of 1024, as Docker reads them. None when it is no size, or has no unit."""
    found = _SIZE.fullmatch(text.strip())
    if found is None:
        return None
    return int(Decimal(found[1]) * _SIZE_FACTOR[found[2].lower()])


def size_in_words(size_bytes: int) -> str:
    """The shortest way to write a size that `parse_size` reads back; in bytes where no unit fits, as text of digits."""
    unit = next((unit for unit in ("t", "g", "m", "k") if size_bytes and size_bytes % _SIZE_FACTOR[unit] == 0), "")
    return f"{size_bytes // _SIZE_FACTOR.get(unit, 1)}{unit}"
