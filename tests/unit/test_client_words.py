"""Numbers and times in words."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from dopq_client.shapes import JobInfo
from dopq_client.words import at_the_latest, start


@pytest.mark.parametrize(
    ("seconds", "told"),
    [
        ((2400.0, 7200.0, 18000.0), "in about 2 h, between 40 min and 5 h"),
        ((0.0, 120.0, 840.0), "in about 2 min, between now and 14 min"),
        ((0.0, 0.0, 540.0), "at any moment, within 9 min"),
        ((0.0, 0.0, 0.0), "at any moment"),
        ((60.0, 60.0, 60.0), "in about 1 min"),
    ],
)
def test_a_start_is_told_as_people_say_it(seconds: tuple[float, float, float], told: str) -> None:
    job: JobInfo = {"eta": dict(zip(("p10", "p50", "p90"), seconds, strict=True))}  # type: ignore[typeddict-item]
    assert start(job) == told


@pytest.mark.parametrize(
    ("seconds", "told"),
    [(-5.0, "now"), (44.2, "in 45 s"), (763.0, "in 13 min"), (7260.5, "in 2 h 2 min"), (40_000.0, "in 12 h")],
)
def test_a_bound_is_rounded_up(seconds: float, told: str) -> None:
    now = datetime(2026, 1, 5, 9, 0, tzinfo=UTC)
    assert at_the_latest((now + timedelta(seconds=seconds)).isoformat(), now) == told
