"""How fair and how quick the queue is: policies side by side on a trace, and decisions with 100,000 jobs waiting.

    .venv/bin/python benchmarks/queue.py [TRACE] [--gpus 144] [--json] [--quick]

The trace (default: philly_dev.csv beside the checkout, if it is there) is replayed under every policy, then with other
half-lives, GPU counts and limits. That takes some minutes; `--quick` leaves the variations out.
"""

# ruff: noqa: E402 - what of the checkout is not installed is found by the path that is set first

from __future__ import annotations

import argparse
import random
import sys
import time
import tracemalloc
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import quantiles

CHECKOUT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(CHECKOUT)]

from benchmarks.table import Row, show, single
from dopq.job import GpuId, JobId, UserName
from dopq.lines import Queue, Waiting
from dopq.order import FairShare, Policy
from dopq.penalty import Account, penalty, usage_at
from dopq.queue_model import Quota, View, decide
from dopq.reservation import Holding
from dopq.room import Capacity, Demand
from dopq.simulation.measures import measure
from dopq.simulation.replay import DAY_S, Limits, Setting, replay
from dopq.simulation.trace import TracedJob, read_trace

PHILLY = CHECKOUT.parent / "shared" / "data" / "philly_dev.csv"
JOBS, USERS, EVENTS = 100_000, 500, 1_000
GPUS = frozenset(GpuId(f"GPU-{number:04}") for number in range(64))
REPLAY_GOAL_S_PER_JOB = 60 / 20_000


def main(arguments: list[str]) -> int:
    """Measure everything, print a table or JSON; 1 when a goal was missed."""
    parser = argparse.ArgumentParser(description="How fair and how quick the queue is.")
    parser.add_argument("trace", nargs="?", type=Path, default=PHILLY, help="CSV or SWF (philly_dev.csv)")
    parser.add_argument("--gpus", type=int, default=144, help="GPUs that the trace is replayed on (144)")
    parser.add_argument("--json", action="store_true", help="JSON alone on standard output")
    parser.add_argument("--quick", action="store_true", help="without other half-lives, GPU counts and limits")
    options = parser.parse_args(arguments)
    rows = [row for name, jobs, quota in crowds() for row in crowd_rows(name, jobs, quota)]
    if options.trace.exists():
        rows += trace_rows(read_trace(options.trace), Setting(options.gpus), quick=options.quick)
    else:
        print(f"Policies are not compared: there is no trace {options.trace}.", file=sys.stderr)
    return show(rows, as_json=options.json)


# --- 100,000 waiting jobs ---------------------------------------------------------------------------------------------


def crowds() -> Iterator[tuple[str, list[Waiting], Quota]]:
    """Queues with their names: a usual one, and those that are made to be slow."""
    yield "a sweep a user", crowd(lambda _, __: (1, 3600.0, "sweep")), Quota()
    yield "sizes and limits mixed", crowd(mixed), Quota()
    yield "no two limits or names alike", crowd(unlike), Quota()
    yield "... with a quota of 2 GPUs", crowd(unlike), Quota(gpus=2)
    yield "... only large jobs, few GPUs free", crowd(lambda chance, n: (8, *unlike(chance, n)[1:])), Quota()


Kind = Callable[[random.Random, int], tuple[int, float, str]]
"""GPUs, limit and name of a job."""


def mixed(chance: random.Random, _: int) -> tuple[int, float, str]:
    """What a lab may hand in."""
    return chance.choice([1, 1, 1, 2, 4, 8]), chance.choice([1.0, 4.0, 24.0, 168.0]) * 3600, f"{chance.randrange(5)}"


def unlike(chance: random.Random, number: int) -> tuple[int, float, str]:
    """A line for each job."""
    return chance.choice([1, 2, 4, 8]), chance.uniform(60, 14 * DAY_S), f"run {number}"


def crowd(kind: Kind) -> list[Waiting]:
    """Jobs of 500 users in turns, one a second."""
    chance = random.Random(1)  # the same queue on every machine
    jobs = []
    for number in range(JOBS + EVENTS):
        gpus, limit_s, name = kind(chance, number)
        user = UserName(f"user{number % USERS:03}")
        jobs.append(Waiting(JobId(number), user, Demand(gpus), 0, float(number), limit_s, name))
    return jobs


