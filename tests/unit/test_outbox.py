"""The outbox: the right folder for every job, and no way out of it for whoever reads."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import chdir, suppress
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dopq.container_handler.bundle_name import name_from_bundle
from dopq.container_handler.outputs import discard
from dopq.errors import NotFound
from dopq.job import Job
from dopq.outbox import BUILD_LOG, JOB_LOG, OUTPUT
from tests.platforms import Home, open_descriptors

SECRET = b"the neighbour's thesis"


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Home]:
    home = Home(tmp_path)
    yield home
    home.close()


@pytest.fixture
def job(home: Home) -> Job:
    return home.queued()


@pytest.fixture
def folder(home: Home, job: Job) -> Path:
    """The job's folder with a log, an output, and secrets around it."""
    folder = home.outbox.folder(job)
    (folder / JOB_LOG).write_bytes(b"epoch 1\nepoch 2\n")
    (folder / OUTPUT / "plots").mkdir(parents=True)
    (folder / OUTPUT / "plots" / "loss.txt").write_bytes(b"0.5")
    (folder / OUTPUT / "run.sh").write_bytes(b"#!/bin/sh")
    (folder / OUTPUT / "run.sh").chmod(0o755)
    for place in (folder.parent.parent, folder.parent, folder):
        (place / "secret").write_bytes(SECRET)
    return folder


def read(home: Home, job: Job, path: str, offset: int, length: int) -> bytes:
    descriptor = home.outbox.open(job, path)
    try:
        return os.pread(descriptor, length, offset)
    finally:
        os.close(descriptor)


# --- folders ---


def test_nothing_is_made_where_the_share_is_away(home: Home, job: Job) -> None:
    home.paths.share.rename(home.paths.share.with_name("unmounted"))
    home.paths.share.mkdir()  # the bare mount point
    with pytest.raises(FileNotFoundError):
        home.outbox.folder(job)
    assert list(home.paths.share.iterdir()) == []


def test_a_job_has_one_folder_under_its_users_name(home: Home) -> None:
    job = home.building(bundle="My Bundle.zip")
    folder = home.outbox.folder(job)
    assert folder == home.paths.outbox / "anna" / f"{job.id}-{job.name}"
    assert home.outbox.folder(job) == folder
    assert folder.stat().st_mode & 0o777 == 0o755


def test_the_folder_follows_when_the_spec_gives_another_name(home: Home) -> None:
    building = home.building(bundle="bundle-7.zip")
    first = home.outbox.folder(building)
    (first / BUILD_LOG).write_text("Step 1\n")
    queued = home.platform.enqueue(building.id, home.queued(name="iris").state.work.spec, "sha256:0", has_input=False)  # type: ignore[union-attr, arg-type]
    second = home.outbox.folder(queued)
    assert second.name == f"{queued.id}-iris"
    assert (second / BUILD_LOG).read_text() == "Step 1\n"
    assert not first.exists()


@given(st.text(max_size=80))
def test_a_name_made_from_a_bundles_name_is_always_plain(bundle: str) -> None:
    name = name_from_bundle(bundle)
    assert 1 <= len(name) <= 63
    assert set(name) <= set("abcdefghijklmnopqrstuvwxyz0123456789_.-")
    assert name[0].isalnum()


@pytest.mark.parametrize(
    ("bundle", "name"),
    [
        ("iris.zip", "iris"),
        ("Iris Data.tar.gz", "iris-data"),
        ("a (1)--b.TGZ", "a-1-b"),
        ("../../etc/passwd", "etc-passwd"),
        ("...", "job"),
        ("Übung.tgz", "bung"),
        (".zip", "job"),
        ("a.zip.zip", "a.zip"),
    ],
)
def test_names_made_from_bundles(bundle: str, name: str) -> None:
    assert name_from_bundle(bundle) == name


# --- reading ---


def test_results_are_the_logs_and_the_regular_outputs(home: Home, job: Job, folder: Path) -> None:
    results = {result.path: (result.size, result.executable) for result in home.outbox.results(job).files}
    assert results == {JOB_LOG: (16, False), "output/plots/loss.txt": (3, False), "output/run.sh": (9, True)}


