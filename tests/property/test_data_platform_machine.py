"""The owner of the truth, driven at random: whatever comes in whatever order, its promises hold, also across restarts."""

from __future__ import annotations

import math
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, invariant, multiple, rule

from dopq.config import GpuSettings, QueueSettings
from dopq.errors import DopqError, WrongState
from dopq.invariants import check
from dopq.job import (
    ARROWS,
    FINAL,
    Actor,
    Building,
    Ended,
    GpuId,
    Held,
    Job,
    JobId,
    JobSpec,
    Lease,
    Occupying,
    Outcome,
    Problem,
    Queued,
    Reason,
    Running,
    Starting,
    State,
    StateName,
    Stopping,
    gpus_held,
    is_our_fault,
    lease_of,
    work_of,
)
from dopq.penalty import Account, charge_rate, usage_at
from dopq.room import Capacity
from tests.platforms import ANNA, BERT, IMAGE, OLGA, Home, gpu

HALF_LIFE_S = 3600.0
CPU_JOB_RATE = 0.05
GPUS = frozenset(gpu(n) for n in range(3))
SLOTS_PER_GPU = 4
ROOM = Capacity(GPUS, SLOTS_PER_GPU, places=5)
MEMORY = Path("/dev/shm")  # on a disk, thousands of commits would wait for it
GONE = Reason("container_gone", "Its container is gone.")
WHY = Reason("because", "Because.")

users = st.sampled_from([ANNA, BERT])


def may_be_tried_again(state: State) -> bool:
    """Whether a fault of ours is followed by another attempt."""
    if not isinstance(state, Occupying) or state.lease.attempt > state.work.spec.retries:
        return False
    return state.becomes is StateName.FAILED if isinstance(state, Stopping) else True


def charged(job: Job, now: datetime) -> tuple[Lease, datetime] | None:
    """The lease that a job's user pays for, and until when; None where there is none."""
    match job.state:
        case Ended(lease=Lease() as lease, reason=reason, at=at) if not is_our_fault(reason):
            return lease, lease.ended_at or at
        case Starting(lease=lease) | Running(lease=lease) | Stopping(lease=lease):
            return lease, lease.ended_at or now
    return None


def slots_of(job: Job) -> int:
    """What it holds, or would, of each GPU that it is given."""
    work = work_of(job.state)
    return (work.spec.slots if work else None) or SLOTS_PER_GPU


outcomes = st.sampled_from(sorted(FINAL))