def crowd_rows(name: str, jobs: Sequence[Waiting], quota: Quota) -> Iterator[Row]:
    """One job ends, another joins, a decision is made, and what it says is done: 1,000 times."""
    queue, bytes_each = measured_queue(jobs[:JOBS])
    node = BusyNode(queue, quota)
    node.decide()
    seconds, starts = [], 0
    for job in jobs[JOBS:]:
        began = time.process_time()
        node.end_one()
        queue.add(job)
        starts += node.decide()
        seconds.append(time.process_time() - began)
    p99 = [each * 1e3 for each in quantiles(seconds, n=100, method="inclusive")]
    yield Row(f"{name}: p99 of a decision", "ms", p99[98], max(seconds) * 1e3, 5.0, f"median {p99[49]:.2f}")
    if starts:
        yield at_least(f"{name}: starts", "starts/s", starts / sum(seconds), 500, f"{starts} in {EVENTS} events")
    yield Row(f"{name}: memory of a waiting job", "bytes", bytes_each, bytes_each, 1024.0)


def measured_queue(jobs: Sequence[Waiting]) -> tuple[Queue, float]:
    """The queue of some jobs, and what it takes of memory for each of them, the job itself included."""
    tracemalloc.start()
    queue = Queue()
    for job in jobs:
        queue.add(replace(job, id=JobId(int(str(job.id))), name="".join(job.name)))
    size = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    return queue, size / len(jobs)


class BusyNode:
    """64 GPUs, all taken; the account of every user is looked at anew for each decision, as on a node."""

    def __init__(self, queue: Queue, quota: Quota) -> None:
        self._queue, self._quota = queue, quota
        self._now_s = float(JOBS)
        self._accounts = {UserName(f"user{n:03}"): Account(usage=1e4 * n) for n in range(USERS)}
        self._holding: tuple[Holding, ...] = tuple(
            Holding(JobId(-1 - n), UserName(f"user{n:03}"), Demand(1), frozenset({gpu}), 0.0, 7 * DAY_S)
            for n, gpu in enumerate(sorted(GPUS))
        )

    def end_one(self) -> None:
        """The job that began first has ended."""
        self._now_s += 1.0
        self._holding = self._holding[1:]

    def decide(self) -> int:
        """Start what may start; how many."""
        penalties = {
            user: penalty(usage_at(account, self._now_s, 7 * DAY_S), 1.0) for user, account in self._accounts.items()
        }
        capacity = Capacity(GPUS, places=len(GPUS))
        view = View(self._now_s, capacity, self._holding, FairShare(penalties), self._quota, overdue_s=14 * DAY_S)
        decision = decide(self._queue, view)
        for start in decision.starts:
            self._queue.start(start.job, self._now_s)
        self._holding = decision.holding
        return len(decision.starts)


def at_least(what: str, unit: str, value: float, goal: float, note: str = "") -> Row:
    """A row whose goal is a lower bound; told as the time that one takes, so that less is better in every row."""
    return Row(f"{what}, time of one", "ms", 1e3 / value, 1e3 / value, 1e3 / goal, f"{value:.0f} {unit}; {note}")


# --- a trace ----------------------------------------------------------------------------------------------------------


def trace_rows(jobs: Sequence[TracedJob], setting: Setting, *, quick: bool) -> Iterator[Row]:
    """Every policy with true limits and with history; then what moves the result of `fairshare`."""
    for limits in (Limits.TRUE, Limits.HISTORY):
        for policy in (Policy.FIFO, Policy.RECENCY, Policy.FAIRSHARE):
            changed = replace(setting, policy=policy, limits=limits)
            yield from replay_rows(f"{policy}, limits {limits}", jobs, changed)
    if quick:
        return
    for half_life_d in (1, 3, 30):
        changed = replace(setting, half_life_s=half_life_d * DAY_S)
        yield from replay_rows(f"half-life {half_life_d} d", jobs, changed)
    for percent in (90, 110, 125):
        gpus = setting.gpus * percent // 100
        yield from replay_rows(f"{gpus} GPUs", jobs, replace(setting, gpus=gpus))
    yield from replay_rows("limits none", jobs, replace(setting, limits=Limits.NONE))
    for limit_d in (2, 7):
        yield from replay_rows(f"at most {limit_d} d", jobs, replace(setting, max_limit_s=limit_d * DAY_S))


def replay_rows(name: str, jobs: Sequence[TracedJob], setting: Setting) -> Iterator[Row]:
    """What came of it, and how long the replay took."""
    began = time.process_time()
    runs = replay(jobs, setting)
    seconds = time.process_time() - began
    it = measure(runs, setting.gpus)
    yield single(f"{name}: share error", "", it.share_error, f"{it.utilisation:.1%} used")
    waits = it.waits
    note = f"median {waits.p50_s / 3600:.1f}, p99 {waits.p99_s / 3600:.0f}; slowdown {it.mean_bounded_slowdown:.0f}"
    yield Row(f"{name}: mean wait", "h", waits.mean_s / 3600, waits.max_s / 3600, note=note)
    goal_s = len(runs) * REPLAY_GOAL_S_PER_JOB
    yield Row(f"{name}: the replay", "s", seconds, seconds, goal_s, f"{len(runs)} jobs, one core")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
