"""When a node stops starting jobs of itself: jobs of several users die at their start, one after the other."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import cycle
from pathlib import Path

import pytest

from dopq.early_failures import EARLY_S, EarlyFailures
from dopq.job import Job, Reason, StateName, UserName
from tests.platforms import ANNA, BERT, Home

MOST = 3
FAILED = Reason("exit_code", "It ended with exit code 1.")


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Home]:
    home = Home(tmp_path)
    yield home
    home.close()


@pytest.fixture
def counted(home: Home) -> EarlyFailures:
    counted = EarlyFailures(MOST)
    home.platform.subscribe(counted.note)
    return counted


def dies(home: Home, user: UserName, after_s: float = 1.0) -> Job:
    job = home.running(user)
    home.clock.advance(after_s)
    now, began = home.clock.now(), home.platform.job(job.id).state.started_at  # type: ignore[union-attr]
    return home.platform.finish(job.id, StateName.FAILED, FAILED, at=now, exit_code=1, started_at=began)


def test_jobs_of_two_users_that_die_one_after_the_other_are_too_many(home: Home, counted: EarlyFailures) -> None:
    jobs = [dies(home, user).id for user, _ in zip(cycle([ANNA, BERT]), range(MOST), strict=False)]
    assert counted.too_many == (
        f"the last 3 jobs of 2 users died within 10 s of their start ({', '.join(str(job) for job in jobs)})"
    )


def test_any_number_of_one_user_is_their_own_affair(home: Home, counted: EarlyFailures) -> None:
    for _ in range(MOST + 2):
        dies(home, ANNA)
    assert counted.too_many is None
    dies(home, BERT)
    assert counted.too_many


def test_fewer_are_chance(home: Home, counted: EarlyFailures) -> None:
    dies(home, ANNA)
    dies(home, BERT)
    assert counted.too_many is None


@pytest.mark.parametrize("end", ["succeeds", "dies late"])
def test_one_job_that_does_better_in_between_makes_all_well(home: Home, counted: EarlyFailures, end: str) -> None:
    dies(home, ANNA)
    dies(home, BERT)
    home.ended(user=ANNA) if end == "succeeds" else dies(home, ANNA, after_s=EARLY_S)
    dies(home, BERT)
    assert counted.too_many is None


def test_a_cancelled_job_says_nothing(home: Home, counted: EarlyFailures) -> None:
    dies(home, ANNA)
    dies(home, BERT)
    job = home.running(ANNA)
    home.platform.cancel(job.id, "anna")
    home.platform.finish(job.id, StateName.CANCELLED, FAILED, at=home.clock.now())
    dies(home, BERT)
    assert counted.too_many


def test_attempts_that_the_engine_refuses_count_each_and_once(home: Home, counted: EarlyFailures) -> None:
    dies(home, BERT)
    job = home.queued(ANNA, retries=5)
    for _ in range(2):
        home.clock.advance(3600)
        home.platform.begin(job.id, frozenset())
        assert counted.too_many is None
        home.platform.try_again(job.id, Reason("start_failed", "no such runtime"))
        home.platform.put_on_hold(job.id, home.user(ANNA))
        home.platform.release(job.id, home.user(ANNA))
    assert counted.too_many


def test_a_node_that_is_to_go_on_whatever_happens_does(home: Home) -> None:
    counted = EarlyFailures(0)
    home.platform.subscribe(counted.note)
    for user, _ in zip(cycle([ANNA, BERT]), range(9), strict=False):
        dies(home, user)
    assert counted.too_many is None


def test_after_it_was_told_it_begins_to_count_anew(home: Home, counted: EarlyFailures) -> None:
    for user, _ in zip(cycle([ANNA, BERT]), range(MOST), strict=False):
        dies(home, user)
    counted.forget()
    assert counted.too_many is None