class Life(RuleBasedStateMachine):
    """Every command at any time; what is not allowed raises `WrongState` and changes nothing."""

    jobs = Bundle("jobs")

    @initialize(target=jobs)
    def a_node_begins(self) -> Any:
        self.folder = Path(tempfile.mkdtemp(prefix="dopq-machine-", dir=MEMORY if MEMORY.is_dir() else None))
        self.home = Home(
            self.folder,
            QueueSettings(half_life_s=HALF_LIFE_S, cpu_job_rate=CPU_JOB_RATE),
            gpu=GpuSettings(slots_per_gpu=SLOTS_PER_GPU),
        )
        self.finals: dict[JobId, Job] = {}
        self.submitted = 0
        self.told: list[Job] = []
        self.home.platform.subscribe(self.told.append)
        waiting = [self.accept(user) for user in (ANNA, ANNA, BERT)]
        for job in waiting:
            self.enqueue(job, 1, 0)
        return multiple(*waiting)

    def teardown(self) -> None:
        if hasattr(self, "home"):
            self.home.close()
            shutil.rmtree(self.folder)

    # --- commands ---

    @rule(target=jobs, user=users)
    def accept(self, user: Any) -> JobId:
        self.submitted += 1
        return self.home.building(user, key=f"drop-{self.submitted}").id

    @rule(job=jobs)
    def accept_again(self, job: JobId) -> None:
        known = self.home.platform.job(job)
        count = len(self.told)
        again = self.home.platform.accept(known.user, known.bundle, known.key, "whatever")
        assert again == known
        assert len(self.told) == count, "nothing happened, so nobody is told"

    @rule(
        job=jobs,
        gpus=st.integers(0, 4),
        priority=st.integers(-1, 1),
        retries=st.integers(0, 2),
        slots=st.none() | st.integers(1, SLOTS_PER_GPU - 1),
    )
    def enqueue(self, job: JobId, gpus: int, priority: int, retries: int = 1, slots: int | None = None) -> None:
        spec = JobSpec("train", gpus=1 if slots else gpus, slots=slots, priority=priority, retries=retries)
        state = self.home.platform.job(job).state
        becomes = StateName.HELD if isinstance(state, Held) and state.work is None else StateName.QUEUED
        enqueue = partial(self.home.platform.enqueue, job, spec, IMAGE, has_input=False)
        self.take(job, enqueue, becomes, Actor.PROVIDER)

    @rule(job=jobs, outcome=outcomes)
    def reject(self, job: JobId, outcome: Outcome) -> None:
        problems = (Problem("container_config.json", "is not there", "Add it."),)
        self.take(job, lambda: self.home.platform.reject(job, outcome, WHY, problems), outcome, Actor.PROVIDER)

    @rule(job=jobs, gpus=st.frozensets(st.sampled_from(sorted(GPUS))))
    def begin(self, job: JobId, gpus: Any) -> None:
        wanted = slots_of(self.home.platform.job(job))
        held: Counter[GpuId] = Counter()
        for other in self.home.platform.alive():
            for it in gpus_held(other.state):
                held[it] += slots_of(other)
        fits = all(held[it] + wanted <= SLOTS_PER_GPU for it in gpus)
        self.take(job, lambda: self.home.platform.begin(job, gpus), StateName.STARTING, allowed=fits)

    @rule()
    def schedule(self) -> None:
        """What the scheduler does in one round: none of its decisions is ever refused while nobody interferes."""
        for start in self.home.platform.decide(ROOM).starts:
            self.home.platform.begin(start.job, start.gpus)

    @rule(job=jobs, late_s=st.floats(-10, 10))
    def mark_running(self, job: JobId, late_s: float) -> None:
        state = self.home.platform.job(job).state.name
        if state in {StateName.RUNNING, StateName.STOPPING}:  # said a second time, or overtaken by a stop
            before = self.home.platform.job(job)
            assert self.home.platform.mark_running(job, self.home.clock.now()) == before
            return
        started_at = self.home.clock.now() + timedelta(seconds=late_s)
        self.take(job, lambda: self.home.platform.mark_running(job, started_at), StateName.RUNNING)

    @rule(job=jobs)
    def cancel(self, job: JobId) -> None:
        platform = self.home.platform
        state = platform.job(job).state.name
        before = platform.job(job)
        if isinstance(before.state, Stopping) and before.state.becomes is StateName.FAILED:
            self.take(job, lambda: platform.cancel(job, "olga"), StateName.STOPPING, Actor.USER)
        elif state in {StateName.CANCELLED, StateName.STOPPING}:
            assert platform.cancel(job, "olga") == before
        elif state in {StateName.STARTING, StateName.RUNNING}:
            self.take(job, lambda: platform.cancel(job, "olga"), StateName.STOPPING)
        else:
            self.take(job, lambda: platform.cancel(job, "olga"), StateName.CANCELLED, Actor.USER)

    @rule(job=jobs, by=st.sampled_from([ANNA, BERT, OLGA]))
    def hold(self, job: JobId, by: Any) -> None:
        platform, user = self.home.platform, self.home.user(by)
        before = platform.job(job)
        code = "held_by_user" if by == before.user else "held_by_admin"
        if isinstance(before.state, Held) and before.state.reason.code in {code, "held_by_admin"}:
            assert platform.put_on_hold(job, user) == before
        else:
            self.take(job, lambda: platform.put_on_hold(job, user), StateName.HELD, Actor.USER)

    @rule(job=jobs)
    def release(self, job: JobId) -> None:
        platform, before, olga = self.home.platform, self.home.platform.job(job), self.home.user(OLGA)
        if isinstance(before.state, Building | Queued):
            assert platform.release(job, olga) == before
        elif isinstance(before.state, Held):
            becomes = StateName.QUEUED if before.state.work else StateName.BUILDING
            self.take(job, lambda: platform.release(job, olga), becomes, Actor.USER)
        else:
            with pytest.raises(WrongState):
                platform.release(job, olga)

    @rule(
        job=jobs,
        actor=st.sampled_from([Actor.USER, Actor.SCHEDULER]),
        becomes=st.sampled_from([StateName.TIMED_OUT, StateName.FAILED]),
    )
    def request_stop(self, job: JobId, actor: Actor, becomes: StateName) -> None:
        platform = self.home.platform
        before = platform.job(job)
        if isinstance(before.state, Stopping):
            assert platform.request_stop(job, becomes, WHY, actor) == before
        elif isinstance(before.state, Running) and not lease_of(before.state):
            with pytest.raises(WrongState, match="nothing to stop"):
                platform.request_stop(job, becomes, WHY, actor)
        else:
            self.take(job, lambda: platform.request_stop(job, becomes, WHY, actor), StateName.STOPPING, actor)

    @rule(job=jobs, warning=st.sampled_from([WHY, None]))
    def warn(self, job: JobId, warning: Reason | None) -> None:
        platform, before = self.home.platform, self.home.platform.job(job)
        if isinstance(before.state, Ended):
            with pytest.raises(WrongState):
                platform.warn(job, warning)
        elif isinstance(before.state, Running) and before.state.warning != warning:
            self.take(job, lambda: platform.warn(job, warning), StateName.RUNNING, Actor.SCHEDULER)
        else:
            assert platform.warn(job, warning) == before

    @rule(job=jobs, attempt=st.integers(1, 2))
    def end_lease(self, job: JobId, attempt: int) -> None:
        """The kernel says that no process of that attempt is left, perhaps long after that was so."""
        platform, before = self.home.platform, self.home.platform.job(job)
        lease = lease_of(before.state)
        if isinstance(before.state, Running | Stopping) and lease and lease.attempt == attempt:
            self.take(job, lambda: platform.end_lease(job, attempt), before.state.name, Actor.RUNNER)
            assert not gpus_held(platform.job(job).state)
        else:
            assert platform.end_lease(job, attempt) == before

    @rule(job=jobs, outcome=outcomes, ago_s=st.floats(-10, 7200), why=st.sampled_from([WHY, GONE]))
    def finish(self, job: JobId, outcome: Outcome, ago_s: float, why: Reason) -> None:
        """`ago_s`: when the engine says that the process ended; its clock may be off."""
        at = self.home.clock.now() - timedelta(seconds=ago_s)
        self.take(
            job,
            lambda: self.home.platform.finish(job, outcome, why, at=at, exit_code=1, started_at=at),
            outcome,
            Actor.RUNNER,
        )

    @rule(job=jobs)
    def try_again(self, job: JobId) -> None:
        platform, before = self.home.platform, self.home.platform.job(job)
        if isinstance(before.state, Ended):
            with pytest.raises(WrongState):
                platform.try_again(job, GONE)
        elif may_be_tried_again(before.state):
            self.take(job, lambda: platform.try_again(job, GONE) or before, StateName.QUEUED, Actor.RUNNER)
        else:
            assert platform.try_again(job, GONE) is None
            assert platform.job(job) == before

    @rule(job=jobs, gpus=st.frozensets(st.sampled_from(sorted(GPUS)), min_size=1), data=st.data())
    def go_on(self, job: JobId, gpus: Any, data: st.DataObject) -> None:
        """Take some legal arrow: chance alone would seldom carry a job to its end."""
        match self.home.platform.job(job).state.name:
            case StateName.BUILDING:
                self.enqueue(job, len(gpus), 0, slots=data.draw(st.none() | st.integers(1, SLOTS_PER_GPU - 1)))
            case StateName.HELD:
                self.release(job)
            case StateName.QUEUED:
                self.begin(job, gpus)
            case StateName.STARTING:
                self.mark_running(job, 0.0)
            case StateName.RUNNING | StateName.STOPPING if data.draw(st.booleans()):
                self.end_lease(job, 1)
            case StateName.RUNNING | StateName.STOPPING:
                self.finish(job, data.draw(outcomes), data.draw(st.floats(-10, 7200)), WHY)

    @rule(lock_s=st.floats(1, 10_000))
    def lock(self, lock_s: float) -> None:
        lock = self.home.platform.exec_dopq_lock_state("olga", "new disks", timedelta(seconds=lock_s))
        assert self.home.platform.queue_lock() == lock

    @rule()
    def unlock(self) -> None:
        assert self.home.platform.exec_dopq_lock_state("olga", "", None) is None
        assert self.home.platform.queue_lock() is None

    # --- the world ---

    @rule(seconds=st.floats(0, 10_000))
    def time_passes(self, seconds: float) -> None:
        self.home.clock.advance(seconds)

    @rule()
    def the_node_restarts(self) -> None:
        before = self.observable()
        self.home.restart()
        assert self.observable() == before
        self.home.platform.subscribe(self.told.append)

    # --- promises ---

    @invariant()
    def memory_and_journal_agree(self) -> None:
        if hasattr(self, "home"):
            self.home.platform.assert_consistent()

    @invariant()
    def final_states_absorb(self) -> None:
        for job_id, job in getattr(self, "finals", {}).items():
            assert self.home.platform.job(job_id) == job

    @invariant()
    def no_job_ends_before_its_lease_begins(self) -> None:
        for job in getattr(self, "finals", {}).values():
            assert job.state.lease is None or job.state.lease.since <= job.state.at

    @invariant()
    def usage_is_the_sum_of_what_was_held(self) -> None:
        if not hasattr(self, "home"):
            return
        now = self.home.clock.now()
        expected = dict.fromkeys((ANNA, BERT), 0.0)
        for job in self.home.journal.changed_since(0):
            if pays := charged(job, now):
                lease, until = pays
                rate = charge_rate(len(lease.gpus) * slots_of(job) / SLOTS_PER_GPU, CPU_JOB_RATE)
                used = usage_at(Account(0.0, lease.since.timestamp(), rate), until.timestamp(), HALF_LIFE_S)
                expected[job.user] += usage_at(Account(used, until.timestamp()), now.timestamp(), HALF_LIFE_S)
        told = {row["user"]: row["usage_gpu_seconds"] for row in self.home.platform.get_user_statistics()}
        for user, usage in expected.items():
            assert math.isclose(told[user], usage, rel_tol=1e-6, abs_tol=1e-3), (user, told[user], usage)

    @invariant()
    def the_books_are_in_order(self) -> None:
        if hasattr(self, "home"):
            assert check(self.home.evidence()) == []

    @invariant()
    def whoever_holds_nothing_is_charged_nothing(self) -> None:
        if hasattr(self, "home"):
            holders = {job.user for job in self.home.platform.alive() if lease_of(job.state)}
            rates = {user: account.rate for user, account in self.home.journal.accounts().items()}
            assert all(rate == 0.0 for user, rate in rates.items() if user not in holders)

    @invariant()
    def every_change_was_told_once_and_in_order(self) -> None:
        told = [job.seq for job in getattr(self, "told", [])]
        assert told == sorted(set(told))
        if told:
            assert told[-1] == self.home.journal.last_seq()

    # --- helpers ---

    def take(
        self,
        job_id: JobId,
        command: Callable[[], Job],
        becomes: StateName,
        actor: Actor | None = None,
        *,
        allowed: bool = True,
    ) -> None:
        """Run a command that ends in `becomes`: where that is no legal arrow it must raise and change nothing."""
        before, story = self.home.platform.job(job_id), self.home.platform.story(job_id)
        actors = ARROWS.get((before.state.name, becomes), frozenset())
        # An arrow may exist for somebody else: the Provider cannot cancel, though the user can.
        if allowed and (actor in actors if actor else actors):
            after = command()
            assert after.state.name is becomes
            assert after.seq > before.seq
            assert self.home.platform.job(job_id) == after
            if isinstance(after.state, Ended):
                self.finals[job_id] = after
        else:
            count = len(self.told)
            with pytest.raises(WrongState):
                command()
            assert self.home.platform.job(job_id) == before
            assert self.home.platform.story(job_id) == story
            assert len(self.told) == count

    def observable(self) -> list[Any]:
        """All that can be asked of the platform but for the reasons of waiting, which the next decision gives anew."""
        platform = self.home.platform
        return [
            sorted(platform.alive(), key=lambda job: job.id),
            [platform.job(JobId(n)) for n in range(1, self.submitted + 1)],
            [platform.story(JobId(n)) for n in range(1, self.submitted + 1)],
            platform.get_running_info(),
            platform.get_completed_containers_info(1000),
            platform.get_user_statistics(),
            platform.get_dopq_status(),
            platform.queue_lock(),
            platform.unpublished(),
            platform.wait_for_change(0, 0.0),
            platform.decide(ROOM).starts,
        ]


