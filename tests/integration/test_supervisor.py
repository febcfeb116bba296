"""The supervisor with real processes: a Provider may die at any time, and every bundle becomes one job."""

from __future__ import annotations

import json
import multiprocessing.process
import os
import pickle
import signal
from collections import Counter
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from dopq import supervisor as supervisor_module
from dopq.admission import Admission
from dopq.config import Settings
from dopq.container_handler.rules import rules_of
from dopq.disk import Floor
from dopq.errors import OperatorError
from dopq.handover import Built, FromProvider, GoesOn, OnHold, Rejected, Taken
from dopq.identity import Origin
from dopq.image_maker import BuildLimits
from dopq.images import Images
from dopq.inbox_watch import WatchSettings
from dopq.job import Ended, ImageId, Job, JobId, JobSpec, Reason, StateName, UserName
from dopq.provider import ProviderSettings
from dopq.share import Share
from dopq.supervisor import HANG_S, Supervisor
from dopq.users import User
from dopq.utils.clock import SystemClock
from tests.platforms import ANNA, Home
from tests.provider_stub import StubSettings, stub
from tests.waiting import wait_until

NEMO = UserName("nemo")
OURS = Origin(inbox=os.geteuid(), owners=frozenset())
FULL = Reason("waiting_for_space", "Waiting for space.")
END_OF_TAR = bytes(1024)
PATIENCE_S = 15.0  # a Python process is born in half a second, on a busy machine in several


