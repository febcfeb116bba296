"""Durations as people write them: `90s`, `20m`, `2h`, `1d`. One way of writing for settings, options and job.toml."""

from __future__ import annotations

import re
from decimal import Decimal

PATTERN = r"(?P<number>[0-9]{1,9}(?:\.[0-9]{1,6})?) ?(?P<unit>s|m|min|h|d)"
_DURATION = re.compile(PATTERN, re.IGNORECASE | re.ASCII)
_FACTOR = {"s": 1, "m": 60, "min": 60, "h": 3600, "d": 86400}


def parse_duration(text: str) -> int | None:
    """Whole seconds, rounded down. None when it is none, or has no unit (Slurm reads bare numbers as minutes)."""
    found = _DURATION.fullmatch(text.strip())
    return int(Decimal(found["number"]) * _FACTOR[found["unit"].lower()]) if found else None


def duration(seconds: int) -> str:
    """The shortest way to write so many seconds, which `parse_duration` reads back."""
    unit = next((unit for unit in ("d", "h", "m") if seconds and seconds % _FACTOR[unit] == 0), "s")
    return f"{seconds // _FACTOR[unit]}{unit}"