Life.TestCase.settings = settings(max_examples=100, stateful_step_count=40)
TestLife = Life.TestCase


# --- by name, what the machine shows by chance ---


@pytest.fixture
def home(tmp_path: Path) -> Any:
    home = Home(tmp_path, QueueSettings(half_life_s=HALF_LIFE_S))
    yield home
    home.platform.assert_consistent()
    home.close()


def test_a_gpu_that_was_given_away_since_the_decision_is_refused(home: Home) -> None:
    home.starting(ANNA, frozenset({gpu(0)}))
    waits = home.queued(BERT, gpus=1)
    with pytest.raises(WrongState, match="GPU-0 is held"):
        home.platform.begin(waits.id, frozenset({gpu(0)}))


def test_a_cancelled_job_gives_its_gpus_back_when_its_container_is_gone(home: Home) -> None:
    job = home.running(ANNA, frozenset({gpu(0)}))
    home.platform.cancel(job.id, "anna")
    with pytest.raises(WrongState):
        home.starting(BERT, frozenset({gpu(0)}))
    home.platform.finish(job.id, StateName.CANCELLED, WHY, at=home.clock.now())
    home.starting(BERT, frozenset({gpu(0)}))


def test_a_gpu_whose_processes_are_gone_is_free_though_the_engine_has_not_told_how_the_job_ended(home: Home) -> None:
    job = home.running(ANNA, frozenset({gpu(0)}))
    over = home.platform.end_lease(job.id, attempt=1)
    next_one = home.starting(BERT, frozenset({gpu(0)}))
    [told] = home.platform.describe([over])
    assert (told["state"], told["gpus"]) == ("running", [])
    assert [job.id for job in home.platform.leased()] == [next_one.id]
    assert [row["id"] for row in home.platform.get_running_info()] == [job.id, next_one.id]
    assert home.platform.finish(job.id, StateName.SUCCEEDED, WHY, at=home.clock.now()).state.name == "succeeded"
    home.platform.assert_consistent()


