"""The checker of the books: whatever is damaged it finds, and it names the job. What is in order it leaves alone:
that it says nothing of the real DataPlatform's journals is held in test_data_platform_machine.py, at every step.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dopq.images import Images
from dopq.invariants import INVARIANTS, check
from dopq.invariants.evidence import Evidence, Run
from dopq.job import FINAL, Actor, Ended, GpuId, Job, JobId, Lease, Reason, Running, StateName, UserName, lease_of
from dopq.penalty import Account
from dopq.store import Event
from tests.platforms import ANNA, BERT, IMAGE, OLGA, Home, gpu

GONE = Reason("container_gone", "Its container is gone.")


@pytest.fixture(scope="module")
def books(tmp_path_factory: pytest.TempPathFactory) -> Evidence:
    """A node with a past: jobs that ran, were tried again, run, wait, were refused and cancelled; all in order."""
    home = Home(tmp_path_factory.mktemp("home"))
    for user in (ANNA, BERT):
        home.ended(user=user, after_s=600)
        home.running(user, frozenset({gpu(0 if user is ANNA else 1)}))
        home.platform.cancel(home.queued(user).id, user)
        home.building(user)
    again = home.queued(BERT, retries=1)
    home.platform.begin(again.id, frozenset({gpu(2)}))
    home.platform.try_again(again.id, GONE)
    home.platform.reject(home.building(ANNA).id, StateName.INVALID, Reason("bundle_rejected", "No."))
    Images(home.database).add(JobId(1), IMAGE, "")
    home.platform.rerun("1", ANNA, "again")
    home.clock.advance(3600)
    evidence = home.evidence()
    home.close()
    runs = [Run(event.job, 1) for event in evidence.events if event.new is StateName.STARTING]
    alive = {Run(job.id, lease.attempt) for job in evidence.jobs if (lease := lease_of(job.state))}
    return replace(evidence, containers=alive, told={job.id: "a folder" for job in evidence.jobs}, witnessed=runs)


def _event(evidence: Evidence, data: st.DataObject, where: Callable[[Event], bool] = lambda _: True) -> Event:
    return data.draw(st.sampled_from([event for event in evidence.events if where(event)]))


def _job(evidence: Evidence, data: st.DataObject, where: Callable[[Job], bool] = lambda _: True) -> Job:
    return data.draw(st.sampled_from([job for job in evidence.jobs if where(job)]))


def _without(evidence: Evidence, event: Event) -> Evidence:
    return replace(evidence, events=[other for other in evidence.events if other != event])


def _with_changed(evidence: Evidence, old: Event, new: Event) -> Evidence:
    return replace(evidence, events=[new if event == old else event for event in evidence.events])


def _with_more(evidence: Evidence, job: JobId, old: StateName, new: StateName, lease: Lease | None = None) -> Evidence:
    """One more line of the journal, and the job's row with it."""
    seq = evidence.events[-1].seq + 1
    event = Event(seq, job, evidence.now, old, new, Actor.RUNNER, "sabotage", lease)
    return replace(evidence, events=[*evidence.events, event])


def _a_job_is_lost(evidence: Evidence, data: st.DataObject) -> tuple[Evidence, JobId]:
    job = _job(evidence, data)
    return replace(
        evidence,
        jobs=[other for other in evidence.jobs if other != job],
        events=[event for event in evidence.events if event.job != job.id],
    ), job.id


def _a_line_is_missing(evidence: Evidence, data: st.DataObject) -> tuple[Evidence, JobId]:
    event = _event(evidence, data, lambda event: event is not evidence.events[-1])
    following = next(other for other in evidence.events if other.seq == event.seq + 1)
    return _without(evidence, event), following.job


def _an_arrow_was_never_legal(evidence: Evidence, data: st.DataObject) -> tuple[Evidence, JobId]:
    event = _event(evidence, data, lambda event: event.new is StateName.STARTING)
    return _with_changed(evidence, event, replace(event, actor=Actor.PROVIDER)), event.job


def _a_job_begins_in_the_middle(evidence: Evidence, data: st.DataObject) -> tuple[Evidence, JobId]:
    event = _event(evidence, data, lambda event: event.old is None and event.new is StateName.BUILDING)
    return _with_changed(evidence, event, replace(event, new=StateName.RUNNING)), event.job


def _a_job_ends_again(evidence: Evidence, data: st.DataObject) -> tuple[Evidence, JobId]:
    job = _job(evidence, data, lambda job: job.state.name in FINAL)
    return _with_more(evidence, job.id, job.state.name, data.draw(st.sampled_from(sorted(FINAL)))), job.id


def _a_row_is_behind_its_story(evidence: Evidence, data: st.DataObject) -> tuple[Evidence, JobId]:
    job = _job(evidence, data, lambda job: job.seq != evidence.events[0].seq)
    return _with_jobs(evidence, replace(job, seq=job.seq - 1)), job.id


def _a_row_holds_another_lease(evidence: Evidence, data: st.DataObject) -> tuple[Evidence, JobId]:
    job = _job(evidence, data, lambda job: isinstance(job.state, Running))
    assert isinstance(job.state, Running)
    lease = replace(job.state.lease, gpus=frozenset({GpuId("GPU-other")}))
    return _with_jobs(evidence, replace(job, state=replace(job.state, lease=lease))), job.id


