"""The supervisor with real processes: a Provider may die at any time, and every bundle becomes one job."""

from __future__ import annotations

import json
import multiprocessing.process
import os
import pickle
import signal
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from dopq import supervisor as supervisor_module
from dopq.container_handler.archive import Limits
from dopq.container_handler.container_config import SpecDefaults
from dopq.errors import OperatorError
from dopq.handover import Built, FromProvider, Rejected, Taken
from dopq.job import Ended, ImageId, Job, JobId, JobSpec, Reason, StateName, UserName
from dopq.provider import ProviderSettings
from dopq.supervisor import Supervisor
from dopq.utils.clock import SystemClock
from tests.platforms import ANNA, Home
from tests.provider_stub import StubSettings, stub
from tests.waiting import wait_until

NEMO = UserName("nemo")
PATIENCE_S = 15.0  # a Python process is born in half a second, on a busy machine in several


class Bench:
    """A supervisor over a stub of a Provider, and what passes between them."""

    def __init__(self, folder: Path, *, stubborn: bool = False) -> None:
        self.home = Home(folder)
        self.talk = folder / "talk"
        self.talk.mkdir()
        self._numbers = count()
        self.supervisor = Supervisor(
            self.home.platform,
            self.home.users,
            self.home.outbox,
            StubSettings(self.talk, stubborn),  # type: ignore[arg-type] # passed on to the target as it is
            SystemClock(),
            target=stub,  # type: ignore[arg-type]
        )

    def close(self) -> None:
        pid = self.supervisor.pid
        self.supervisor.stop(PATIENCE_S)
        assert not self.supervisor._thread.is_alive()
        assert self.supervisor.pid is None
        if pid:
            with pytest.raises(ProcessLookupError):
                os.kill(pid, 0)
        self.home.platform.assert_consistent()
        self.home.close()

    def says(self, *messages: FromProvider) -> None:
        """Have the Provider, or its successor, say something."""
        name = self.talk / f"{next(self._numbers):04}"
        name.write_bytes(pickle.dumps(messages))
        name.rename(name.with_suffix(".say"))

    def heard(self, kind: str, **facts: object) -> list[dict[str, Any]]:
        """What the Providers were told so far: messages of one kind that have these facts."""
        path = self.talk / "heard"
        lines = path.read_text().splitlines(keepends=True) if path.exists() else []
        told = [json.loads(line) for line in lines if line.endswith("\n")]
        return [it for it in told if it.get("kind") == kind and facts.items() <= it.items()]

    def until_heard(self, kind: str, *, times: int = 1, **facts: object) -> None:
        wait_until(lambda: len(self.heard(kind, **facts)) >= times, PATIENCE_S)

    def until(self, job: JobId, state: StateName) -> None:
        wait_until(lambda: (it := self.home.journal.job(job)) and it.state.name is state, PATIENCE_S)

    def jobs(self) -> list[Job]:
        return self.home.journal.changed_since(0)

    def kill(self) -> int:
        wait_until(lambda: self.supervisor.pid, PATIENCE_S)
        pid = self.supervisor.pid
        assert pid
        os.kill(pid, signal.SIGKILL)
        return pid


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    bench = Bench(tmp_path)
    bench.supervisor.start()
    yield bench
    bench.close()


# --- from a bundle to a job ---


def test_a_bundle_becomes_a_job_and_its_image_brings_it_into_the_queue(bench: Bench) -> None:
    bench.says(Taken("drop-1", ANNA, "good.zip"))
    bench.until_heard("Accepted", key="drop-1", build=True)
    (job,) = bench.jobs()
    bench.until(job.id, StateName.QUEUED)
    assert (job.user, job.bundle) == (ANNA, "good.zip")
    assert bench.home.platform.job(job.id).name == "built"
    log = Path(bench.heard("Accepted")[0]["log"])
    assert log.name == "build.log"
    assert log.parent.parent == bench.home.paths.outbox / ANNA


def test_a_refused_bundle_is_invalid_with_every_problem(bench: Bench) -> None:
    bench.says(Taken("drop-1", ANNA, "bad.zip"))
    bench.until_heard("Accepted")
    bench.until(JobId(1), StateName.INVALID)
    state = bench.home.platform.job(JobId(1)).state
    assert isinstance(state, Ended)
    assert [problem.where for problem in state.problems] == ["Dockerfile"]


def test_a_bundle_that_comes_over_the_wire_is_built_as_well(bench: Bench) -> None:
    job = bench.home.building(bundle="good.zip")
    bench.until(job.id, StateName.QUEUED)


