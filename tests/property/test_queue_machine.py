"""The queue on a virtual clock, driven at random: whatever comes in whatever order, every promise holds after each step."""

from __future__ import annotations

import math
import random
from dataclasses import replace
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, initialize, invariant, precondition, rule

from dopq.job import JobId
from dopq.lines import Queue, came
from dopq.queue_model import POOLS, Decision, Quota, beyond, decide, share_of_gpus
from dopq.room import Capacity, Demand
from dopq.why import why
from tests.queues import HOLD, LOCKED, USERS, VirtualNode, assert_within_capacity, gpus, queue_of, waiting

CAPACITY = Capacity(gpus(3), slots_per_gpu=2, places=5, cpus=4.0, memory_bytes=6)
LONGEST_S = 1000.0

demands = st.builds(Demand, st.integers(0, 4), st.just(0), st.sampled_from([0.0, 0.7, 2.0]), st.sampled_from([0, 2, 5]))
slots = st.builds(Demand, st.just(0), st.integers(1, 2), st.just(0.0), st.sampled_from([0, 2]))
limits = st.sampled_from([40.0, 300.0, LONGEST_S])


class Life(RuleBasedStateMachine):
    """A node without machines. `rounds` begins with the last decision, `waited` with who was in the queue then."""

    jobs = Bundle("jobs")

    @initialize(quota=st.sampled_from([Quota(), Quota(gpus=2.0, jobs=3)]), overdue_s=st.sampled_from([100.0, math.inf]))
    def a_node_begins(self, quota: Quota, overdue_s: float) -> None:
        self.node = VirtualNode(CAPACITY, overdue_s=overdue_s, quota=quota)
        self.submitted = 0
        self.decision = self.node.round()
        self.fresh = True  # whether nothing has happened since the last decision

    # --- what users do ---

    @rule(
        target=jobs,
        user=st.sampled_from(USERS),
        demand=demands | slots,
        limit_s=limits,
        part=st.sampled_from([0.2, 1.0, 3.0]),
        priority=st.integers(0, 1),
    )
    def submit(self, user: Any, demand: Demand, limit_s: float, part: float, priority: int) -> JobId:
        self.submitted += 1
        job = waiting(self.submitted, user, demand, priority=priority, since_s=self.node.now_s, limit_s=limit_s)
        self.node.submit(job, part * limit_s)
        self.fresh = False
        return job.id

    @rule(job=consumes(jobs))
    def cancel(self, job: JobId) -> None:
        self.node.queue.remove(job)
        assert job not in self.node.queue
        assert self.node.queue.get(job) is None
        self.fresh = False

    @rule(job=jobs)
    def set_aside(self, job: JobId) -> None:
        if known := self.node.queue.get(job):
            self.node.queue.add(known, HOLD)
            self.fresh = False

    @rule(job=jobs)
    def put_back(self, job: JobId) -> None:
        if known := self.node.queue.get(job):
            self.node.queue.add(known)
            assert job not in self.node.queue.aside
            self.fresh = False

    # --- what time and the node do ---

    @rule(span_s=st.sampled_from([1.0, 60.0, 300.0]))
    def tick(self, span_s: float) -> None:
        self.node.pass_time(self.node.now_s + span_s)
        self.round()

    @rule()
    def round(self) -> None:
        before = set(self.node.queue)
        self.decision = self.node.round()
        started = {it.job for it in self.decision.starts}
        assert {job.id for job in before} == started | {job.id for job in self.node.queue}
        assert not started & set(self.node.queue.aside)
        self.fresh = True

    @precondition(lambda self: self.node.occupying)
    @rule(which=st.integers(0, 9))
    def exit(self, which: int) -> None:
        self.node.end(sorted(self.node.occupying)[which % len(self.node.occupying)])
        self.fresh = False

    @rule(count=st.integers(0, 2))
    def lose_gpus(self, count: int) -> None:
        self.node.lost = frozenset(sorted(CAPACITY.gpus)[:count])
        self.fresh = False

    @rule(stopped=st.sampled_from([None, None, LOCKED]))
    def lock_or_unlock(self, stopped: Any) -> None:
        self.node.stopped = stopped
        self.fresh = False

    @rule(seed=st.integers(0, 99))
    def restart(self, seed: int) -> None:
        """The queue is made anew from what the journal has: the same follows, whatever order it is read in."""
        before = decide(self.node.queue, self.node.view())
        jobs = list(self.node.queue)
        random.Random(seed).shuffle(jobs)
        self.node.restart(jobs)
        after = decide(self.node.queue, self.node.view())
        assert after.starts == before.starts
        assert promises(after) == promises(before)

    # --- what always holds ---

    @invariant()
    def nothing_is_handed_out_twice_or_beyond_capacity(self) -> None:
        assert_within_capacity(self.node.occupying.values(), CAPACITY)

    @invariant()
    def the_lines_hold_what_waits_and_nothing_else(self) -> None:
        assert_consistent(self.node.queue)

    @invariant()
    def nothing_starts_while_the_queue_is_stopped(self) -> None:
        assert not (self.decision.view.stopped and self.decision.starts)

    @invariant()
    def nobody_holds_more_than_their_quota(self) -> None:
        for user in USERS:
            mine = [it.demand for it in self.node.occupying.values() if it.user == user]
            assert len(mine) <= self.node.quota.jobs
            assert sum(share_of_gpus(it, CAPACITY) for it in mine) <= self.node.quota.gpus

    @invariant()
    def every_waiting_job_has_a_reason_and_it_is_true(self) -> None:
        """Without whom it names it would start; and whatever might start now waits for a named reservation."""
        if not self.fresh:
            return
        view = self.decision.view
        for job in self.node.queue:
            aside = self.node.queue.aside.get(job.id)
            answer = why(job, self.decision, aside)
            if beyond([job.demand], view):
                assert answer.reason.code == "never_fits"
            elif aside or view.stopped:
                assert answer.reason in (aside, view.stopped)
            else:
                assert answer.reason.code not in {"undecided", "never_fits"}
                assert bool(answer.waits_for) != (answer.behind is not None)
                left = tuple(it for it in self.decision.holding if it.id not in answer.waits_for)
                assert decide(queue_of([job]), replace(view, holding=left)).starts

    @invariant()
    def a_decision_that_was_carried_out_leaves_nothing_to_decide(self) -> None:
        if self.fresh:
            assert not decide(self.node.queue, self.node.view()).starts


def promises(decision: Decision) -> list[tuple[JobId, float, bool]]:
    return [(it.job.id, it.at_s, it.overdue) for it in decision.reservations.values()]


def assert_consistent(queue: Queue) -> None:
    """Counted anew from the jobs themselves: lines, demands and the oldest are what they should be."""
    in_line = [job for job in queue if job.id not in queue.aside]
    lined_up = [job for lines in queue.users.values() for line in lines.within(()) for job in line]
    assert sorted(lined_up, key=came) == sorted(in_line, key=came)
    assert len(queue) == len(in_line) + len(queue.aside)
    counts = {demand: sum(job.demand == demand for job in in_line) for demand in {job.demand for job in in_line}}
    assert queue.demands == counts
    assert queue.users.keys() == {job.user for job in in_line}
    for user, lines in queue.users.items():
        assert all(len(line) for line in lines.within(()))
        for needs_gpu in POOLS:
            mine = [job for job in in_line if job.user == user and job.demand.needs_gpu is needs_gpu]
            assert lines.oldest(needs_gpu=needs_gpu) == min(mine, key=came, default=None)


TestLife = Life.TestCase
TestLife.settings = settings(max_examples=30, stateful_step_count=25)
