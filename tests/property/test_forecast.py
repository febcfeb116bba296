"""A forecast is what the queue itself would do, changes nothing, and is the same for the same situation."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dopq.band import Band, band_of
from dopq.calibration import ENOUGH, OUTSIDE, Calibration
from dopq.course import Course, Fairness, Running, Situation
from dopq.forecast import forecast
from dopq.job import GpuId, JobId, Reason, UserName
from dopq.lines import Queue, Turn, Waiting
from dopq.order import Policy, by_limit
from dopq.queue_model import View, decide
from dopq.reservation import Holding
from dopq.room import Capacity, Demand
from dopq.run_times import RunTimes
from dopq.simulation.replay import Setting, replay
from dopq.simulation.trace import TracedJob

NOW_S = 1e6
GPUS = [GpuId(f"GPU-{number}") for number in range(4)]
ANNA, BERT, CLEO = map(UserName, ("anna", "bert", "cleo"))

jobs = st.builds(
    Waiting,
    id=st.just(JobId(0)),
    user=st.sampled_from([ANNA, BERT, CLEO]),
    demand=st.integers(0, 5).map(Demand),
    priority=st.integers(-1, 1),
    queued_at_s=st.floats(NOW_S - 1e5, NOW_S),
    limit_s=st.floats(1.0, 1e5),
    name=st.sampled_from(["a", "b"]),
)


@st.composite
def situations(draw: st.DrawFn) -> Situation:
    """A node of four GPUs as some decision has left it."""
    queue = Queue()
    for number, job in enumerate(draw(st.lists(jobs, max_size=12)), start=1):
        queue.add(numbered(job, number))
    places = draw(st.integers(1, 4))
    view = View(NOW_S - draw(st.floats(0.0, 2e5)), Capacity(frozenset(GPUS), places=places))
    held = decide(queue, view).holding
    running = tuple(Running(it, job, len(it.gpus) or 0.05) for it in held if (job := queue.remove(it.id)))
    policy = draw(st.sampled_from(Policy))
    return situation(*queue, running=running, places=places, policy=policy)


def numbered(job: Waiting, number: int) -> Waiting:
    return Waiting(JobId(number), job.user, job.demand, job.priority, job.queued_at_s, job.limit_s, job.name)


def situation(
    *waiting: Waiting,
    running: tuple[Running, ...] = (),
    places: int = 9,
    policy: Policy = Policy.FAIRSHARE,
    stopped: Reason | None = None,
) -> Situation:
    view = View(NOW_S, Capacity(frozenset(GPUS), places=places), tuple(it.held for it in running), stopped=stopped)
    return Situation(view, running, waiting, (Turn(ANNA, True, NOW_S - 5.0),), Fairness(policy))


def job(number: int, gpus: int, limit_s: float = 100.0, user: UserName = ANNA) -> Waiting:
    return Waiting(JobId(number), user, Demand(gpus), 0, NOW_S - 10.0, limit_s)


def runs(waiting: Waiting, ago_s: float) -> Running:
    gpus = frozenset(GPUS[: waiting.demand.gpus])
    held = Holding(waiting.id, waiting.user, waiting.demand, gpus, NOW_S - ago_s, waiting.limit_s)
    return Running(held, waiting, len(gpus) or 0.05)


def draws(*factors: float) -> list[Callable[[Waiting], float]]:
    def by(factor: float) -> Callable[[Waiting], float]:
        return lambda job: max(1.0, job.limit_s * factor)

    return [by(factor) for factor in factors]


# --- forecasts ---


@given(situations())
def test_a_forecast_is_a_band_in_order_for_each_job_that_can_ever_run_and_for_no_other(it: Situation) -> None:
    bands = forecast(it, draws(0.3, 1.0, 0.7))
    possible = {job.id for job in it.waiting if job.demand.gpus <= len(GPUS)}
    assert set(bands) == possible
    assert all(0 <= low <= middle <= high for low, middle, high in bands.values())


@given(situations())
def test_the_same_situation_has_the_same_forecast_whatever_the_order_in_which_it_is_told(it: Situation) -> None:
    other = Situation(it.view, it.running[::-1], it.waiting[::-1], it.turns, it.fairness)
    assert forecast(it, draws(1.0, 0.5)) == forecast(it, draws(1.0, 0.5)) == forecast(other, draws(1.0, 0.5))


@given(situations())
def test_whoever_is_asked_about_alone_hears_the_same_as_among_all(it: Situation) -> None:
    bands = forecast(it, draws(0.8, 1.0))
    assert all(forecast(it, draws(0.8, 1.0), [job_id]) == {job_id: band} for job_id, band in bands.items())


def test_a_job_alone_on_a_busy_node_starts_when_the_holder_ends() -> None:
    it = situation(job(2, 1), running=(runs(job(1, 4), ago_s=30.0),))
    assert forecast(it, draws(1.0)) == {JobId(2): Band(70.0, 70.0, 70.0)}
    assert forecast(it, draws(0.5, 0.75, 1.0)) == {JobId(2): band_of([20.0, 45.0, 70.0])}


def test_a_holder_that_outlives_what_was_expected_takes_as_long_again_but_no_longer_than_its_limit() -> None:
    it = situation(job(2, 1), running=(runs(job(1, 4), ago_s=30.0),))
    assert forecast(it, draws(0.2)) == {JobId(2): Band(30.0, 30.0, 30.0)}
    it = situation(job(2, 1), running=(runs(job(1, 4), ago_s=80.0),))
    assert forecast(it, draws(0.2)) == {JobId(2): Band(20.0, 20.0, 20.0)}


def test_nothing_is_forecast_while_nothing_may_start() -> None:
    it = situation(job(2, 1), stopped=Reason("locked", "Locked by olga."))
    assert forecast(it, draws(1.0)) == {}


def test_what_no_course_reaches_within_its_decisions_has_no_forecast() -> None:
    it = situation(*(job(number, 4) for number in range(1, 9)))
    assert sorted(forecast(it, draws(1.0), decisions=3)) == [1, 2, 3]


@given(st.lists(st.tuples(st.sampled_from("ab"), st.integers(1, 4), st.floats(1.0, 1e4)), min_size=1, max_size=12))
def test_where_nobody_comes_later_the_queue_does_what_was_forecast(told: list[tuple[str, int, float]]) -> None:
    trace = [TracedJob(str(number), user, 0.0, gpus, run_s) for number, (user, gpus, run_s) in enumerate(told)]
    forecasts: list[dict[JobId, Band]] = []
    schedule = replay(
        trace,
        Setting(4),
        watcher=lambda moment: forecasts.append(forecast(moment.situation(), [by_limit])) if moment.joined else None,
    )
    waits = {JobId(number): run.start_s for number, run in enumerate(schedule) if run.start_s > 0}
    assert {job_id: band.p50_s for job_id, band in forecasts[0].items()} == pytest.approx(waits)


def test_a_course_leaves_the_situation_as_it_was() -> None:
    it = situation(job(2, 4), job(3, 1, user=BERT), running=(runs(job(1, 4), ago_s=30.0),))
    before = repr(it)
    Course(it, by_limit).starts([JobId(2), JobId(3)], 100)
    assert repr(it) == before


# --- run times ---


def test_draws_are_made_from_what_runs_differed_from_what_was_expected() -> None:
    run_times = RunTimes()
    assert run_times.drawn_s(job(1, 1), 0) == 100.0
    for run_s in (10.0, 10.0, 20.0):  # as expected, then twice that
        run_times.learn(job(0, 1), run_s)
    expected_s = run_times.expected_s(job(1, 1))
    drawn = {round(run_times.drawn_s(job(number, 1), 0) / expected_s, 6) for number in range(50)}
    assert drawn == {1.0, 2.0}
    assert [run_times.drawn_s(job(1, 1), draw) for draw in range(9)] == [
        run_times.copy().drawn_s(job(1, 1), draw) for draw in range(9)
    ]
    assert all(run_times.drawn_s(job(number, 1, limit_s=12.0), 0) <= 12.0 for number in range(50))


# --- calibration ---

waits = st.floats(0.0, 1e7)
bands = st.lists(waits, min_size=1, max_size=5).map(band_of)


@given(st.lists(st.tuples(bands, waits), max_size=60), bands)
def test_a_corrected_band_stays_in_order_whatever_came_before(outcomes: list[tuple[Band, float]], it: Band) -> None:
    calibration = Calibration()
    for forecast_, waited_s in outcomes:
        calibration.learn(forecast_, calibration.corrector()(forecast_), waited_s)
    low, middle, high = calibration.corrector()(it)
    assert 0 <= low <= middle <= high


@given(st.floats(0.1, 10.0), st.integers(0, 2**32))
def test_eight_of_ten_starts_come_to_lie_in_the_band_however_wrong_the_forecasts_are(bias: float, seed: int) -> None:
    calibration, hits = Calibration(), 0
    for number in range(600):
        forecast_s = 3600.0 + (seed + number * 7919) % 100_000
        waited_s = bias * forecast_s * math.exp(math.sin(seed + number * number))
        it = Band(forecast_s, forecast_s, forecast_s)
        told = calibration.corrector()(it)
        hits += number >= 200 and waited_s in told
        calibration.learn(it, told, waited_s)
    assert hits / 400 == pytest.approx(1 - OUTSIDE, abs=0.05)


def test_what_was_learnt_survives_the_journal() -> None:
    calibration = Calibration()
    for number in range(ENOUGH):
        calibration.learn(Band(1.0, 2.0, 3.0), Band(1.0, 2.0, 3.0), 60.0 * number)
    again = Calibration.from_json(calibration.to_json())
    assert again.to_json() == calibration.to_json()
    assert again.corrector()(Band(60.0, 90.0, 100.0)) == calibration.corrector()(Band(60.0, 90.0, 100.0))


def test_whoever_had_the_gpu_that_counts_for_more_comes_later_in_the_course_too() -> None:
    """Both have one GPU first, then both want both: only the weights tell the users apart."""
    waiting = (job(1, 1), job(2, 1, user=BERT), job(3, 2), job(4, 2, user=BERT))
    last = set()
    for heavy in GPUS[:2]:
        capacity = Capacity(frozenset(GPUS[:2]), places=9, weights={heavy: 10.0})
        it = Situation(View(NOW_S, capacity, ()), (), waiting, (), Fairness(Policy.FAIRSHARE))
        starts = Course(it, lambda _: 100.0).starts([JobId(3), JobId(4)], 10)
        assert (starts[JobId(1)], starts[JobId(2)]) == (NOW_S, NOW_S)
        last.add(max((JobId(3), JobId(4)), key=starts.__getitem__))
    assert last == {JobId(3), JobId(4)}