class Bench:
    """A supervisor over a stub of a Provider, and what passes between them."""

    def __init__(self, folder: Path, *, hang_s: float = HANG_S, **manners: bool) -> None:
        self.home = Home(folder)
        self.images = Images(self.home.database)
        self.talk = folder / "talk"
        self.talk.mkdir()
        self._numbers = count()
        home = self.home.paths
        watch = WatchSettings(home.inbox, home.spool, home.invalid, settle_s=1, poll_fast_s=1, poll_slow_s=1)
        self.supervisor = Supervisor(
            self.home.platform,
            Admission(self.home.users, "owner"),
            self.images,
            self.home.outbox,
            StubSettings(self.talk, watch, **manners),  # type: ignore[arg-type] # passed on to the target as it is
            SystemClock(),
            target=stub,  # type: ignore[arg-type]
            hang_s=hang_s,
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

    def told(self) -> list[dict[str, Any]]:
        """What the Providers were told so far."""
        path = self.talk / "heard"
        lines = path.read_text().splitlines(keepends=True) if path.exists() else []
        return [it for it in (json.loads(line) for line in lines if line.endswith("\n")) if "kind" in it]

    def heard(self, kind: str, **facts: object) -> list[dict[str, Any]]:
        """What they were told so far: messages of one kind that have these facts."""
        return [it for it in self.told() if it["kind"] == kind and facts.items() <= it.items()]

    def until_heard(self, kind: str, *, times: int = 1, **facts: object) -> None:
        wait_until(lambda: len(self.heard(kind, **facts)) >= times, PATIENCE_S)

    def until(self, job: JobId, state: StateName) -> None:
        wait_until(lambda: (it := self.home.journal.job(job)) and it.state.name is state, PATIENCE_S)

    def jobs(self) -> list[Job]:
        return self.home.journal.changed_since(0)

    def strike(self, blow: signal.Signals = signal.SIGKILL) -> int:
        """Have a signal hit the Provider that lives now; its process id."""
        wait_until(lambda: self.supervisor.pid, PATIENCE_S)
        pid = self.supervisor.pid
        assert pid
        os.kill(pid, blow)
        return pid


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    bench = Bench(tmp_path)
    bench.supervisor.start()
    yield bench
    bench.close()


# --- from a bundle to a job ---


def test_a_bundle_becomes_a_job_and_its_image_brings_it_into_the_queue(bench: Bench) -> None:
    bench.says(Taken("drop-1", ANNA, "good.zip", OURS))
    bench.until_heard("Accepted", key="drop-1", build=True)
    (job,) = bench.jobs()
    bench.until(job.id, StateName.QUEUED)
    assert (job.user, job.bundle) == (ANNA, "good.zip")
    assert bench.home.platform.job(job.id).name == "built"
    [made] = bench.images.all()
    assert (made.job, made.user, made.image, made.fingerprint) == (job.id, ANNA, "sha256:00", "f1")
    log = Path(bench.heard("Accepted")[0]["log"])
    assert log.name == "build.log"
    assert log.parent.parent == bench.home.paths.outbox / ANNA


def test_a_refused_bundle_is_invalid_with_every_problem(bench: Bench) -> None:
    bench.says(Taken("drop-1", ANNA, "bad.zip", OURS))
    bench.until_heard("Accepted")
    bench.until(JobId(1), StateName.INVALID)
    state = bench.home.platform.job(JobId(1)).state
    assert isinstance(state, Ended)
    assert [problem.where for problem in state.problems] == ["Dockerfile"]


def test_a_bundle_that_comes_over_the_wire_is_built_as_well(bench: Bench) -> None:
    job = bench.home.building(bundle="good.zip")
    bench.until(job.id, StateName.QUEUED)


def test_the_same_bundle_said_twice_is_one_job_and_answered_twice(bench: Bench) -> None:
    bench.says(Taken("drop-1", ANNA, "slow.zip", OURS), Taken("drop-1", ANNA, "slow.zip", OURS))
    bench.until_heard("Accepted", times=2, key="drop-1")
    assert len(bench.jobs()) == 1


def test_a_bundle_whose_job_has_ended_may_go_but_is_not_built_again(bench: Bench) -> None:
    bench.says(Taken("drop-1", ANNA, "bad.zip", OURS))
    bench.until_heard("Accepted", build=True)
    bench.until(JobId(1), StateName.INVALID)
    bench.says(Taken("drop-1", ANNA, "bad.zip", OURS))
    bench.until_heard("Accepted", key="drop-1", build=False)
    assert len(bench.jobs()) == 1


def test_a_bundle_that_is_copied_once_more_keeps_its_copy_until_it_was_given_back(bench: Bench) -> None:
    copy = bench.home.paths.spool / "drop-1"
    copy.touch()
    bench.says(Taken("drop-1", ANNA, "bad.zip", OURS))
    bench.until(JobId(1), StateName.INVALID)
    bench.says(Taken("drop-1", ANNA, "bad.zip", OURS))
    bench.until_heard("Accepted", key="drop-1", build=False)
    assert copy.exists()
    bench.home.platform.mark_published(bench.home.journal.last_seq())
    bench.says(Taken("drop-1", ANNA, "bad.zip", OURS))
    bench.until_heard("Accepted", times=2, key="drop-1", build=False)
    assert not copy.exists()


@pytest.mark.parametrize("user", [NEMO, "", "..", "a\0b"])
def test_a_bundle_of_nobody_is_declined(bench: Bench, user: str) -> None:
    bench.says(Taken("drop-1", UserName(user), "good.zip", OURS))
    bench.until_heard("Declined", key="drop-1")
    assert bench.jobs() == []


# --- held for want of space ---


def test_a_job_that_has_no_space_is_held_until_it_goes_on(bench: Bench) -> None:
    job = bench.home.building(bundle="slow.zip")
    bench.says(OnHold(job.id, FULL))
    bench.until(job.id, StateName.HELD)
    bench.says(GoesOn(job.id))
    bench.until(job.id, StateName.BUILDING)


def test_a_held_jobs_build_is_abandoned_with_the_job(bench: Bench) -> None:
    job = bench.home.building(bundle="slow.zip")
    bench.says(OnHold(job.id, FULL))
    bench.until(job.id, StateName.HELD)
    bench.home.platform.cancel(job.id, "anna")
    bench.until_heard("Abandon", job=job.id)


# --- late words ---


def test_a_cancelled_jobs_build_is_abandoned_and_its_late_image_ignored(bench: Bench) -> None:
    job = bench.home.building(bundle="slow.zip")
    bench.until_heard("Accepted", job=job.id)
    cancelled = bench.home.platform.cancel(job.id, "anna")
    bench.until_heard("Abandon", job=job.id)
    rejected = Rejected(job.id, StateName.BUILD_FAILED, Reason("build_failed", "Broken off."))
    bench.says(Built(job.id, JobSpec("late"), ImageId("sha256:00"), has_input=False), rejected)
    bench.says(Taken("drop-2", ANNA, "good.zip", OURS))
    bench.until(JobId(2), StateName.QUEUED)
    assert bench.home.platform.job(job.id) == cancelled
    assert len(bench.heard("Accepted")) >= 2


def test_an_image_said_twice_or_of_no_job_changes_nothing(bench: Bench) -> None:
    job = bench.home.building(bundle="slow.zip")
    built = Built(job.id, JobSpec("built"), ImageId("sha256:00"), has_input=False)
    bench.says(built, built, Built(JobId(4711), JobSpec("x"), ImageId("sha256:00"), has_input=False))
    bench.says(Taken("drop-2", ANNA, "good.zip", OURS))
    bench.until(JobId(2), StateName.QUEUED)
    assert len(bench.home.platform.story(job.id)) == 2


# --- death ---


def test_a_killed_provider_is_replaced_and_told_again_of_all_that_is_to_be_built(bench: Bench) -> None:
    waiting = [bench.home.building(bundle="slow.zip") for _ in range(3)]
    done = bench.home.building(bundle="good.zip")
    bench.until(done.id, StateName.QUEUED)
    for job in waiting:
        bench.until_heard("Accepted", job=job.id)
    old = bench.strike()
    wait_until(lambda: bench.supervisor.pid not in {None, old}, PATIENCE_S)
    for job in waiting:
        bench.until_heard("Accepted", job=job.id, pid=bench.supervisor.pid)
    assert bench.heard("Accepted", job=done.id, pid=bench.supervisor.pid) == []


def test_one_that_hangs_is_killed_and_replaced(tmp_path: Path) -> None:
    bench = Bench(tmp_path, hang_s=3.0, beats=True)  # with time to import what it needs
    job = bench.home.building(bundle="slow.zip")
    bench.supervisor.start()
    bench.until_heard("Accepted", job=job.id)
    hung = bench.strike(signal.SIGSTOP)
    wait_until(lambda: bench.supervisor.pid not in {None, hung}, PATIENCE_S)
    with pytest.raises(ProcessLookupError):  # it does not wake up beside its successor
        os.kill(hung, 0)
    bench.until_heard("Accepted", job=job.id, pid=bench.supervisor.pid)
    bench.close()


def test_a_new_life_is_told_what_can_be_found_again_before_what_is_to_be_built(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    bench.images.add(bench.home.queued().id, ImageId("sha256:aa"), "f1")
    bench.images.add(bench.home.queued().id, ImageId("sha256:bb"), "")
    building, held = bench.home.building(bundle="slow.zip"), bench.home.building(bundle="slow.zip")
    bench.home.platform.hold(held.id, FULL)
    bench.supervisor.start()
    bench.until_heard("Accepted", job=building.id, held=False)
    bench.until_heard("Accepted", job=held.id, held=True, build=True)
    told = [it["kind"] for it in bench.told()]
    assert told == ["Known", "Accepted", "Accepted"]
    assert bench.heard("Known", user=ANNA, fingerprint="f1", image="sha256:aa")
    bench.close()


def test_a_new_life_builds_what_somebody_holds_unless_its_image_stands(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    without, built = bench.home.building(bundle="slow.zip"), bench.home.queued()
    for job in (without, built):
        bench.home.platform.put_on_hold(job.id, bench.home.user(ANNA))
    last = bench.home.building(bundle="slow.zip")
    bench.supervisor.start()
    bench.until_heard("Accepted", job=without.id, held=False, build=True)
    bench.until_heard("Accepted", job=last.id)
    assert not bench.heard("Accepted", job=built.id)
    bench.close()


def test_both_sides_may_have_more_to_say_than_a_pipe_holds(tmp_path: Path) -> None:
    bench = Bench(tmp_path, talkative=True)
    for _ in range(500):
        bench.home.building(bundle="slow.zip")
    bench.supervisor.start()
    bench.until_heard("Accepted", times=500)
    bench.close()


def test_the_last_beat_is_there_to_be_read(tmp_path: Path) -> None:
    bench = Bench(tmp_path, beats=True)
    bench.supervisor.start()
    wait_until(lambda: bench.supervisor.last_beat.troubles == (f"pid {bench.supervisor.pid}",), PATIENCE_S)
    bench.close()


def test_what_happened_between_two_lives_reaches_the_second(bench: Bench) -> None:
    cancelled = bench.home.building(bundle="slow.zip")
    bench.until_heard("Accepted", job=cancelled.id)
    bench.strike()
    bench.home.platform.cancel(cancelled.id, "anna")
    job = bench.home.building(bundle="good.zip")
    bench.until(job.id, StateName.QUEUED)
    assert bench.home.platform.job(cancelled.id).state.name is StateName.CANCELLED


def test_it_may_die_again_and_again(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervisor_module, "LONGEST_PAUSE_S", 0.1)
    pids = set()
    for _ in range(3):
        pids.add(bench.strike())
        wait_until(lambda: bench.supervisor.pid not in pids | {None}, PATIENCE_S)
    bench.says(Taken("drop-1", ANNA, "good.zip", OURS))
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
    bench.says(Taken("drop-1", ANNA, "good.zip", OURS))
    wait_until(lambda: bench.supervisor.pid, PATIENCE_S)
    first = bench.supervisor.pid
    wait_until(lambda: bench.supervisor.pid not in {None, first}, PATIENCE_S)
    bench.says(
        Taken("drop-1", ANNA, "good.zip", OURS)
    )  # as a Provider that is born again does: the file still lies there
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
    share = Share(home.paths)
    share.open()
    settings = ProviderSettings(
        watch=WatchSettings(home.paths.inbox, home.paths.spool, home.paths.invalid, 0.05, 0.05, 0.05),
        share=share,
        jobs=home.paths.jobs,
        rules=rules_of(Settings(), tmp_path, has_gpus=False),
        engine_url=f"unix://{tmp_path}/nothing.sock",
        node_id="abcd",
        concurrency=1,
        build_limits=BuildLimits(60.0, None, 2**30),
        floor=Floor(0, 0),
        log_level="error",
        log_json=False,
    )
    images = Images(home.database)
    supervisor = Supervisor(home.platform, Admission(home.users, "owner"), images, home.outbox, settings, SystemClock())
    yield home, supervisor
    supervisor.stop(PATIENCE_S)
    assert not supervisor._thread.is_alive()
    home.close()


def test_hundreds_of_bundles_at_once_do_not_stop_intake(
    real: tuple[Home, Supervisor], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each end has more to say than a pipe takes; whoever only writes waits for ever."""
    home, supervisor = real
    by_name, asked = home.users.by_name, Counter[str]()

    def by_name_counted(name: UserName) -> User | None:
        asked[name] += 1
        return by_name(name)

    monkeypatch.setattr(home.users, "by_name", by_name_counted)
    (home.paths.inbox / NEMO).mkdir()
    for number in range(300):
        (home.paths.inbox / NEMO / f"{number:03}{'x' * 200}.tar").write_bytes(END_OF_TAR)
    supervisor.start()
    wait_until(lambda: asked[NEMO] == 300, PATIENCE_S * 2)
    (home.paths.inbox / ANNA).mkdir()
    (home.paths.inbox / ANNA / "bad.tar").write_bytes(b"no tar")
    wait_until(lambda: home.journal.job(JobId(1)), PATIENCE_S)
    assert len(list((home.paths.inbox / NEMO).iterdir())) == 300


def test_a_bundle_whose_name_is_no_text_is_taken_like_any_other(real: tuple[Home, Supervisor]) -> None:
    home, supervisor = real
    supervisor.start()
    (home.paths.inbox / ANNA).mkdir()
    for name in (b"caf\xe9.tar", b"two\nlines.tar", b"bad.tar"):
        Path(os.fsdecode(os.fsencode(home.paths.inbox / ANNA) + b"/" + name)).write_bytes(b"no tar")
    wait_until(lambda: len(home.journal.ended(10)) == 3, PATIENCE_S)
    assert {job.bundle for job in home.journal.ended(10)} == {"caf\ufffd.tar", "two\ufffdlines.tar", "bad.tar"}
    assert {job.state.name for job in home.journal.ended(10)} == {StateName.INVALID}
    wait_until(lambda: not list((home.paths.inbox / ANNA).iterdir()), PATIENCE_S)
