"""The settings' policy, fed with what happened on a node: what ran counts, what runs counts, what ended is learnt from."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from dopq.config import QueueSettings
from dopq.job import Job, Reason, StateName
from dopq.room import Capacity
from tests.platforms import ANNA, BERT, OLGA, Home, gpu

HOUR_S = 3600.0
TWO_GPUS = Capacity(frozenset({gpu(0), gpu(1)}), places=9)


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Home]:
    home = Home(tmp_path)
    yield home
    home.platform.assert_consistent()
    home.close()


def started(home: Home, capacity: Capacity = TWO_GPUS) -> list[int]:
    return [start.job for start in home.platform.decide(capacity).starts]


def run(home: Home, job: Job, seconds: float) -> None:
    """Start a job on whatever the queue gives it, and end it after a while."""
    (start,) = [it for it in home.platform.decide(TWO_GPUS).starts if it.job == job.id]
    home.platform.begin(start.job, start.gpus)
    begun = home.clock.now()
    home.platform.mark_running(job.id, begun)
    home.clock.advance(seconds)
    reason = Reason("succeeded", "It is done.")
    home.platform.finish(job.id, StateName.SUCCEEDED, reason, at=home.clock.now(), exit_code=0, started_at=begun)


def test_whoever_used_less_goes_first(home: Home) -> None:
    run(home, home.queued(ANNA, gpus=1), HOUR_S)
    annas, berts = home.queued(ANNA, gpus=2), home.queued(BERT, gpus=2)
    assert started(home) == [berts.id]
    assert annas.id not in started(home)


def test_more_weight_makes_the_same_usage_count_less(home: Home) -> None:
    run(home, home.queued(ANNA, gpus=1), HOUR_S)
    run(home, home.queued(BERT, gpus=1), HOUR_S / 2)
    annas, berts = home.queued(ANNA, gpus=2), home.queued(BERT, gpus=2)
    assert started(home) == [berts.id]
    home.users.set_weight(ANNA, 10.0)
    assert started(home) == [annas.id]


def test_what_runs_counts_for_what_it_is_expected_to_use(home: Home) -> None:
    """Both begin at once: by what they have used so far nobody could tell them apart."""
    for _ in range(2):
        run(home, home.queued(ANNA, gpus=1, name="long"), 10 * HOUR_S)
        run(home, home.queued(BERT, gpus=1, name="short"), 10 * HOUR_S)
    for _ in range(2):
        run(home, home.queued(BERT, gpus=1, name="short"), 60.0)
    home.queued(ANNA, gpus=1, name="long")
    home.queued(BERT, gpus=1, name="short")
    for start in home.platform.decide(TWO_GPUS).starts:
        home.platform.begin(start.job, start.gpus)
    home.queued(ANNA, gpus=1)
    berts = home.queued(BERT, gpus=1)
    assert started(home, Capacity(frozenset({gpu(0), gpu(1), gpu(2)}), places=9)) == [berts.id]


@pytest.mark.parametrize("policy", ["recency", "fifo"])
def test_other_policies_do_not_look_at_usage(tmp_path: Path, policy: str) -> None:
    home = Home(tmp_path, QueueSettings(policy=policy))
    run(home, home.queued(BERT, gpus=2), 10 * HOUR_S)
    run(home, home.queued(ANNA, gpus=1), 1.0)  # finished last, so `recency` puts anna behind
    annas, berts = home.queued(ANNA, gpus=2), home.queued(BERT, gpus=2)
    assert started(home) == [berts.id if policy == "recency" else annas.id]
    home.close()


def test_what_ended_before_is_known_to_the_next_life_of_the_node(tmp_path: Path) -> None:
    home = Home(tmp_path, QueueSettings(policy="recency"))
    run(home, home.queued(ANNA, gpus=1), 10.0)
    home.clock.advance(1)
    run(home, home.queued(BERT, gpus=1), 10.0)
    home.queued(BERT, gpus=2)
    annas = home.queued(ANNA, gpus=2)
    assert started(home) == [annas.id]
    home.restart()
    assert started(home) == [annas.id]
    home.close()


def test_a_turn_is_remembered_by_the_next_life_of_the_node(tmp_path: Path) -> None:
    """An oldest job is overdue from the last turn on, not from when it came; a restart does not make it overdue."""
    home = Home(tmp_path, QueueSettings(overdue_s=HOUR_S))
    first, _second = home.queued(ANNA, gpus=2), home.queued(ANNA, gpus=2)
    home.clock.advance(HOUR_S - 60.0)
    run(home, first, 120.0)
    light = home.queued(BERT, gpus=2)
    assert started(home) == [light.id], "anna had her turn two minutes ago"
    home.restart()
    assert started(home) == [light.id]
    home.clock.advance(2 * HOUR_S)
    assert started(home) != [light.id], "now hers is overdue for longer"
    home.close()


# --- GPUs that count for more -----------------------------------------------------------------------------------------

A_GPU_THAT_COUNTS_DOUBLE = replace(TWO_GPUS, weights={gpu(0): 2.0})


def test_a_second_of_a_gpu_that_counts_double_is_charged_double(home: Home) -> None:
    for user in (ANNA, BERT):
        home.queued(user, gpus=1)
    for start in home.platform.decide(A_GPU_THAT_COUNTS_DOUBLE).starts:
        home.platform.begin(start.job, start.gpus)
    home.clock.advance(100.0)
    usage = {row["user"]: row["usage_gpu_seconds"] for row in home.platform.get_user_statistics()}
    assert usage == pytest.approx({ANNA: 200.0, BERT: 100.0, OLGA: 0.0}, rel=1e-3)
    committed = {term["user"]: term["committed_gpu_seconds"] for term in home.platform.explain(1)["terms"]}
    assert committed[ANNA] == 2 * committed[BERT]


def test_what_a_lease_is_charged_was_settled_at_its_begin(home: Home) -> None:
    """Whatever the settings say when it ends: the refund is what was charged."""
    job = home.queued(ANNA, gpus=1)
    (start,) = home.platform.decide(A_GPU_THAT_COUNTS_DOUBLE).starts
    home.platform.begin(job.id, start.gpus)
    home.clock.advance(100.0)
    home.restart(QueueSettings(cpu_job_rate=7.0))
    home.platform.decide(TWO_GPUS)
    other = home.queued(ANNA)
    home.platform.begin(other.id, frozenset())
    home.clock.advance(100.0)
    gone = Reason("container_gone", "Its container is gone.")
    home.platform.finish(job.id, StateName.FAILED, gone, at=home.clock.now())
    home.platform.finish(other.id, StateName.FAILED, gone, at=home.clock.now())
    usage = {row["user"]: row["usage_gpu_seconds"] for row in home.platform.get_user_statistics()}
    assert usage[ANNA] == pytest.approx(0.0, abs=1e-6)


# --- what is told -----------------------------------------------------------------------------------------------------


def test_an_explanation_names_the_jobs_that_have_to_end_and_when_they_will(home: Home) -> None:
    holder = home.running(ANNA, frozenset({gpu(0), gpu(1)}))
    waits = home.queued(BERT, gpus=1, time_limit_s=60)
    home.platform.decide(TWO_GPUS)
    told = home.platform.explain(waits.id)
    assert told["waits_for"] == [holder.id]
    assert told["behind"] is None
    assert told["until"] is not None
    assert told["job"]["position"] == 1
    assert [term["user"] for term in told["terms"]] == [BERT, ANNA], (
        "also whose job it is, though they used nothing yet"
    )
    assert told["terms"][0]["expected_penalty"] == 0 < told["terms"][1]["expected_penalty"]


def test_an_explanation_of_a_job_that_does_not_wait_says_where_it_stands(home: Home) -> None:
    told = home.platform.explain(home.running().id)
    assert (told["job"]["state"], told["waits_for"], told["until"]) == ("running", [], None)


def test_a_job_that_came_after_the_decision_is_said_to_be_undecided(home: Home) -> None:
    home.platform.decide(TWO_GPUS)
    job = home.queued(ANNA, gpus=1)
    described = home.platform.describe([job])[0]
    assert described["reason"]["code"] == "undecided"


def test_a_user_at_the_bound_waits_for_their_own_jobs(tmp_path: Path) -> None:
    home = Home(tmp_path, QueueSettings(max_gpus_per_user=1))
    mine = home.running(ANNA, frozenset({gpu(0)}))
    waits = home.queued(ANNA, gpus=1)
    other = home.queued(BERT, gpus=1)
    assert started(home) == [other.id]
    reason = home.platform.explain(waits.id)
    assert reason["job"]["reason"]["code"] == "quota"
    assert reason["waits_for"] == [mine.id]
    home.close()