def test_the_same_bundle_said_twice_is_one_job_and_answered_twice(bench: Bench) -> None:
    bench.says(Taken("drop-1", ANNA, "slow.zip"), Taken("drop-1", ANNA, "slow.zip"))
    bench.until_heard("Accepted", times=2, key="drop-1")
    assert len(bench.jobs()) == 1


def test_a_bundle_whose_job_has_ended_may_go_but_is_not_built_again(bench: Bench) -> None:
    bench.says(Taken("drop-1", ANNA, "bad.zip"))
    bench.until_heard("Accepted", build=True)
    bench.until(JobId(1), StateName.INVALID)
    bench.says(Taken("drop-1", ANNA, "bad.zip"))
    bench.until_heard("Accepted", key="drop-1", build=False)
    assert len(bench.jobs()) == 1


@pytest.mark.parametrize("user", [NEMO, "", "..", "a\0b"])
def test_a_bundle_of_nobody_is_declined(bench: Bench, user: str) -> None:
    bench.says(Taken("drop-1", UserName(user), "good.zip"))
    bench.until_heard("Declined", key="drop-1")
    assert bench.jobs() == []


# --- late words ---


def test_a_cancelled_jobs_build_is_abandoned_and_its_late_image_ignored(bench: Bench) -> None:
    job = bench.home.building(bundle="slow.zip")
    bench.until_heard("Accepted", job=job.id)
    cancelled = bench.home.platform.cancel(job.id, "anna")
    bench.until_heard("Abandon", job=job.id)
    rejected = Rejected(job.id, StateName.BUILD_FAILED, Reason("build_failed", "Broken off."))
    bench.says(Built(job.id, JobSpec("late"), ImageId("sha256:00"), has_input=False), rejected)
    bench.says(Taken("drop-2", ANNA, "good.zip"))
    bench.until(JobId(2), StateName.QUEUED)
    assert bench.home.platform.job(job.id) == cancelled
    assert len(bench.heard("Accepted")) >= 2


def test_an_image_said_twice_or_of_no_job_changes_nothing(bench: Bench) -> None:
    job = bench.home.building(bundle="slow.zip")
    built = Built(job.id, JobSpec("built"), ImageId("sha256:00"), has_input=False)
    bench.says(built, built, Built(JobId(4711), JobSpec("x"), ImageId("sha256:00"), has_input=False))
    bench.says(Taken("drop-2", ANNA, "good.zip"))
    bench.until(JobId(2), StateName.QUEUED)
    assert len(bench.home.platform.story(job.id)) == 2


# --- death ---


def test_a_killed_provider_is_replaced_and_told_again_of_all_that_is_to_be_built(bench: Bench) -> None:
    waiting = [bench.home.building(bundle="slow.zip") for _ in range(3)]
    done = bench.home.building(bundle="good.zip")
    bench.until(done.id, StateName.QUEUED)
    for job in waiting:
        bench.until_heard("Accepted", job=job.id)
    old = bench.kill()
    wait_until(lambda: bench.supervisor.pid not in {None, old}, PATIENCE_S)
    for job in waiting:
        bench.until_heard("Accepted", job=job.id, pid=bench.supervisor.pid)
    assert bench.heard("Accepted", job=done.id, pid=bench.supervisor.pid) == []


def test_what_happened_between_two_lives_reaches_the_second(bench: Bench) -> None:
    cancelled = bench.home.building(bundle="slow.zip")
    bench.until_heard("Accepted", job=cancelled.id)
    bench.kill()
    bench.home.platform.cancel(cancelled.id, "anna")
    job = bench.home.building(bundle="good.zip")
    bench.until(job.id, StateName.QUEUED)
    assert bench.home.platform.job(cancelled.id).state.name is StateName.CANCELLED


def test_it_may_die_again_and_again(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervisor_module, "LONGEST_PAUSE_S", 0.1)
    pids = set()
    for _ in range(3):
        pids.add(bench.kill())
        wait_until(lambda: bench.supervisor.pid not in pids | {None}, PATIENCE_S)
    bench.says(Taken("drop-1", ANNA, "good.zip"))
    bench.until_heard("Accepted")
    bench.until(JobId(1), StateName.QUEUED)


