"""Jobs that run after others: once those have succeeded, or just ended; and never where that is in vain."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from dopq.images import Images
from dopq.job import (
    After,
    Dependency,
    Ended,
    Job,
    JobId,
    JobSpec,
    Outcome,
    Queued,
    Reason,
    StateName,
    UserName,
    work_of,
)
from dopq.room import Capacity
from tests.platforms import ANNA, BERT, IMAGE, Home

ROOM = Capacity(places=9)


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Home]:
    home = Home(tmp_path)
    yield home
    home.platform.assert_consistent()
    home.close()


def after(home: Home, *others: str, user: UserName = ANNA, name: str = "then") -> Job:
    """A job that is to run after others; `:any` after however they end."""
    wanted = tuple(After(other.removesuffix(":any"), other.endswith(":any")) for other in others)
    return home.platform.enqueue(home.building(user).id, JobSpec(name, after=wanted), IMAGE, has_input=False)


def end(home: Home, job: Job, outcome: Outcome = StateName.SUCCEEDED) -> None:
    home.platform.begin(job.id, frozenset())
    home.platform.mark_running(job.id, home.clock.now())
    home.platform.finish(job.id, outcome, Reason(outcome, "So."), at=home.clock.now())


def starts(home: Home) -> list[JobId]:
    return [start.job for start in home.platform.decide(ROOM).starts]


def test_it_starts_when_the_other_has_succeeded_and_not_before(home: Home) -> None:
    first = home.queued(name="prepare")
    then = after(home, "prepare")
    assert starts(home) == [first.id]
    assert home.platform.describe([then])[0]["reason"] == {
        "code": "waits_for_job",
        "sentence": "Waits for job 1 (prepare) to succeed.",
    }
    assert home.platform.explain(then.id)["waits_for"] == [first.id]
    end(home, first)
    assert starts(home) == [then.id]
    assert home.platform.explain(then.id)["waits_for"] == []


def test_it_waits_for_all_of_a_list_by_number_and_by_name(home: Home) -> None:
    one, two = home.queued(name="one"), home.queued(name="two")
    then = after(home, "one", str(two.id))
    end(home, one)
    assert then.id not in starts(home)
    end(home, two)
    assert starts(home) == [then.id]


def test_a_restart_forgets_nobody_who_is_waited_for(home: Home) -> None:
    first = home.queued(name="prepare")
    then = after(home, "prepare")
    home.restart()
    assert starts(home) == [first.id]
    end(home, first)
    home.restart()
    assert starts(home) == [then.id]


def test_it_is_cancelled_when_the_other_can_succeed_no_more_and_so_is_who_waits_for_it(home: Home) -> None:
    first = home.queued(name="prepare")
    then = after(home, "prepare")
    last = after(home, "then", name="last")
    end(home, first, StateName.FAILED)
    assert starts(home) == []
    home.restart()  # killed before the scheduler came to it
    for job in (then, last):
        home.platform.give_up_in_vain()
        state = home.platform.job(job.id).state
        assert isinstance(state, Ended)
        assert (state.outcome, state.reason.code) == (StateName.CANCELLED, "dependency_failed")
    assert "job 1 (prepare) had succeeded; that one is failed" in home.platform.story(then.id)[-1].cause


def test_with_any_it_starts_however_the_other_ends(home: Home) -> None:
    first = home.queued(name="prepare")
    then = after(home, "prepare:any")
    home.platform.cancel(first.id, "anna")
    home.platform.give_up_in_vain()
    assert starts(home) == [then.id]


def test_one_that_has_succeeded_already_is_not_waited_for(home: Home) -> None:
    end(home, home.queued(name="prepare"))
    then = after(home, "prepare")
    assert starts(home) == [then.id]


def test_one_that_is_held_while_the_other_fails_is_cancelled_when_it_is_released(home: Home) -> None:
    first, anna = home.queued(name="prepare"), home.user(ANNA)
    then = after(home, "prepare")
    home.platform.put_on_hold(then.id, anna)
    end(home, first, StateName.FAILED)
    home.platform.give_up_in_vain()
    assert home.platform.job(then.id).state.name is StateName.HELD
    home.platform.release(then.id, anna)
    home.platform.give_up_in_vain()
    assert home.platform.job(then.id).state.name is StateName.CANCELLED


def test_the_wait_for_another_is_no_wait_for_a_turn(home: Home) -> None:
    first = home.queued(name="prepare")
    then = after(home, "prepare")
    home.clock.advance(3600)
    newcomer = home.queued(name="newcomer")
    home.clock.advance(3600)
    end(home, first)
    home.running(BERT)
    home.platform.decide(Capacity(places=1))
    assert [job["id"] for job in home.platform.get_enqueued_container_list()] == [newcomer.id, then.id]


@pytest.mark.parametrize(
    ("wanted", "what"),
    [
        ("nobody", "there is no job called 'nobody'"),
        ("99", "there is no job 99"),
        ("3", "this is the job itself"),
        ("berts", "there is no job called 'berts'"),
        ("1", "1 is no job of anna"),
    ],
)
def test_a_bundle_that_is_to_run_after_no_job_of_its_user_is_invalid(home: Home, wanted: str, what: str) -> None:
    home.queued(BERT, name="berts")
    home.queued(name="mine")
    refused = after(home, wanted)
    assert isinstance(refused.state, Ended)
    assert refused.state.outcome is StateName.INVALID
    [problem] = refused.state.problems
    assert (problem.where, problem.what) == ("job.toml: after", what)


def test_a_name_that_several_waiting_jobs_have_is_not_guessed(home: Home) -> None:
    for _ in range(2):
        home.queued(name="prepare")
    refused = after(home, "prepare")
    assert isinstance(refused.state, Ended)
    assert "several jobs are called 'prepare': 2, 1" in refused.state.problems[0].what


def test_a_circle_is_found_when_it_closes(home: Home) -> None:
    late = home.building()
    middle = after(home, str(late.id), name="middle")
    after(home, str(middle.id), name="last")
    spec = JobSpec("late", after=(After("last"),))
    closed = home.platform.enqueue(late.id, spec, IMAGE, has_input=False)
    assert isinstance(closed.state, Ended)
    assert closed.state.problems[0].what == "job 3 itself waits for this one"


def test_its_own_name_of_old_means_the_job_before(home: Home) -> None:
    first = home.queued(name="train")
    again = after(home, "train", name="train")
    assert isinstance(again.state, Queued)
    assert again.state.work.after == (Dependency(first.id),)


def test_run_again_it_waits_for_nobody(home: Home) -> None:
    first = home.queued(name="prepare")
    then = after(home, "prepare")
    Images(home.database).add(then.id, IMAGE, "")
    end(home, first, StateName.FAILED)
    home.platform.give_up_in_vain()
    work = work_of(home.platform.rerun(str(then.id), ANNA, "rerun-0001").state)
    assert work is not None
    assert work.after == ()