def test_a_job_without_a_folder_has_no_results(home: Home, job: Job) -> None:
    assert home.outbox.results(job).files == []
    with pytest.raises(NotFound):
        read(home, job, JOB_LOG, 0, 10)


def test_what_is_listed_can_be_read_piece_by_piece(home: Home, job: Job, folder: Path) -> None:
    for result in home.outbox.results(job).files:
        whole = b"".join(read(home, job, result.path, at, 4) for at in range(0, result.size, 4))
        assert whole == (folder / result.path).read_bytes()
    assert read(home, job, JOB_LOG, 16, 10) == b""
    assert read(home, job, JOB_LOG, 2**40, 10) == b""


@pytest.mark.parametrize(
    "path",
    [
        "",
        ".",
        "..",
        "/",
        "/etc/passwd",
        "secret",
        "status.json",
        "../secret",
        "../../secret",
        "output/../secret",
        "output/../../secret",
        "output/plots/../../secret",
        "output",
        "output/",
        "output/plots",
        "job.log/x",
        "job.log/..",
        "output/run.sh\0.txt",
        "output/\0",
        "output/\ud800",
        "output/" + "x" * 300,
        "output/" + "x/" * 3000,
        "OUTPUT/run.sh",
    ],
)
def test_what_is_no_result_is_not_found(home: Home, job: Job, folder: Path, path: str) -> None:
    with pytest.raises(NotFound):
        read(home, job, path, 0, 100)


hostile = st.lists(
    st.sampled_from(
        ["..", ".", "", "/", "output", "plots", "loss.txt", "secret", "link", "\0", "~", "job.log", "\udcff"]
    )
    | st.text(max_size=4),
    max_size=7,
).map("/".join)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=300)
@given(hostile)
def test_no_path_leads_out_of_the_results(home: Home, job: Job, folder: Path, path: str) -> None:
    link = folder / OUTPUT / "link"
    if not link.is_symlink():
        link.symlink_to(folder.parent.parent)
    known = {
        file.read_bytes() for file in (folder / JOB_LOG, folder / OUTPUT / "run.sh", folder / "output/plots/loss.txt")
    }
    try:
        content = read(home, job, path, 0, 100)
    except NotFound:
        return
    assert content in known


@pytest.mark.parametrize("where", [JOB_LOG, "output/plots/loss.txt", "output/plots", OUTPUT])
def test_links_are_neither_listed_nor_followed(home: Home, job: Job, folder: Path, where: str) -> None:
    path = folder / where
    path.rename(folder.parent / "moved")
    path.symlink_to(folder.parent / "moved")
    listed = {result.path for result in home.outbox.results(job).files}
    assert not any(name == where or name.startswith(f"{where}/") for name in listed)
    for name in (where, f"{where}/loss.txt", f"{where}/plots/loss.txt", f"{where}/run.sh"):
        with pytest.raises(NotFound):
            read(home, job, name, 0, 10)


def test_a_fifo_is_no_result_and_is_not_waited_for(home: Home, job: Job, folder: Path) -> None:
    os.mkfifo(folder / OUTPUT / "pipe")
    with socket.socket(socket.AF_UNIX) as listener, chdir(folder / OUTPUT):  # a socket's path has to be short
        listener.bind("socket")
    for name in ("output/pipe", "output/socket"):
        assert name not in {result.path for result in home.outbox.results(job).files}
        with pytest.raises(NotFound):
            read(home, job, name, 0, 10)


def test_a_tree_deeper_than_the_stack_is_listed(home: Home, job: Job, folder: Path) -> None:
    deep = folder / OUTPUT
    for _ in range(1100):
        deep = deep / "d"
        deep.mkdir()
    results = home.outbox.results(job).files
    discard(folder)  # pytest cannot
    assert len(results) == 3


def test_no_descriptor_is_left_open(home: Home, job: Job, folder: Path) -> None:
    before = open_descriptors()
    for path in ("output", "output/run.sh", "output/nothing", "job.log/x", "output/plots/\0"):
        with suppress(NotFound):
            read(home, job, path, 0, 10)
    assert open_descriptors() == before
