"""Telling through the share: one job that cannot be told of keeps no other waiting, and nothing is forgotten."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from dopq.job import Job, Problem, Reason, StateName
from dopq.outbox import Outbox
from dopq.publisher import Publisher
from dopq.share import Share
from tests.platforms import ANNA, BERT, Home
from tests.waiting import wait_until

SOON_S = 10.0


class Bench:
    def __init__(self, folder: Path) -> None:
        self.home = Home(folder)
        self.share = Share(self.home.paths)
        self.share.open()
        self.outbox = Outbox(self.home.paths.outbox, self.share.check)
        self.publisher = self.new_life()

    def new_life(self) -> Publisher:
        self.publisher = Publisher(self.home.platform, self.outbox, self.home.paths)
        self.publisher.start()
        return self.publisher

    def stop(self) -> None:
        self.publisher.stop(SOON_S)

    def status(self, job: Job) -> str | None:
        file = self.outbox.path(job) / "status.json"
        return json.loads(file.read_text())["job"]["state"] if file.exists() else None

    def refuse(self, job: Job) -> None:
        (self.home.paths.spool / job.key).write_bytes(b"the bundle")
        problems = (Problem("Dockerfile", "it is not there", "Add one."),)
        self.home.platform.reject(job.id, StateName.INVALID, Reason("bundle_rejected", "It was refused."), problems)


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    bench = Bench(tmp_path)
    yield bench
    bench.stop()
    bench.home.close()


def test_status_is_there_from_the_moment_a_bundle_is_taken(bench: Bench) -> None:
    job = bench.home.building()
    wait_until(lambda: bench.status(job) == "building", SOON_S)
    assert "building" in (bench.outbox.path(job) / "status.txt").read_text()


def test_a_held_job_says_why(bench: Bench) -> None:
    job = bench.home.building()
    bench.home.platform.hold(
        job.id, Reason("waiting_for_space", "Waiting for space: 3.1 GiB free at /x, needs 10 GiB.")
    )
    wait_until(lambda: bench.status(job) == "held", SOON_S)
    assert "held. Waiting for space: 3.1 GiB free at /x" in (bench.outbox.path(job) / "status.txt").read_text()


def test_a_refused_bundle_lies_beside_its_reason(bench: Bench) -> None:
    job = bench.home.building(bundle="bad.zip")
    bench.refuse(job)
    shelf = bench.home.paths.invalid / ANNA
    wait_until(lambda: (shelf / "bad.zip.reason.json").exists() and bench.status(job) == "invalid", SOON_S)
    assert (shelf / "bad.zip").read_bytes() == b"the bundle"
    assert "Add one." in (shelf / "bad.zip.reason.txt").read_text()


@pytest.mark.parametrize("name", ["x" * 251 + ".zip", "ü" * 125 + ".zip", "a." + "b" * 250, "\ufffd" * 80 + ".tar.gz"])
def test_a_bundle_with_a_name_of_any_length_comes_back(bench: Bench, name: str) -> None:
    job = bench.home.building(bundle=name)
    bench.refuse(job)
    shelf = bench.home.paths.invalid / ANNA
    wait_until(lambda: shelf.is_dir() and len(list(shelf.iterdir())) == 3, SOON_S)
    wait_until(lambda: not bench.home.platform.unpublished(), SOON_S)


def test_one_job_that_cannot_be_told_of_keeps_no_other_waiting(bench: Bench) -> None:
    (bench.home.paths.outbox / ANNA).touch()  # a file where a folder belongs
    stuck = bench.home.building(ANNA)
    other = bench.home.building(BERT)
    wait_until(lambda: bench.status(other) == "building", SOON_S)
    wait_until(lambda: "File exists" in (bench.publisher.trouble or ""), SOON_S)
    assert bench.home.platform.unpublished()[0].id == stuck.id
    (bench.home.paths.outbox / ANNA).unlink()
    wait_until(lambda: bench.status(stuck) == "building", SOON_S)
    wait_until(lambda: not bench.home.platform.unpublished(), SOON_S)
    assert bench.publisher.trouble is None


def test_what_a_share_that_is_away_does_not_take_is_told_later_by_the_next_life_too(bench: Bench) -> None:
    away = bench.home.paths.share.rename(bench.home.paths.share.with_name("away"))
    bench.home.paths.share.mkdir()
    job = bench.home.building()
    wait_until(lambda: "not mounted" in (bench.publisher.trouble or ""), SOON_S)
    bench.stop()
    assert list(bench.home.paths.share.iterdir()) == [], "nothing is written to a bare mount point"
    bench.home.paths.share.rmdir()
    away.rename(bench.home.paths.share)
    bench.new_life()
    wait_until(lambda: bench.status(job) == "building", SOON_S)
