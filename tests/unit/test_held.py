"""A job that is kept back: for want of space before its build, or by somebody before its start."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from dopq.data_platform import DataPlatform
from dopq.errors import NotAllowed, WrongState
from dopq.job import Building, Ended, Held, Job, JobId, JobSpec, Queued, Reason, StateName, work_of
from dopq.report import status_text
from dopq.room import Capacity
from dopq.users import User
from tests.platforms import ANNA, IMAGE, OLGA, Home

ROOM = Capacity(places=3)
FULL = Reason("waiting_for_space", "held: waiting for space: 3.1 GiB free at /var/lib/docker, needs 10 GiB")


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Home]:
    home = Home(tmp_path)
    yield home
    home.platform.assert_consistent()
    home.close()


def test_a_held_job_says_why_and_survives_a_restart(home: Home) -> None:
    job = home.platform.hold(home.building().id, FULL)
    [kept] = home.restart().alive()
    assert kept == job
    [told] = home.platform.describe([kept])
    assert (told["state"], told["reason"]["code"]) == ("held", "waiting_for_space")
    assert "3.1 GiB free at /var/lib/docker" in status_text(kept)


def test_a_held_job_goes_on_to_be_built(home: Home) -> None:
    job = home.building()
    home.platform.hold(job.id, FULL)
    assert isinstance(home.platform.resume(job.id).state, Building)
    assert [event.new for event in home.platform.story(job.id)] == ["building", "held", "building"]


def test_holding_and_resuming_twice_leaves_one_entry_each(home: Home) -> None:
    job = home.building()
    for _ in range(2):
        home.platform.hold(job.id, FULL)
    for _ in range(2):
        home.platform.resume(job.id)
    assert len(home.platform.story(job.id)) == 3


def test_a_held_job_can_be_cancelled(home: Home) -> None:
    job = home.platform.hold(home.building().id, FULL)
    assert home.platform.cancel(job.id, by=ANNA).state.name is StateName.CANCELLED
    another = home.platform.hold(home.building().id, FULL)
    [taken_out] = home.platform.update_enqueued_container_list([another.id], by=ANNA)
    assert isinstance(taken_out.state, Ended)


def test_a_queued_job_is_not_held_by_the_provider(home: Home) -> None:
    with pytest.raises(WrongState, match="queued"):
        home.platform.hold(home.queued().id, FULL)


def test_held_jobs_are_listed_behind_the_queue(home: Home) -> None:
    held = home.platform.hold(home.building().id, FULL)
    waiting = home.queued()
    assert isinstance(held.state, Held)
    assert [job["id"] for job in home.platform.get_enqueued_container_list()] == [waiting.id, held.id]


# --- by people ---


def test_a_job_that_its_user_holds_does_not_start_and_does_when_released(home: Home) -> None:
    job, anna = home.queued(), home.user(ANNA)
    held = home.platform.put_on_hold(job.id, anna)
    assert (held.state.name, home.platform.decide(ROOM).starts) == (StateName.HELD, ())
    assert home.platform.describe([held])[0]["reason"]["code"] == "held_by_user"
    home.restart().release(job.id, anna)
    assert [start.job for start in home.platform.decide(ROOM).starts] == [job.id]


def test_what_an_admin_holds_only_an_admin_releases(home: Home) -> None:
    job, anna, olga = home.queued(), home.user(ANNA), home.user(OLGA)
    home.platform.put_on_hold(job.id, anna)
    assert home.platform.put_on_hold(job.id, olga).state.name is StateName.HELD
    home.platform.put_on_hold(job.id, anna)  # leaves it with the admin
    with pytest.raises(NotAllowed, match="an admin"):
        home.platform.release(job.id, anna)
    assert isinstance(home.platform.release(job.id, olga).state, Queued)


def test_an_admin_releases_what_a_user_holds(home: Home) -> None:
    job = home.queued()
    home.platform.put_on_hold(job.id, home.user(ANNA))
    assert isinstance(home.platform.release(job.id, home.user(OLGA)).state, Queued)


def test_a_job_that_is_held_while_it_is_built_stays_held_with_its_image(home: Home) -> None:
    job = home.building()
    home.platform.put_on_hold(job.id, home.user(ANNA))
    built = home.platform.enqueue(job.id, JobSpec("iris"), IMAGE, has_input=False)
    assert isinstance(built.state, Held)
    assert (built.name, built.state.work is not None) == ("iris", True)
    assert isinstance(home.platform.release(job.id, home.user(ANNA)).state, Queued)


def test_a_job_that_is_released_before_its_image_stands_is_building_again(home: Home) -> None:
    job = home.building()
    home.platform.put_on_hold(job.id, home.user(ANNA))
    assert isinstance(home.platform.release(job.id, home.user(ANNA)).state, Building)
    assert isinstance(home.platform.enqueue(job.id, JobSpec("iris"), IMAGE, has_input=False).state, Queued)


def test_a_held_job_whose_bundle_is_no_good_ends(home: Home) -> None:
    job = home.building()
    home.platform.put_on_hold(job.id, home.user(ANNA))
    refused = home.platform.reject(job.id, StateName.INVALID, Reason("bundle_rejected", "No Dockerfile."))
    assert refused.state.name is StateName.INVALID


def test_space_that_comes_back_does_not_release_what_somebody_holds(home: Home) -> None:
    job = home.platform.hold(home.building().id, FULL)
    held = home.platform.put_on_hold(job.id, home.user(ANNA))
    assert home.platform.resume(job.id) == held
    assert isinstance(home.platform.release(job.id, home.user(ANNA)).state, Building)


def test_nobody_releases_what_waits_for_space(home: Home) -> None:
    job = home.platform.hold(home.building().id, FULL)
    with pytest.raises(WrongState, match="space"):
        home.platform.release(job.id, home.user(OLGA))


@pytest.mark.parametrize("command", [DataPlatform.put_on_hold, DataPlatform.release])
def test_a_job_that_was_started_is_neither_held_nor_released(
    home: Home, command: Callable[[DataPlatform, JobId, User], Job]
) -> None:
    for job in (home.running(), home.ended()):
        with pytest.raises(WrongState):
            command(home.platform, job.id, home.user(ANNA))


def test_holding_and_releasing_twice_is_fine(home: Home) -> None:
    job, anna = home.queued(), home.user(ANNA)
    before = len(home.platform.story(job.id))
    for command in (home.platform.put_on_hold, home.platform.release):
        assert command(job.id, anna) == command(job.id, anna)
    assert len(home.platform.story(job.id)) == before + 2


def test_the_time_for_which_a_job_is_held_does_not_count_as_waiting(home: Home) -> None:
    first = home.queued()
    home.clock.advance(600)
    home.platform.put_on_hold(first.id, home.user(ANNA))
    home.clock.advance(3600)
    second = home.queued()
    home.clock.advance(300)
    released = home.platform.release(first.id, home.user(ANNA))
    work = work_of(released.state)
    assert work is not None
    assert (home.clock.now() - work.queued_at).total_seconds() == 600
    home.platform.decide(Capacity(places=0))
    assert [job["id"] for job in home.platform.get_enqueued_container_list()] == [first.id, second.id]


def test_a_clock_that_stepped_back_gives_a_held_job_no_wait_as_a_present(home: Home) -> None:
    job = home.queued()
    held = home.platform.put_on_hold(job.id, home.user(ANNA))
    home.clock.advance(-3600)
    released = home.platform.release(job.id, home.user(ANNA))
    assert work_of(released.state) == work_of(held.state)
