"""What a schedule was like for those who waited in it. Pure; from the schedule alone, so anybody can recompute it."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from dopq.simulation.replay import Run

BOUND_S = 10.0
"""Slowdown of very short jobs is measured as if they ran so long (Feitelson et al., 1997)."""


@dataclass(frozen=True, slots=True)
class Waits:
    """Waits of some jobs, in seconds; a quantile is the smallest wait which that part of the jobs does not exceed."""

    jobs: int
    mean_s: float
    p50_s: float
    p99_s: float
    max_s: float


@dataclass(frozen=True, slots=True)
class Measures:
    """One schedule in figures.

    Attributes:
        mean_bounded_slowdown: of (wait + run) / run, runs below 10 s counted as 10 s.
        utilisation: GPU-seconds run, of those between the first submission and the last end.
        share_error: see `share_error`.
        gpu_seconds: by user.
    """

    waits: Waits
    mean_bounded_slowdown: float
    utilisation: float
    share_error: float
    by_user: dict[str, Waits]
    gpu_seconds: dict[str, float]


def measure(runs: Sequence[Run], gpus: int) -> Measures:
    """Measure a schedule of one job at least, on a node with so many GPUs."""
    by_user: defaultdict[str, list[Run]] = defaultdict(list)
    for run in runs:
        by_user[run.job.user].append(run)
    span_s = max(run.end_s for run in runs) - min(run.job.submit_s for run in runs)
    used = {user: sum(_gpu_seconds(run) for run in own) for user, own in sorted(by_user.items())}
    return Measures(
        waits=_waits(runs),
        mean_bounded_slowdown=math.fsum(map(_bounded_slowdown, runs)) / len(runs),
        utilisation=sum(used.values()) / (gpus * span_s) if gpus and span_s else 0.0,
        share_error=share_error(runs),
        by_user={user: _waits(own) for user, own in sorted(by_user.items())},
        gpu_seconds=used,
    )


def share_error(runs: Iterable[Run]) -> float:
    """How far what users got was from an equal split, from 0 (as far as it goes) to 1.

    Counted while two users or more have waiting jobs: of all GPU-seconds served then, each of those users should have
    had an equal part. Half the sum over all users of |served - equal parts|, as a part of all that was served.
    """
    changes = sorted(
        change
        for run in runs
        if run.job.num_gpus
        for change in (
            (run.job.submit_s, run.job.user, 1, 0),
            (run.start_s, run.job.user, -1, run.job.num_gpus),
            (run.end_s, run.job.user, 0, -run.job.num_gpus),
        )
    )
    waiting: defaultdict[str, int] = defaultdict(int)
    held: defaultdict[str, int] = defaultdict(int)
    too_much: defaultdict[str, float] = defaultdict(float)
    served, last_s = 0.0, 0.0
    users_waiting: set[str] = set()
    for at_s, user, queued, gpus in changes:
        if len(users_waiting) > 1 and at_s > last_s:
            now_served = sum(held.values()) * (at_s - last_s)
            served += now_served
            for each, count in held.items():
                too_much[each] += count * (at_s - last_s)
            for each in users_waiting:
                too_much[each] -= now_served / len(users_waiting)
        last_s = at_s
        waiting[user] += queued
        held[user] += gpus
        (users_waiting.add if waiting[user] else users_waiting.discard)(user)
    return sum(map(abs, too_much.values())) / 2 / served if served else 0.0


def _waits(runs: Sequence[Run]) -> Waits:
    waits = sorted(run.start_s - run.job.submit_s for run in runs)

    def quantile(part: float) -> float:
        return waits[max(0, math.ceil(part * len(waits)) - 1)]

    return Waits(len(waits), math.fsum(waits) / len(waits), quantile(0.5), quantile(0.99), waits[-1])


def _bounded_slowdown(run: Run) -> float:
    ran_s = run.end_s - run.start_s
    return max(1.0, (run.end_s - run.job.submit_s) / max(ran_s, BOUND_S))


def _gpu_seconds(run: Run) -> float:
    return run.job.num_gpus * (run.end_s - run.start_s)