def _a_gpu_is_given_twice(evidence: Evidence, data: st.DataObject) -> tuple[Evidence, JobId]:
    holder = _job(evidence, data, lambda job: isinstance(job.state, Running))
    waits = _job(evidence, data, lambda job: job.state.name is StateName.QUEUED)
    lease = lease_of(holder.state)
    assert lease is not None
    part = data.draw(st.floats(0.01, 1.0))
    return _with_more(evidence, waits.id, StateName.QUEUED, StateName.STARTING, replace(lease, part=part)), waits.id


def _a_container_is_gone(evidence: Evidence, data: st.DataObject) -> tuple[Evidence, JobId]:
    assert evidence.containers is not None
    run = data.draw(st.sampled_from(sorted(evidence.containers)))
    return replace(evidence, containers=set(evidence.containers) - {run}), run.job


def _a_container_is_left(evidence: Evidence, data: st.DataObject) -> tuple[Evidence, JobId]:
    assert evidence.containers is not None
    old = [event.job for event in evidence.events if event.new in FINAL]
    job = data.draw(st.sampled_from([*old, JobId(4711)]))
    return replace(evidence, containers={*evidence.containers, Run(job, 1)}), job


def _a_run_was_never_decided_on(evidence: Evidence, data: st.DataObject) -> tuple[Evidence, JobId]:
    run = Run(_job(evidence, data).id, data.draw(st.integers(2, 5)))
    return replace(evidence, witnessed=[*(evidence.witnessed or ()), run]), run.job


def _an_attempt_ran_twice(evidence: Evidence, data: st.DataObject) -> tuple[Evidence, JobId]:
    assert evidence.witnessed is not None
    run = data.draw(st.sampled_from(sorted(evidence.witnessed)))
    return replace(evidence, witnessed=[*evidence.witnessed, run]), run.job


def _a_success_was_never_seen(evidence: Evidence, data: st.DataObject) -> tuple[Evidence, JobId]:
    job = _job(evidence, data, lambda job: isinstance(job.state, Ended) and job.state.name is StateName.SUCCEEDED)
    return replace(evidence, witnessed=[run for run in evidence.witnessed or () if run.job != job.id]), job.id


def _an_account_is_wrong(evidence: Evidence, data: st.DataObject) -> tuple[Evidence, None]:
    user = data.draw(st.sampled_from([ANNA, BERT, OLGA]))
    known = evidence.accounts.get(user, Account(as_of=evidence.now.timestamp()))
    evidence.ledger.put(UserName(user), replace(known, usage=known.usage + data.draw(st.floats(100, 1e6))))
    return evidence, None


def _with_jobs(evidence: Evidence, *changed: Job) -> Evidence:
    new = {job.id: job for job in changed}
    return replace(evidence, jobs=[new.get(job.id, job) for job in evidence.jobs])


DAMAGES = {
    _a_job_is_lost: "lost",
    _a_line_is_missing: "gap",
    _an_arrow_was_never_legal: "illegal_change",
    _a_job_begins_in_the_middle: "illegal_change",
    _a_job_ends_again: "second_end",
    _a_row_is_behind_its_story: "unlike_its_story",
    _a_row_holds_another_lease: "unlike_its_story",
    _a_gpu_is_given_twice: "held_twice",
    _a_container_is_gone: "no_container",
    _a_container_is_left: "no_lease",
    _a_run_was_never_decided_on: "unrecorded_start",
    _an_attempt_ran_twice: "ran_twice",
    _a_success_was_never_seen: "unseen_start",
    _an_account_is_wrong: "miscounted",
}


def test_books_in_order_are_left_alone(books: Evidence) -> None:
    assert check(books) == []


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.__name__.strip("_"))
@given(data=st.data())
@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_is_damaged_is_found_and_named(
    books: Evidence, damage: Callable[[Evidence, st.DataObject], tuple[Evidence, JobId | None]], data: st.DataObject
) -> None:
    accounts = dict(books.accounts)
    damaged, job = damage(books, data)
    found = check(damaged)
    for user in (ANNA, BERT, OLGA):  # the one damage that is not in a copy
        books.ledger.put(user, accounts.get(user, Account(as_of=books.now.timestamp())))
    assert (DAMAGES[damage], job) in {(finding.code, finding.job) for finding in found}


def test_every_invariant_has_a_damage_that_breaks_it(books: Evidence) -> None:
    assert len(INVARIANTS) <= len(set(DAMAGES.values()))


@pytest.mark.parametrize(("after_s", "codes"), [(59, set()), (61, {"no_container", "no_lease"})])
def test_an_engine_has_a_minute_to_make_and_to_remove_a_container(
    tmp_path: Path, after_s: int, codes: set[str]
) -> None:
    home = Home(tmp_path)
    over = home.ended(after_s=0)
    home.starting(BERT)
    home.clock.advance(after_s)
    evidence = replace(home.evidence(), containers={Run(over.id, 1)})
    home.close()
    assert {finding.code for finding in check(evidence)} == codes


def test_an_engine_that_does_not_answer_proves_nothing(books: Evidence) -> None:
    assert check(replace(books, containers=None)) == []


def test_who_is_asked_about_an_attempt_that_followed_another_knows_its_gpus(tmp_path: Path) -> None:
    home = Home(tmp_path)
    job = home.queued(ANNA, gpus=1, retries=1)
    home.platform.begin(job.id, frozenset({gpu(0)}))
    home.platform.try_again(job.id, GONE)
    home.clock.advance(60)
    home.platform.begin(job.id, frozenset({gpu(1)}))
    assert [event.lease.gpus for event in home.platform.story(job.id) if event.lease] == [{gpu(0)}, {gpu(1)}]
    home.close()