def test_a_process_that_cannot_be_born_now_is_born_later(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    start, refusals = multiprocessing.process.BaseProcess.start, iter([OSError(11, "Resource temporarily unavailable")])

    def starts_in_the_end(process: multiprocessing.process.BaseProcess) -> None:
        for refusal in refusals:
            raise refusal
        start(process)

    monkeypatch.setattr(multiprocessing.process.BaseProcess, "start", starts_in_the_end)
    bench = Bench(tmp_path)
    bench.supervisor.start()
    wait_until(lambda: bench.supervisor.pid, PATIENCE_S)
    bench.close()


def test_a_journal_that_is_full_for_a_moment_loses_no_bundle(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    accept, failures = bench.home.platform.accept, iter([OperatorError("The disk is full.")])

    def accepts_in_the_end(*args: Any) -> Job:
        for failure in failures:
            raise failure
        return accept(*args)

    monkeypatch.setattr(bench.home.platform, "accept", accepts_in_the_end)
    bench.says(Taken("drop-1", ANNA, "good.zip"))
    wait_until(lambda: bench.supervisor.pid, PATIENCE_S)
    first = bench.supervisor.pid
    wait_until(lambda: bench.supervisor.pid not in {None, first}, PATIENCE_S)
    bench.says(Taken("drop-1", ANNA, "good.zip"))  # as a Provider that is born again does: the file still lies there
    bench.until_heard("Accepted", key="drop-1")
    bench.until(JobId(1), StateName.QUEUED)


def test_a_share_that_is_away_holds_up_no_build(bench: Bench) -> None:
    wait_until(lambda: bench.supervisor.pid, PATIENCE_S)
    pid = bench.supervisor.pid
    bench.home.paths.outbox.rmdir()
    bench.home.paths.outbox.write_text("a file where the share was mounted")
    job = bench.home.building(bundle="good.zip")
    bench.until(job.id, StateName.QUEUED)
    assert bench.supervisor.pid == pid


def test_stopping_ends_a_provider_that_does_not_want_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervisor_module, "END_S", 0.2)
    bench = Bench(tmp_path, stubborn=True)
    bench.supervisor.start()
    wait_until((bench.talk / "heard").exists, PATIENCE_S)
    bench.close()


# --- the real Provider ---


@pytest.fixture
def real(tmp_path: Path) -> Iterator[tuple[Home, Supervisor]]:
    home = Home(tmp_path)
    settings = ProviderSettings(
        inbox=home.paths.inbox,
        spool=home.paths.spool,
        jobs=home.paths.jobs,
        templates=None,
        python_base="python:3.11-slim",
        engine_url=f"unix://{tmp_path}/nothing.sock",
        node_id="abcd",
        settle_s=0.05,
        poll_fast_s=0.05,
        poll_slow_s=0.05,
        concurrency=1,
        timeout_s=60.0,
        defaults=SpecDefaults(gpus=0, max_time_limit_s=3600),
        limits=Limits(),
        log_level="error",
        log_json=False,
    )
    supervisor = Supervisor(home.platform, home.users, home.outbox, settings, SystemClock())
    yield home, supervisor
    supervisor.stop(PATIENCE_S)
    assert not supervisor._thread.is_alive()
    home.close()


def test_hundreds_of_bundles_at_once_do_not_stop_intake(real: tuple[Home, Supervisor]) -> None:
    """Each end has more to say than a pipe takes; whoever only writes waits for ever."""
    home, supervisor = real
    (home.paths.inbox / NEMO).mkdir()
    for number in range(600):
        (home.paths.inbox / NEMO / f"{number:03}{'x' * 200}.tar").touch()
    supervisor.start()
    wait_until(lambda: len(list(home.paths.spool.iterdir())) == 600, PATIENCE_S * 2)
    (home.paths.inbox / ANNA).mkdir()
    (home.paths.inbox / ANNA / "bad.tar").write_bytes(b"no tar")
    wait_until(lambda: home.journal.job(JobId(1)), PATIENCE_S)


def test_a_bundle_whose_name_is_no_text_is_taken_like_any_other(real: tuple[Home, Supervisor]) -> None:
    home, supervisor = real
    supervisor.start()
    (home.paths.inbox / ANNA).mkdir()
    for name in (b"caf\xe9.tar", b"two\nlines.tar", b"bad.tar"):
        Path(os.fsdecode(os.fsencode(home.paths.inbox / ANNA) + b"/" + name)).write_bytes(b"no tar")
    wait_until(lambda: len(home.journal.ended(10)) == 3, PATIENCE_S)
    assert {job.bundle for job in home.journal.ended(10)} == {"caf\ufffd.tar", "two\ufffdlines.tar", "bad.tar"}
    assert {job.state.name for job in home.journal.ended(10)} == {StateName.INVALID}
    assert list((home.paths.inbox / ANNA).iterdir()) == []
