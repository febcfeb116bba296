"""A job that is run again: a new job with the settings and the image of one that has ended."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from dopq.errors import NotAllowed, NotFound, WrongState
from dopq.image_sweep import unneeded
from dopq.images import Images
from dopq.job import Actor, Job, Outcome, Queued, Reason, StateName, work_of
from dopq.room import Capacity
from tests.platforms import ANNA, BERT, IMAGE, Home

KEY = "rerun-0001"


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Home]:
    home = Home(tmp_path)
    yield home
    home.platform.assert_consistent()
    home.close()


def ended(home: Home, outcome: Outcome = StateName.SUCCEEDED) -> Job:
    """A job that has ended, with its image in the table."""
    job = home.ended(outcome)
    Images(home.database).add(job.id, IMAGE, "made-from-this")
    return job


@pytest.mark.parametrize("outcome", [StateName.SUCCEEDED, StateName.FAILED, StateName.LOST])
def test_an_ended_job_is_run_again_at_once_with_the_same_settings_and_image(home: Home, outcome: Outcome) -> None:
    old = ended(home, outcome)
    home.clock.advance(60)
    again = home.platform.rerun(str(old.id), ANNA, KEY)
    before = work_of(old.state)
    assert before is not None
    assert again.state == Queued(replace(before, queued_at=home.clock.now()))
    assert (again.id > old.id, again.name, again.submitted_at) == (True, old.name, home.clock.now())
    assert home.platform.job(old.id) == old
    assert [start.job for start in home.platform.decide(Capacity(places=1)).starts] == [again.id]


def test_its_story_begins_with_whose_wish_it_was(home: Home) -> None:
    old = ended(home)
    [first] = home.platform.story(home.platform.rerun("@", ANNA, KEY).id)
    assert (first.actor, first.new, first.cause) == (Actor.USER, StateName.QUEUED, f"job {old.id} is run again")


def test_asking_twice_with_one_key_gives_one_job_also_after_it_has_ended(home: Home) -> None:
    ended(home)
    again = home.platform.rerun("@", ANNA, KEY)
    assert home.restart().rerun("@", ANNA, KEY) == again
    cancelled = home.platform.cancel(again.id, "anna")
    assert home.platform.rerun("@", ANNA, KEY) == cancelled


def test_the_image_is_needed_again(home: Home) -> None:
    old = ended(home)
    images = Images(home.database)
    assert [item.image for item in unneeded(images.all())] == [IMAGE]
    again = home.platform.rerun(str(old.id), ANNA, KEY)
    assert unneeded(images.all()) == []
    assert [made.fingerprint for made in images.all() if made.job == again.id] == ["made-from-this"]


def test_a_job_whose_image_is_gone_is_to_be_handed_in_again(home: Home) -> None:
    old = home.ended()
    with pytest.raises(NotFound, match="Hand the bundle in again"):
        home.platform.rerun(str(old.id), ANNA, KEY)
    assert home.platform.alive() == []


def test_a_job_whose_input_is_gone_is_to_be_handed_in_again(home: Home) -> None:
    job = home.queued(has_input=True)
    home.platform.cancel(job.id, "anna")
    with pytest.raises(WrongState, match=r"input .* Hand its bundle in again"):
        home.platform.rerun(str(job.id), ANNA, KEY)


def test_a_job_that_never_had_an_image_is_to_be_handed_in_again(home: Home) -> None:
    job = home.platform.reject(home.building().id, StateName.INVALID, Reason("bundle_rejected", "No Dockerfile."))
    with pytest.raises(WrongState, match="before it had an image"):
        home.platform.rerun(str(job.id), ANNA, KEY)


def test_a_job_that_has_not_ended_is_not_run_again(home: Home) -> None:
    for job in (home.building(), home.queued(), home.running()):
        with pytest.raises(WrongState, match="only one that has ended"):
            home.platform.rerun(str(job.id), ANNA, KEY)


def test_nobody_runs_anothers_job_again(home: Home) -> None:
    with pytest.raises(NotAllowed, match="belongs to anna"):
        home.platform.rerun(str(ended(home).id), BERT, KEY)
