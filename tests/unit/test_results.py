"""Results on their way into the share: nothing is lost, nothing doubled, and who reads is told where they are."""

from __future__ import annotations

import os
import shutil
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dopq import results as results_module
from dopq.container_handler import outputs as outputs_module
from dopq.errors import NotFound, TryAgain
from dopq.job import Job, Reason, StateName
from dopq.log_mirror import LogMirror
from dopq.outbox import BUILD_LOG, JOB_LOG, OUTPUT, Outbox
from dopq.results import Results
from dopq.share import Share
from tests.platforms import Home
from tests.waiting import wait_until


class Killed(BaseException):
    """What a test throws where the process would die."""


class Bench:
    """A home with a share that can be taken away, and a job that has left something."""

    def __init__(self, folder: Path) -> None:
        self.home = Home(folder)
        self.share = Share(self.home.paths)
        self.share.open()
        self.outbox = Outbox(self.home.paths.outbox, self.share.check)
        self.results = Results(self.outbox, self.home.paths.jobs)
        self.job = self.home.running()
        self.results.output_folder(self.job).mkdir(parents=True)

    def leaves(self, log: bytes = b"epoch 1\n", **files: bytes) -> None:
        self.results.log_file(self.job).write_bytes(log)
        for name, content in files.items():
            (self.results.output_folder(self.job) / name).write_bytes(content)

    def end(self) -> Job:
        reason = Reason("succeeded", "It is.")
        return self.home.platform.finish(self.job.id, StateName.SUCCEEDED, reason, at=self.home.clock.now())

    def take_share_away(self) -> None:
        self.home.paths.share.rename(self.home.paths.share.with_name("away"))
        self.home.paths.share.mkdir()

    def bring_share_back(self) -> None:
        self.home.paths.share.rmdir()  # which it only is while nothing was made below it
        self.home.paths.share.with_name("away").rename(self.home.paths.share)

    @property
    def folder(self) -> Path:
        return self.outbox.place(self.job)


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    bench = Bench(tmp_path)
    yield bench
    bench.home.close()


# --- bringing ---


def test_everything_of_a_run_is_brought_and_bringing_it_again_changes_nothing(bench: Bench) -> None:
    bench.leaves(metrics=b"{}")
    for _ in range(3):
        bench.results.bring(bench.job)
    assert (bench.folder / JOB_LOG).read_bytes() == b"epoch 1\n"
    assert (bench.folder / OUTPUT / "metrics").read_bytes() == b"{}"


def test_results_that_were_brought_and_forgotten_are_not_made_anew(bench: Bench) -> None:
    bench.leaves(metrics=b"{}")
    bench.results.bring(bench.job)
    shutil.rmtree(bench.results.log_file(bench.job).parent)
    shutil.rmtree(bench.folder)  # its user has tidied up
    bench.results.bring(bench.job)
    assert not bench.folder.exists()


@given(st.binary(max_size=200), st.lists(st.integers(0, 200), max_size=5), st.integers(1, 50))
def test_a_log_arrives_as_it_is_however_often_it_was_broken_off(log: bytes, sizes: list[int], chunk: int) -> None:
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(results_module, "_CHUNK_BYTES", chunk)
        bench = Bench(Path(folder))
        for size in sorted(sizes):  # what was there when it was brought
            bench.leaves(log[:size])
            bench.results.bring_log(bench.job)
            assert (bench.folder / JOB_LOG).read_bytes() == log[:size]
        bench.leaves(log)
        bench.results.bring(bench.job)
        assert (bench.folder / JOB_LOG).read_bytes() == log
        bench.home.close()


@pytest.mark.parametrize("elsewhere", [False, True], ids=["one disk", "two disks"])
@pytest.mark.parametrize("countdown", range(16))
def test_killed_at_any_step_and_repeated_everything_is_there_once(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, countdown: int, elsewhere: bool
) -> None:
    bench.leaves(b"epoch 1\nepoch 2\nepoch 3\n", a=b"a", b=b"b")
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

    def copied(_self: Path, _target: Path) -> Path:
        raise OSError(18, "Invalid cross-device link")

    if elsewhere:
        monkeypatch.setattr(Path, "rename", copied)
    with monkeypatch.context() as killing, suppress(Killed):
        killing.setattr(results_module, "_CHUNK_BYTES", 10)
        killing.setattr(os, "pread", dying(os.pread))
        killing.setattr(Path, "replace", dying(Path.replace))
        if not elsewhere:
            killing.setattr(Path, "rename", dying(Path.rename))
        killing.setattr(outputs_module.shutil, "copyfile", dying(shutil.copyfile))
        bench.results.bring(bench.job)
    Results(bench.outbox, bench.home.paths.jobs).bring(bench.job)  # the next life
    assert (bench.folder / JOB_LOG).read_bytes() == b"epoch 1\nepoch 2\nepoch 3\n"
    assert {path.name: path.read_bytes() for path in (bench.folder / OUTPUT).iterdir()} == {"a": b"a", "b": b"b"}


