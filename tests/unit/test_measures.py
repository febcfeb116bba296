"""Figures of small schedules, by hand."""

from __future__ import annotations

import pytest

from dopq.simulation.measures import Waits, measure, share_error
from dopq.simulation.replay import Limits, Run, Setting, replay
from dopq.simulation.trace import TracedJob


def run(user: str, submit_s: float, start_s: float, end_s: float, gpus: int = 1) -> Run:
    return Run(TracedJob(f"{user}-{start_s}", user, submit_s, gpus, end_s - start_s), start_s, end_s)


def test_a_small_schedule_is_measured_as_by_hand() -> None:
    runs = [
        run("anna", 0.0, 0.0, 100.0),  # waits 0, slowdown 1
        run("anna", 0.0, 100.0, 120.0, gpus=2),  # waits 100, slowdown 120 / 20 = 6
        run("bert", 20.0, 120.0, 125.0),  # waits 100, and 105 / 10: so short a run counts as 10 s
        run("bert", 100.0, 130.0, 200.0),  # waits 30, slowdown 100 / 70
    ]
    measures = measure(runs, gpus=2)
    assert measures.waits == Waits(jobs=4, mean_s=57.5, p50_s=30.0, p99_s=100.0, max_s=100.0)
    assert measures.by_user == {
        "anna": Waits(2, 50.0, 0.0, 100.0, 100.0),
        "bert": Waits(2, 65.0, 30.0, 100.0, 100.0),
    }
    assert measures.mean_bounded_slowdown == pytest.approx((1 + 6 + 10.5 + 100 / 70) / 4)
    assert measures.gpu_seconds == {"anna": 140.0, "bert": 75.0}
    assert measures.utilisation == pytest.approx(215 / (2 * 200))


def test_a_quantile_is_the_smallest_wait_that_so_many_do_not_exceed() -> None:
    waits = measure([run("anna", 0.0, float(wait), wait + 1.0) for wait in range(1, 201)], gpus=1).waits
    assert (waits.p50_s, waits.p99_s, waits.max_s) == (100.0, 198.0, 200.0)


def test_jobs_without_gpus_wait_and_use_no_gpu() -> None:
    measures = measure([run("anna", 0.0, 5.0, 25.0, gpus=0)], gpus=0)
    assert (measures.utilisation, measures.share_error, measures.gpu_seconds) == (0.0, 0.0, {"anna": 0.0})
    assert measures.waits.mean_s == 5.0


# --- share error ---


def test_who_gets_all_while_two_wait_is_half_too_much() -> None:
    """From 0 to 100 both wait and anna alone is served: 100 GPU-seconds, where each should have had 50."""
    runs = [run("anna", 0.0, 0.0, 100.0), run("anna", 0.0, 100.0, 200.0), run("bert", 0.0, 100.0, 200.0)]
    assert share_error(runs) == pytest.approx(0.5)


def test_who_gets_a_quarter_too_little_is_a_quarter() -> None:
    """From 0 to 100 both wait; anna has 3 GPUs and bert has 1: 300 and 100, where each should have had 200."""
    runs = [
        run("anna", 0.0, 0.0, 100.0, gpus=3),
        run("bert", 0.0, 0.0, 100.0, gpus=1),
        run("anna", 0.0, 100.0, 200.0),
        run("bert", 0.0, 100.0, 200.0),
    ]
    assert share_error(runs) == pytest.approx(0.25)


def test_whoever_has_jobs_that_run_and_none_that_wait_should_have_had_nothing() -> None:
    """Cleo's job runs while anna and bert wait for 100 s: all of it is too much, half the sum is all of it."""
    runs = [run("cleo", 0.0, 0.0, 100.0, gpus=2), run("anna", 0.0, 100.0, 110.0), run("bert", 0.0, 100.0, 110.0)]
    assert share_error(runs) == pytest.approx(1.0)


def test_time_in_which_fewer_than_two_wait_does_not_count() -> None:
    """Anna's jobs had the node to themselves for 900 s; then both wait from 900 to 1000, with one GPU each."""
    runs = [
        run("anna", 0.0, 0.0, 900.0, gpus=2),
        run("anna", 0.0, 900.0, 1000.0),
        run("bert", 900.0, 900.0, 1000.0),
        run("anna", 900.0, 1000.0, 1100.0),
        run("bert", 900.0, 1000.0, 1100.0),
    ]
    assert share_error(runs) == 0.0


def test_turns_of_equal_length_come_out_even() -> None:
    runs = [run(user, 0.0, start_s, start_s + 10.0) for start_s, user in ((0, "anna"), (10, "bert"), (20, "anna"))]
    # Anna and bert wait until 10: all served went to anna. Bert has then no more waiting job, and nothing counts.
    assert share_error(runs) == pytest.approx(0.5)
    runs += [run(user, 0.0, 40.0, 50.0) for user in ("anna", "bert")]
    # Both wait until 40 now; of the 30 s that were served, anna had 20 and bert 10.
    assert share_error(runs) == pytest.approx(1 / 6)


# --- replays of small traces ---


def traced(
    job: str, user: str, submit_s: float, gpus: int, duration_s: float, limit_s: float | None = None
) -> TracedJob:
    return TracedJob(job, user, submit_s, gpus, duration_s, limit_s)


def starts(trace: list[TracedJob], setting: Setting) -> dict[str, float]:
    return {it.job.id: it.start_s for it in replay(trace, setting)}


def test_a_small_trace_is_replayed_as_by_hand() -> None:
    """On two GPUs: b needs both and waits for a; c ends before a does and passes b; d would not, and stays behind."""
    trace = [
        traced("a", "anna", 0.0, 1, 100.0),
        traced("b", "bert", 1.0, 2, 50.0),
        traced("c", "cleo", 2.0, 1, 98.0),
        traced("d", "dave", 3.0, 1, 10.0),
    ]
    assert starts(trace, Setting(gpus=2)) == {"a": 0.0, "b": 100.0, "c": 2.0, "d": 150.0}


def test_a_job_that_asks_for_more_than_there_is_is_left_out() -> None:
    assert starts([traced("a", "anna", 0.0, 3, 1.0), traced("b", "anna", 0.0, 1, 1.0)], Setting(gpus=2)) == {"b": 0.0}


def test_a_job_is_stopped_at_its_limit() -> None:
    trace = [traced("a", "anna", 0.0, 1, 500.0, limit_s=30.0), traced("b", "anna", 0.0, 1, 500.0)]
    ends = {it.job.id: it.end_s for it in replay(trace, Setting(gpus=2, max_limit_s=200.0))}
    assert ends == {"a": 30.0, "b": 200.0}
    ends = {it.job.id: it.end_s for it in replay(trace, Setting(gpus=2, max_limit_s=200.0, limits=Limits.NONE))}
    assert ends == {"a": 200.0, "b": 200.0}
