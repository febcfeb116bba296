"""The publisher: users are told, in the end, whatever the share does meanwhile; what did not succeed goes back."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from dopq import publisher as publisher_module
from dopq.errors import OperatorError
from dopq.job import Ended, Job, Outcome, Problem, Reason, StateName
from dopq.publisher import Publisher
from dopq.returned_bundle import return_bundle
from tests.platforms import ANNA, BERT, Home
from tests.waiting import wait_until

REFUSED = Reason("bundle_rejected", "The bundle was refused.")
PROBLEMS = (Problem("Dockerfile", "is not there", "Add one."),)


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Home]:
    home = Home(tmp_path)
    yield home
    home.close()


@pytest.fixture
def publisher(home: Home, monkeypatch: pytest.MonkeyPatch) -> Iterator[Publisher]:
    monkeypatch.setattr(publisher_module, "RETRY_S", 0.05)
    publisher = Publisher(home.platform, home.outbox, home.results, home.paths)
    publisher.start()
    yield publisher
    publisher.stop(5.0)
    assert not publisher._thread.is_alive()


def told(home: Home, job: Job) -> dict[str, Any] | None:
    path = home.paths.outbox / job.user / f"{job.id}-{job.name}" / "status.json"
    return json.loads(path.read_text()) if path.exists() else None


def wait_until_told(home: Home, job: Job, state: StateName) -> None:
    wait_until(lambda: (status := told(home, job)) and status["job"]["state"] == state, 5.0)


def all_told(home: Home) -> bool:
    return home.journal.noted("published") == str(home.journal.last_seq())


def with_bundle(home: Home, job: Job, content: bytes = b"zip") -> Path:
    bundle = home.paths.spool / job.key
    bundle.write_bytes(content)
    return bundle


def refuse(home: Home, name: str = "x.zip", content: bytes = b"zip") -> Job:
    job = home.building(bundle=name)
    with_bundle(home, job, content)
    return home.platform.reject(job.id, StateName.INVALID, REFUSED, PROBLEMS)


def shelf(home: Home, outcome: Outcome = StateName.INVALID) -> Path:
    return (home.paths.invalid if outcome is StateName.INVALID else home.paths.failed) / ANNA


# --- telling ---


def test_a_job_is_told_of_from_the_moment_it_is_taken_to_its_end(home: Home, publisher: Publisher) -> None:
    job = home.building()
    wait_until_told(home, job, StateName.BUILDING)
    ended = home.ended()
    wait_until_told(home, ended, StateName.SUCCEEDED)
    folder = home.outbox.folder(ended)
    assert "State:        succeeded" in (folder / "report.txt").read_text()
    assert (folder / "status.txt").read_text().startswith(f"Job {ended.id} (train): succeeded.")


def test_what_a_former_life_did_not_tell_is_told_at_the_start(home: Home) -> None:
    jobs = [home.ended(), home.queued(BERT), refuse(home)]
    home.restart()
    publisher = Publisher(home.platform, home.outbox, home.results, home.paths)
    publisher.start()
    wait_until(lambda: all_told(home), 5.0)
    publisher.stop(5.0)
    assert [status["job"]["state"] for job in jobs if (status := told(home, job))] == ["succeeded", "queued", "invalid"]
    assert home.platform.unpublished() == []


def test_stopping_tells_what_is_still_to_be_told(home: Home) -> None:
    publisher = Publisher(home.platform, home.outbox, home.results, home.paths)
    publisher.start()
    jobs = [home.queued() for _ in range(20)]
    publisher.stop(5.0)
    assert all(told(home, job) for job in jobs)
    assert all_told(home)


def test_the_working_files_of_an_ended_job_go(home: Home, publisher: Publisher) -> None:
    job = home.running()
    bundle = with_bundle(home, job)
    (home.paths.jobs / str(job.id) / "output").mkdir(parents=True)
    home.platform.finish(job.id, StateName.SUCCEEDED, Reason("succeeded", "Well."), at=home.clock.now())
    wait_until(lambda: not bundle.exists() and not list(home.paths.jobs.iterdir()), 5.0)
    assert list(home.paths.failed.glob("*/*")) == []


def test_an_end_is_told_when_everything_of_the_job_is_in_the_share_and_no_sooner(
    home: Home, publisher: Publisher
) -> None:
    job = home.running()
    folder = home.outbox.folder(job)
    home.results.output_folder(job).mkdir(parents=True)
    (home.results.output_folder(job) / "metrics").write_bytes(b"{}")
    for log in ("build.log", "job.log"):
        home.results.log_file(job).with_name(log).write_bytes(b"one\n")
    (folder / "job.log").mkdir()  # what the share refuses
    home.platform.finish(job.id, StateName.SUCCEEDED, Reason("succeeded", "Well."), at=home.clock.now())
    wait_until(lambda: publisher.trouble, 5.0)
    status = told(home, job)
    assert status is None or status["job"]["state"] != "succeeded"
    assert not (folder / "report.txt").exists()
    (folder / "job.log").rmdir()
    wait_until_told(home, job, StateName.SUCCEEDED)
    assert (folder / "build.log").read_bytes() == (folder / "job.log").read_bytes() == b"one\n"
    assert (folder / "output" / "metrics").read_bytes() == b"{}"
    wait_until(lambda: list(home.paths.jobs.iterdir()) == [], 5.0)


# --- giving back ---


@pytest.mark.parametrize("outcome", [StateName.INVALID, StateName.BUILD_FAILED])
def test_a_bundle_that_did_not_succeed_goes_back_beside_its_reason(
    home: Home, publisher: Publisher, outcome: Outcome
) -> None:
    job = home.building(bundle="x.zip")
    with_bundle(home, job)
    home.platform.reject(job.id, outcome, REFUSED, PROBLEMS)
    wait_until(lambda: all_told(home), 5.0)
    assert (shelf(home, outcome) / "x.zip").read_bytes() == b"zip"
    assert "Dockerfile: is not there. Add one." in (shelf(home, outcome) / "x.zip.reason.txt").read_text()
    reason = json.loads((shelf(home, outcome) / "x.zip.reason.json").read_text())
    assert reason["state"] == outcome
    assert reason["problems"] == [{"where": "Dockerfile", "what": "is not there", "instead": "Add one."}]
    assert list(home.paths.spool.iterdir()) == []


def test_two_bundles_of_one_name_are_both_kept(home: Home, publisher: Publisher) -> None:
    first, second = refuse(home, content=b"one"), refuse(home, content=b"two")
    wait_until(lambda: all_told(home), 5.0)
    assert (shelf(home) / "x.zip").read_bytes() == b"one"
    assert (shelf(home) / f"x-{second.id}.zip").read_bytes() == b"two"
    owners = {path.name: json.loads(path.read_text())["job"] for path in shelf(home).glob("*.json")}
    assert owners == {"x.zip.reason.json": first.id, f"x-{second.id}.zip.reason.json": second.id}


@pytest.mark.parametrize("name", ["x.zip", "x.tar.gz", "X.TAR.GZ", "x.tgz", "x" * 240 + ".tar.gz"])
def test_a_returned_bundle_can_be_handed_in_again_as_it_is_called(home: Home, publisher: Publisher, name: str) -> None:
    refuse(home, name, b"one")
    refuse(home, name, b"two")
    wait_until(lambda: all_told(home), 5.0)
    kept = [path.name for path in shelf(home).iterdir() if ".reason." not in path.name]
    ending = name[name.index(".") :]
    assert [each.endswith(ending) for each in kept] == [True, True]


def test_a_file_that_a_user_put_there_is_not_written_over(home: Home, publisher: Publisher) -> None:
    shelf(home).mkdir(parents=True)
    (shelf(home) / "x.zip").write_bytes(b"mine")
    job = refuse(home)
    wait_until(lambda: all_told(home), 5.0)
    assert (shelf(home) / "x.zip").read_bytes() == b"mine"
    assert (shelf(home) / f"x-{job.id}.zip").read_bytes() == b"zip"


class Killed(BaseException):
    """What a test throws where the process would die."""


@pytest.mark.parametrize("countdown", range(12))
@pytest.mark.parametrize("others", [False, True], ids=["alone", "beside another of that name"])
def test_killed_at_any_step_and_repeated_one_bundle_lies_there_once(
    home: Home, monkeypatch: pytest.MonkeyPatch, countdown: int, others: bool
) -> None:
    if others:
        other = refuse(home, content=b"other")
        assert isinstance(other.state, Ended)
        return_bundle(home.paths.spool / other.key, home.paths.invalid, other, other.state)
    job = refuse(home)
    assert isinstance(job.state, Ended)
    left = countdown

    def dying(real: Any) -> Any:
        def step(*args: Any, **kwargs: Any) -> Any:
            nonlocal left
            left -= 1
            if left == -1:
                raise Killed
            result = real(*args, **kwargs)
            left -= 1
            if left == -1:
                raise Killed
            return result

        return step

    with monkeypatch.context() as killing:
        killing.setattr(Path, "replace", dying(Path.replace))
        killing.setattr(shutil, "copyfile", dying(shutil.copyfile))
        with suppress(Killed):
            return_bundle(home.paths.spool / job.key, home.paths.invalid, job, job.state)
    for _ in range(2):
        return_bundle(home.paths.spool / job.key, home.paths.invalid, job, job.state)
    name = f"x-{job.id}.zip" if others else "x.zip"
    expected = {name: b"zip"} | ({"x.zip": b"other"} if others else {})
    found = {path.name: path.read_bytes() for path in shelf(home).iterdir() if ".reason." not in path.name}
    # A temporary file of a killed writer may lie there; its name keeps everybody away from it.
    assert {name: content for name, content in found.items() if not name.startswith(".")} == expected
    assert (shelf(home) / f"{name}.reason.txt").exists()


@pytest.mark.parametrize("name", ["n" * 251 + ".zip", "ü" * 120 + ".tar.gz", "x." + "e" * 240, "ü" * 127])
def test_a_bundle_whose_name_is_as_long_as_a_name_can_be_goes_back(home: Home, publisher: Publisher, name: str) -> None:
    assert len(name.encode()) <= 255
    first, second = refuse(home, name, b"one"), refuse(home, name, b"two")
    wait_until(lambda: all_told(home), 5.0)
    kept = [path for path in shelf(home).iterdir() if ".reason." not in path.name]
    assert {path.read_bytes() for path in kept} == {b"one", b"two"}
    assert told(home, first)
    assert told(home, second)


def test_names_that_differ_only_in_how_they_go_on_are_both_kept(home: Home, publisher: Publisher) -> None:
    refuse(home, "n" * 240 + "1.zip", b"one")
    refuse(home, "n" * 240 + "2.zip", b"two")
    wait_until(lambda: all_told(home), 5.0)
    assert {path.read_bytes() for path in shelf(home).iterdir() if ".reason." not in path.name} == {b"one", b"two"}


# --- the share misbehaves ---


def test_a_share_that_was_away_is_told_everything_in_the_end(home: Home, publisher: Publisher) -> None:
    away = home.paths.outbox.rename(home.paths.outbox.with_name("away"))
    jobs = [home.queued(), home.ended(), refuse(home)]
    wait_until(lambda: publisher.trouble, 5.0)
    assert "share" in str(publisher.trouble)
    assert (home.paths.spool / jobs[2].key).exists(), "the only copy stays until the share has it"
    assert not home.paths.outbox.exists(), "nothing is made below a bare mount point"
    away.rename(home.paths.outbox)
    wait_until(lambda: all_told(home), 5.0)
    assert publisher.trouble is None
    assert all(told(home, job) for job in jobs)
    assert (shelf(home) / "x.zip").exists()


def test_stopping_does_not_wait_for_a_share_that_is_away_and_the_next_life_tells(home: Home) -> None:
    away = home.paths.outbox.rename(home.paths.outbox.with_name("away"))
    publisher = Publisher(home.platform, home.outbox, home.results, home.paths)
    publisher.start()
    job = home.queued()
    wait_until(lambda: publisher.trouble, 5.0)
    publisher.stop(5.0)
    assert not publisher._thread.is_alive()
    assert not home.paths.outbox.exists(), "nothing is made below a bare mount point"
    away.rename(home.paths.outbox)
    home.restart()
    again = Publisher(home.platform, home.outbox, home.results, home.paths)
    again.start()
    again.stop(5.0)
    assert told(home, job)


def test_what_the_share_refuses_of_one_job_holds_up_no_other(home: Home, publisher: Publisher) -> None:
    in_the_way = shelf(home) / "x.zip.reason.txt"  # a folder where a file has to go
    in_the_way.mkdir(parents=True)
    blocked = refuse(home)
    wait_until(lambda: publisher.trouble, 5.0)
    wait_until_told(home, home.queued(BERT), StateName.QUEUED)
    assert not all_told(home)
    in_the_way.rmdir()
    wait_until_told(home, blocked, StateName.INVALID)
    wait_until(lambda: all_told(home), 5.0)


def test_an_unforeseen_error_over_one_job_does_not_silence_the_others(
    home: Home, publisher: Publisher, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = publisher_module.status_text
    monkeypatch.setattr(publisher_module, "status_text", lambda job: 1 / 0 if job.user == ANNA else real(job))
    home.queued(ANNA)
    job = home.queued(BERT)
    wait_until_told(home, job, StateName.QUEUED)


def test_a_journal_that_cannot_be_marked_now_is_no_reason_to_fall_silent(
    home: Home, publisher: Publisher, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as full:

        def refuses(_seq: int) -> None:
            raise OperatorError("The disk is full.")

        full.setattr(home.platform, "mark_published", refuses)
        wait_until_told(home, home.queued(), StateName.QUEUED)
    wait_until_told(home, home.queued(), StateName.QUEUED)
    wait_until(lambda: all_told(home), 5.0)


def test_what_is_odd_about_a_running_job_is_told_and_taken_back(home: Home, publisher: Publisher) -> None:
    def reason() -> Any:
        return (told(home, job) or {"job": {"reason": "not told yet"}})["job"]["reason"]

    job = home.running()
    warning = Reason("gpu_idle", "Its GPUs have done nothing since noon.")
    home.platform.warn(job.id, warning)
    wait_until(lambda: reason() == {"code": warning.code, "sentence": warning.sentence}, 5.0)
    assert warning.sentence in (home.paths.outbox / job.user / f"{job.id}-{job.name}" / "status.txt").read_text()
    home.platform.warn(job.id, None)
    wait_until(lambda: reason() is None, 5.0)
