"""Fair in the long run: everybody gets what their weight says, and neither splitting nor overstating gains anything."""

from __future__ import annotations

import math
import random
from collections.abc import Iterable, Sequence

from hypothesis import given, settings
from hypothesis import strategies as st

from dopq.simulation.replay import Limits, Run, Setting, replay
from dopq.simulation.trace import TracedJob

HOUR_S = 3600.0
GPUS = 8


def backlog(user: str, sizes: Iterable[int], hours: Iterable[float], limit: float = 1.0) -> list[TracedJob]:
    """More work than could be done, all of it there from the beginning; limits are so many times what jobs take."""
    return [
        TracedJob(f"{user}-{number}", user, 0.0, size, hour * HOUR_S, hour * HOUR_S * limit)
        for number, (size, hour) in enumerate(zip(sizes, hours, strict=True))
    ]


def gpu_seconds(runs: Sequence[Run], user: str, begin_s: float, end_s: float) -> float:
    """What a user got between two moments."""
    return math.fsum(
        run.job.num_gpus * max(0.0, min(run.end_s, end_s) - max(run.start_s, begin_s))
        for run in runs
        if run.job.user == user
    )


def saturated_until(runs: Sequence[Run]) -> float:
    """When the first of the users has nothing left that waits."""
    users = {run.job.user for run in runs}
    return min(max(run.start_s for run in runs if run.job.user == user) for user in users)


@settings(max_examples=5)
@given(
    st.lists(st.sampled_from([0.5, 1.0, 2.0, 3.0]), min_size=2, max_size=4),
    st.integers(),
)
def test_saturated_users_with_weights_w_get_w_of_the_sum_within_2_percent(weights: list[float], seed: int) -> None:
    dice, trace = random.Random(seed), []
    by_user = {f"user-{place}": weight for place, weight in enumerate(weights)}
    for user, weight in by_user.items():
        count = round(1500 * weight / sum(weights)) + 20
        hours = [dice.choice([2.0, 5.0, 12.0]) for _ in range(count)]
        sizes = [dice.choice([1, 1, 2, 4]) for _ in range(count)]
        trace += backlog(user, sizes, hours)
    runs = replay(trace, Setting(GPUS, weights=by_user))
    until_s = saturated_until(runs)
    got = {user: gpu_seconds(runs, user, 0.0, until_s) for user in by_user}
    for user, weight in by_user.items():
        assert abs(got[user] / sum(got.values()) - weight / sum(weights)) <= 0.02


def shares(mine: list[TracedJob], others: list[TracedJob], until_s: float) -> float:
    runs = replay([*mine, *others], Setting(GPUS, limits=Limits.TRUE))
    assert saturated_until(runs) >= until_s
    return gpu_seconds(runs, "mine", 0.0, until_s)


UNTIL_S = 72 * HOUR_S


@settings(max_examples=5)
@given(st.sampled_from([1, 2, 4]), st.sampled_from([2.0, 6.0, 12.0]), st.sampled_from([2, 4]), st.booleans())
def test_splitting_a_job_never_gains_gpu_seconds(size: int, hours: float, parts: int, in_time: bool) -> None:
    """Neither into shorter jobs nor into smaller ones; never more than one of the whole jobs on each GPU is worth.

    So much depends on which of them just run when one stops to count: a longer time gains nothing more.
    """
    count = int(UNTIL_S * GPUS / (size * hours * HOUR_S)) + 20
    others = backlog("other", [1] * 330, [2.0] * 330)
    whole = shares(backlog("mine", [size] * count, [hours] * count), others, UNTIL_S)
    if in_time:
        split = backlog("mine", [size] * count * parts, [hours / parts] * count * parts)
    else:
        parts = min(parts, size)
        split = backlog("mine", [size // parts] * count * parts, [hours] * count * parts)
    assert shares(split, others, UNTIL_S) - whole <= GPUS * hours * HOUR_S / 2


@settings(max_examples=5)
@given(st.sampled_from([1, 2, 4]), st.sampled_from([2.0, 6.0]), st.sampled_from([1.5, 3.0, 20.0]))
def test_overstating_a_limit_never_gains_gpu_seconds(size: int, hours: float, factor: float) -> None:
    count = int(UNTIL_S * GPUS / (size * hours * HOUR_S)) + 20
    others = backlog("other", [1, 2] * 100, [2.0, 4.0] * 100)
    honest = shares(backlog("mine", [size] * count, [hours] * count), others, UNTIL_S)
    overstated = shares(backlog("mine", [size] * count, [hours] * count, limit=factor), others, UNTIL_S)
    assert overstated - honest <= max(size, GPUS / 2) * hours * HOUR_S