@pytest.mark.parametrize("other", [Results.bring, Results.bring_log])
def test_two_at_once_bring_a_log_once(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, other: Callable[[Results, Job], None]
) -> None:
    bench.leaves(b"epoch 1\n")
    read, first, both = os.pread, threading.Lock(), threading.Event()

    def reads(*args: int) -> bytes:
        if first.acquire(blocking=False):
            second.start()
            both.wait(0.2)  # for the other to read the same, which it must not
        else:
            both.set()
        return read(*args)

    second = threading.Thread(target=other, args=(bench.results, bench.job))
    monkeypatch.setattr(os, "pread", reads)
    bench.results.bring(bench.job)
    second.join(5.0)
    assert (bench.folder / JOB_LOG).read_bytes() == b"epoch 1\n"


def test_nothing_is_written_where_the_share_is_away(bench: Bench) -> None:
    bench.leaves()
    bench.take_share_away()
    with pytest.raises(OSError, match="not mounted"):
        bench.results.bring(bench.job)
    assert list(bench.home.paths.share.iterdir()) == []
    assert bench.results.log_file(bench.job).exists()


def test_a_link_in_the_place_of_a_log_is_not_followed(bench: Bench, tmp_path: Path) -> None:
    bench.leaves()
    (bench.outbox.folder(bench.job) / JOB_LOG).symlink_to(tmp_path / "precious")
    with pytest.raises(OSError, match="symbolic"):
        bench.results.bring(bench.job)
    assert not (tmp_path / "precious").exists()


def kept_build_log(bench: Bench) -> Path:
    return bench.results.log_file(bench.job).with_name(BUILD_LOG)


@pytest.mark.parametrize("there", [None, b"Step 1\n", b"Step 1\nStep 2\nStep 3, of an earlier build\n"])
def test_a_build_log_is_in_the_share_as_it_is_whatever_was_there(bench: Bench, there: bytes | None) -> None:
    kept_build_log(bench).write_bytes(b"Step 1\nStep 2\n")
    target = bench.outbox.folder(bench.job) / BUILD_LOG
    if there is not None:
        target.write_bytes(there)
    for _ in range(2):
        bench.results.bring_build_log(bench.job)
        assert target.read_bytes() == b"Step 1\nStep 2\n"


# --- reading ---


def test_logs_can_be_read_while_the_share_is_away_though_not_the_outputs(bench: Bench) -> None:
    bench.leaves(metrics=b"{}")
    bench.take_share_away()
    job = bench.end()
    assert bench.results.read(job, JOB_LOG, 6, 100) == b"1\n"
    kept_build_log(bench).write_bytes(b"Step 1\n")
    assert bench.results.read(job, BUILD_LOG, 0, 100) == b"Step 1\n"
    with pytest.raises(TryAgain, match="the share does not answer"):
        bench.results.list(job)
    with pytest.raises(TryAgain, match="the share does not answer"):
        bench.results.read(job, "output/metrics", 0, 10)
    bench.bring_share_back()
    with pytest.raises(TryAgain, match="on their way"):
        bench.results.list(job)
    bench.results.bring(job)
    assert [result.path for result in bench.results.list(job).files] == [JOB_LOG, "output/metrics"]
    assert bench.results.read(job, "output/metrics", 0, 10) == b"{}"


def test_what_never_was_is_not_promised(bench: Bench) -> None:
    job = bench.home.building()
    assert bench.results.list(job).files == []
    with pytest.raises(NotFound):
        bench.results.read(job, JOB_LOG, 0, 10)


# --- the mirror ---


def test_a_log_is_in_the_share_while_it_grows_as_soon_as_the_share_takes_it(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dopq.log_mirror.RETRY_S", 0.02)
    mirror = LogMirror(bench.results)
    mirror.start()
    bench.leaves(b"epoch 1\n")
    mirror.grew(bench.job)
    log = bench.folder / JOB_LOG
    wait_until(lambda: log.exists() and log.read_bytes() == b"epoch 1\n", 5.0)
    bench.take_share_away()
    bench.leaves(b"epoch 1\nepoch 2\n")
    mirror.grew(bench.job)
    wait_until(lambda: mirror._refused, 5.0)
    bench.bring_share_back()
    wait_until(lambda: log.read_bytes() == b"epoch 1\nepoch 2\n", 5.0)
    mirror.stop(5.0)
    assert not mirror._thread.is_alive()


def test_a_log_that_cannot_be_brought_holds_up_no_other(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dopq.log_mirror.RETRY_S", 0.02)
    mirror, other = LogMirror(bench.results), bench.home.running()
    bench.leaves()
    (bench.outbox.folder(bench.job) / JOB_LOG).mkdir()
    bench.results.log_file(other).parent.mkdir()
    bench.results.log_file(other).write_bytes(b"fine\n")
    mirror.grew(bench.job)
    mirror.grew(other)
    mirror.start()
    wait_until((bench.outbox.place(other) / JOB_LOG).exists, 5.0)
    (bench.folder / JOB_LOG).rmdir()
    wait_until((bench.folder / JOB_LOG).exists, 5.0)
    mirror.stop(5.0)
