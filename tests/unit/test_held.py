"""A job that is kept back: held instead of built, and built as soon as the reason is gone."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from dopq.errors import WrongState
from dopq.job import Building, Ended, Held, Reason, StateName
from dopq.report import status_text
from tests.platforms import ANNA, Home

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