def test_the_lease_of_a_former_attempt_ends_no_other(home: Home) -> None:
    job = home.queued(ANNA, gpus=1, retries=1)
    home.platform.begin(job.id, frozenset({gpu(0)}))
    home.platform.try_again(job.id, GONE)
    home.platform.begin(job.id, frozenset({gpu(0)}))
    runs = home.platform.mark_running(job.id, home.clock.now())
    assert home.platform.end_lease(job.id, attempt=1) == runs
    assert gpus_held(home.platform.job(job.id).state) == {gpu(0)}


def test_what_is_used_counts_until_the_process_was_gone_whatever_the_engine_says_later(home: Home) -> None:
    job = home.running(ANNA, frozenset({gpu(0)}))
    home.clock.advance(600)
    home.platform.end_lease(job.id, attempt=1)
    home.clock.advance(3600)
    ended = home.platform.finish(job.id, StateName.SUCCEEDED, WHY, at=home.clock.now(), exit_code=0)
    assert home.platform.describe([ended])[0]["gpu_seconds"] == 600.0


def test_a_fault_of_ours_that_comes_to_light_after_the_lease_is_paid_back_in_full(home: Home) -> None:
    job = home.running(ANNA, frozenset({gpu(0)}))
    home.clock.advance(600)
    home.platform.end_lease(job.id, attempt=1)
    home.clock.advance(600)
    home.platform.finish(job.id, StateName.FAILED, GONE, at=home.clock.now())
    assert home.journal.accounts()[ANNA].usage == pytest.approx(0.0, abs=1e-6)


