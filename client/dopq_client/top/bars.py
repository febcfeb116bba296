"""Bars and sparklines out of block characters, which any terminal with UTF-8 shows. Pure."""

from __future__ import annotations

from collections.abc import Sequence

_PARTS = " ▏▎▍▌▋▊▉█"
_HEIGHTS = "▁▂▃▄▅▆▇█"


def bar(fraction: float | None, width: int) -> str:
    """A bar of `width` characters, filled from the left; `fraction` 0 to 1, what lies outside counts as the nearer.

    Whatever is not nothing shows at least its thinnest part; what is unknown is blank.
    """
    if fraction is None:
        return " " * width
    whole = min(1.0, max(0.0, fraction)) * width * 8
    eighths = max(1, round(whole)) if whole > 0 else 0
    full, part = divmod(eighths, 8)
    drawn = _PARTS[8] * full + (_PARTS[part] if part else "")
    return drawn.ljust(width, "·")


def share(value: float | None, whole: float | None) -> float | None:
    """How much of `whole` a value is; None where either is unknown."""
    return value / whole if value is not None and whole else None


def sparkline(values: Sequence[float | None], most: float) -> str:
    """A character for each value, as high as it is of `most`; a blank where nothing is known."""
    return "".join(" " if value is None else _HEIGHTS[_height(value, most)] for value in values)


def _height(value: float, most: float) -> int:
    share = min(1.0, max(0.0, value / most)) if most > 0 else 0.0
    return min(len(_HEIGHTS) - 1, int(share * len(_HEIGHTS)))
