"""What is expected of a job: what its like took last, bounded by its limit."""

from __future__ import annotations

import pytest

from dopq.run_times import SHORTEST_S, RunTimes
from tests.queues import ANNA, BERT, waiting


def learned(*runs: tuple[str, float]) -> RunTimes:
    times = RunTimes()
    for name, run_s in runs:
        times.learn(waiting(0, ANNA, name=name), run_s)
    return times


@pytest.mark.parametrize(
    ("runs", "expected_s"),
    [
        ([], 3600.0),  # nothing is known: its limit
        ([("train", 100.0)], 100.0),
        ([("train", 10.0), ("train", 1000.0)], 100.0),  # the geometric mean: square root of 10 x 1000
        ([("train", 7.0), ("train", 40.0), ("train", 90.0)], 60.0),  # the two newest alone: square root of 40 x 90
        ([("other", 50.0)], 50.0),  # nothing of that name: what the user's newest took
        ([("train", 20.0), ("other", 500.0), ("other", 500.0)], 20.0),  # its name says more than newer jobs do
        ([("train", 1e6)], 3600.0),  # never more than its limit
        ([("train", 0.0)], SHORTEST_S),  # nor nothing at all, by which nobody could divide
    ],
)
def test_a_job_is_expected_to_run_as_its_like_did(runs: list[tuple[str, float]], expected_s: float) -> None:
    assert learned(*runs).expected_s(waiting(1, name="train")) == pytest.approx(expected_s)


def test_a_job_without_a_name_goes_by_others_without_one() -> None:
    assert learned(("", 30.0), ("train", 900.0)).expected_s(waiting(1)) == pytest.approx(30.0)


def test_one_users_jobs_say_nothing_about_anothers() -> None:
    assert learned(("train", 100.0)).expected_s(waiting(1, BERT, name="train")) == 3600.0