def test_who_cancels_a_job_whose_process_is_gone_is_heard_should_it_have_been_tried_again(home: Home) -> None:
    job = home.queued(ANNA, gpus=1, retries=1)
    home.platform.begin(job.id, frozenset({gpu(0)}))
    home.platform.mark_running(job.id, home.clock.now())
    home.platform.end_lease(job.id, attempt=1)
    assert home.platform.cancel(job.id, "anna").state.name is StateName.STOPPING
    assert home.platform.try_again(job.id, GONE) is None


def test_time_after_the_end_of_a_process_is_not_charged_though_the_node_was_down(home: Home) -> None:
    job = home.running(ANNA, frozenset({gpu(0)}))
    home.clock.advance(600)
    ended_at = home.clock.now()
    home.clock.advance(86_400)
    home.restart()
    ended = home.platform.finish(job.id, StateName.SUCCEEDED, WHY, at=ended_at, exit_code=0)
    usage_s = home.platform.get_user_statistics()[0]["usage_gpu_seconds"]
    used = usage_at(Account(rate=1.0), 600, HALF_LIFE_S)
    assert usage_s == pytest.approx(usage_at(Account(used), 86_400, HALF_LIFE_S), rel=1e-3)
    assert home.platform.describe([ended])[0]["gpu_seconds"] == 600.0


