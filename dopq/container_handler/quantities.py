"""Sizes and times as people write them in a spec: `512m`, `1.5g`, `90m`, `2h`."""

from __future__ import annotations

import re
from decimal import Decimal

_SIZE = re.compile(r"(\d{1,15}(?:\.\d{1,6})?) ?([kmgt])i?b?", re.IGNORECASE | re.ASCII)
_SIZE_FACTOR = {"k": 2**10, "m": 2**20, "g": 2**30, "t": 2**40}
_TIME = re.compile(r"(\d{1,9}(?:\.\d{1,6})?) ?([smhd])", re.IGNORECASE | re.ASCII)
_TIME_FACTOR = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def parse_size(text: str) -> int | None:
    """Bytes; units are powers of 1024, as Docker reads them. None when it is no size, or has no unit."""
    found = _SIZE.fullmatch(text.strip())
    if found is None:
        return None
    return int(Decimal(found[1]) * _SIZE_FACTOR[found[2].lower()])


def parse_time(text: str) -> int | None:
    """Whole seconds, rounded down. None when it is no time, or has no unit (Slurm reads bare numbers as minutes)."""
    found = _TIME.fullmatch(text.strip())
    return int(Decimal(found[1]) * _TIME_FACTOR[found[2].lower()]) if found else None