def test_a_changed_rate_for_cpu_jobs_leaves_no_charge_behind(home: Home) -> None:
    job = home.running(ANNA)
    home.restart(QueueSettings(half_life_s=HALF_LIFE_S, cpu_job_rate=0.001))
    home.platform.finish(job.id, StateName.SUCCEEDED, WHY, at=home.clock.now())
    assert home.journal.accounts()[ANNA].rate == 0.0


def test_a_lock_ends_by_itself(home: Home) -> None:
    home.platform.exec_dopq_lock_state("olga", "new disks", timedelta(minutes=1))
    assert home.platform.decide(ROOM).view.stopped is not None
    home.clock.advance(61)
    assert home.platform.queue_lock() is None
    assert home.platform.decide(ROOM).view.stopped is None


def test_a_lock_that_cannot_be_written_does_not_lock(home: Home) -> None:
    home.database.rows("PRAGMA query_only=ON")
    with pytest.raises(DopqError):
        home.platform.exec_dopq_lock_state("olga", "new disks", timedelta(minutes=1))
    home.database.rows("PRAGMA query_only=OFF")
    assert home.platform.queue_lock() is None


def test_a_change_that_cannot_be_written_is_not_made(home: Home) -> None:
    job = home.running(ANNA, frozenset({gpu(0)}))
    home.database.rows("PRAGMA query_only=ON")
    with pytest.raises(DopqError):
        home.platform.finish(job.id, StateName.SUCCEEDED, WHY, at=home.clock.now())
    home.database.rows("PRAGMA query_only=OFF")
    assert home.platform.job(job.id) == job


def test_a_clock_that_stepped_back_does_not_end_a_job_before_its_beginning(home: Home) -> None:
    job = home.running(ANNA, frozenset({gpu(0)}))
    home.clock.advance(-3600)
    ended = home.platform.finish(job.id, StateName.SUCCEEDED, WHY, at=home.clock.now())
    assert home.platform.describe([ended])[0]["gpu_seconds"] == 0.0


def test_a_drained_node_starts_nothing_until_told_otherwise_also_after_a_restart(home: Home) -> None:
    home.platform.drain("olga", "new disks")
    home.restart()
    stopped = home.platform.decide(ROOM).view.stopped
    assert stopped == Reason("draining", "olga drains the node, nothing new starts: new disks.")
    home.platform.undrain()
    home.restart()
    assert home.platform.decide(ROOM).view.stopped is None


# --- finding a job by what people type ---


def test_a_job_is_found_by_number_by_name_and_as_the_newest(home: Home) -> None:
    first, second = home.queued(ANNA, name="iris"), home.queued(ANNA, name="mnist")
    find = home.platform.find
    assert find(str(first.id), BERT).id == first.id
    assert find("iris", ANNA).id == first.id
    assert find(" @ ", ANNA).id == second.id
    assert find("@~1", ANNA).id == first.id


@pytest.mark.parametrize("reference", ["7", "nobody", "@", "@~5", "@~", "", "0", "-1", "²", "9" * 40, "@~" + "9" * 40])
def test_what_means_no_job_is_not_found(home: Home, reference: str) -> None:
    home.building(ANNA)
    with pytest.raises(DopqError) as refused:
        home.platform.find(reference, BERT)
    assert refused.value.code == "not_found"


def test_my_own_job_comes_before_another_users_of_that_name(home: Home) -> None:
    mine = home.queued(ANNA, name="train")
    home.queued(BERT, name="train")
    assert home.platform.find("train", ANNA).id == mine.id


def test_a_name_that_several_waiting_jobs_have_is_not_guessed(home: Home) -> None:
    jobs = [home.queued(ANNA, name="train") for _ in range(2)]
    with pytest.raises(DopqError, match=f"{jobs[1].id}, {jobs[0].id}"):
        home.platform.find("train", ANNA)


def test_many_jobs_of_others_do_not_hide_my_own_of_that_name(home: Home) -> None:
    mine = home.queued(ANNA, name="train")
    for _ in range(120):
        home.platform.cancel(home.queued(BERT, name="train").id, "bert")
    assert home.platform.find("train", ANNA).id == mine.id
