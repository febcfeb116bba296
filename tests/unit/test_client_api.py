"""DopqClient against a node in memory: the same verbs as the command, and only our own errors."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from dopq.errors import NotAllowed, NotFound, NotLoggedIn, UserError, WrongState
from dopq.job import GpuId, StateName
from dopq_client.client import DopqClient, WaitTimedOut
from dopq_client.fetching import FetchProgress
from dopq_client.shapes import JobInfo
from tests.in_memory_node import InMemoryNode, MemoryLink


@pytest.fixture
def node(tmp_path: Path) -> Iterator[InMemoryNode]:
    (tmp_path / "node").mkdir()
    node = InMemoryNode(tmp_path / "node")
    yield node
    node.close()


@pytest.fixture
def link(node: InMemoryNode) -> MemoryLink:
    return node.link(node.tokens["anna"])


@pytest.fixture
def client(link: MemoryLink) -> Iterator[DopqClient]:
    with DopqClient(link) as client:
        yield client


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    path = tmp_path / "iris.zip"
    with zipfile.ZipFile(path, "w") as zipped:
        zipped.writestr("Dockerfile", "FROM scratch\n" + "#" * 600_000)  # stored: more than two chunks
    return path


def test_a_submitted_file_arrives_as_it_is(client: DopqClient, node: InMemoryNode, bundle: Path) -> None:
    job = client.submit(bundle)
    assert (job["state"], job["name"], job["bundle"], job["user"]) == ("building", "iris", "iris.zip", "anna")
    [spooled] = node.spool.iterdir()
    assert spooled.read_bytes() == bundle.read_bytes()


def test_progress_ends_with_all_of_the_bundle(client: DopqClient, bundle: Path) -> None:
    told: list[tuple[int, int]] = []
    client.submit(bundle, lambda sent, total: told.append((sent, total)))
    size = bundle.stat().st_size
    assert told[-1] == (size, size)
    assert len(told) == 3
    assert told == sorted(told)


def test_a_folder_is_submitted_as_a_zip_of_it(client: DopqClient, node: InMemoryNode, tmp_path: Path) -> None:
    folder = tmp_path / "training"
    folder.mkdir()
    (folder / "Dockerfile").write_text("FROM scratch")
    assert client.submit(folder)["bundle"] == "training.zip"
    [spooled] = node.spool.iterdir()
    assert zipfile.ZipFile(spooled).namelist() == ["Dockerfile"]


def test_a_missing_bundle_is_refused_before_anything_is_sent(
    client: DopqClient, link: MemoryLink, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match="cannot be read"):
        client.submit(tmp_path / "nothing.zip")
    assert link.calls == []


def test_each_submit_makes_a_job_of_its_own(client: DopqClient, bundle: Path) -> None:
    assert client.submit(bundle)["id"] != client.submit(bundle)["id"]


def test_jobs_lists_what_runs_before_what_waits(client: DopqClient, node: InMemoryNode) -> None:
    waiting, running = node.queued(), node.running()
    assert [job["id"] for job in client.jobs()] == [running.id, waiting.id]


def test_wait_returns_when_the_last_job_has_ended(client: DopqClient, node: InMemoryNode) -> None:
    first, second = node.ended(), node.running()
    told: list[tuple[int, str]] = []

    def ends_meanwhile(job: JobInfo) -> None:
        told.append((job["id"], job["state"]))
        if job["state"] == StateName.RUNNING:
            node.end(second, StateName.FAILED, 3)

    ended = client.wait([first.id, "@"], on_change=ends_meanwhile)
    assert [(job["state"], job["exit_code"]) for job in ended] == [("succeeded", 0), ("failed", 3)]
    assert told == [(1, "succeeded"), (2, "running"), (2, "failed")]


def test_waiting_for_any_does_not_wait_for_the_others(client: DopqClient, node: InMemoryNode) -> None:
    running, ended = node.running(), node.ended()
    states = [job["state"] for job in client.wait([running.id, ended.id], any_of=True)]
    assert states == ["running", "succeeded"]


def test_waiting_longer_than_allowed_names_the_jobs_that_go_on(client: DopqClient, node: InMemoryNode) -> None:
    node.ended()
    running = node.running()
    with pytest.raises(WaitTimedOut, match=rf"go on: {running.id}\b"):
        client.wait([1, running.id], timeout_s=0.01)


def test_news_after_a_restart_of_the_node_is_seen_although_its_count_is_smaller(
    client: DopqClient, node: InMemoryNode, link: MemoryLink
) -> None:
    running = node.running()
    counts = iter([1000, 3])

    def count_starts_anew(_after: int, _wait_s: float) -> int:
        count = next(counts)
        if count == 3:
            node.end(running)
        return count

    link.answers["wait_for_change"] = count_starts_anew
    assert client.wait([running.id])[0]["state"] == "succeeded"


def test_a_log_that_is_not_followed_ends_where_it_stands(client: DopqClient, node: InMemoryNode) -> None:
    job = node.running()
    node.leaves(job, "job.log", b"one\ntwo")
    assert b"".join(client.logs(job.id)) == b"one\ntwo"


def test_a_followed_log_loses_and_doubles_nothing(client: DopqClient, node: InMemoryNode) -> None:
    job = node.running()
    node.leaves(job, "job.log", b"".join(b"%d\n" % n for n in range(100_000)))
    pieces = client.logs("@", follow=True)
    seen = next(pieces)
    node.leaves(job, "job.log", b"the end\n")
    node.queued()  # by now `@` means another job
    node.end(job)
    seen += b"".join(pieces)
    assert seen == b"".join(b"%d\n" % n for n in range(100_000)) + b"the end\n"


def test_the_build_log_is_another_log(client: DopqClient, node: InMemoryNode) -> None:
    job = node.ended()
    node.leaves(job, "build.log", b"Step 1\n")
    assert b"".join(client.logs(job.id, build=True, follow=True)) == b"Step 1\n"
    assert b"".join(client.logs(job.id)) == b""


def test_last_lines_come_from_the_end_of_a_long_log(client: DopqClient, node: InMemoryNode) -> None:
    job = node.ended()
    node.leaves(job, "job.log", b"x" * 50_000 + b"\nfirst\nsecond\n")
    assert client.last_lines(job.id, 2) == ["first", "second"]
    assert client.last_lines(node.ended().id) == []


def test_fetch_brings_logs_outputs_and_report(client: DopqClient, node: InMemoryNode, tmp_path: Path) -> None:
    job = node.ended()
    large = bytes(range(256)) * 3000
    node.leaves(job, "job.log", b"hello\n")
    node.leaves(job, "output/model/weights.bin", large)
    node.leaves(job, "output/run.sh", b"#!/bin/sh\n", executable=True)
    node.leaves(job, "output/empty", b"")
    told: list[FetchProgress] = []
    files = client.fetch(job.id, tmp_path / "here", told.append)
    here = tmp_path / "here"
    assert (here / "job.log").read_bytes() == b"hello\n"
    assert (here / "output/model/weights.bin").read_bytes() == large
    assert (here / "output/run.sh").stat().st_mode & 0o777 == 0o755
    assert (here / "output/model/weights.bin").stat().st_mode & 0o111 == 0
    assert (here / "output/empty").read_bytes() == b""
    assert "succeeded" in (here / "report.txt").read_text()
    assert {file["path"]: file["size"] for file in files} == {
        path.relative_to(here).as_posix(): path.stat().st_size for path in here.rglob("*") if path.is_file()
    }
    size = sum(file["size"] for file in files if file["path"] != "report.txt")
    assert told[-1] == FetchProgress(files=4, files_total=4, bytes=size, bytes_total=size)
    assert not any(file["kept"] for file in files)


def test_cancelling_twice_is_fine_and_cancelling_an_ended_job_is_not(client: DopqClient, node: InMemoryNode) -> None:
    job = node.running()
    assert client.cancel(job.id)["state"] == "stopping"
    assert client.cancel(job.id)["state"] == "stopping"
    with pytest.raises(WrongState, match="has ended already"):
        client.cancel(node.ended().id)


def test_a_job_is_held_and_released(client: DopqClient, node: InMemoryNode) -> None:
    job = node.queued()
    assert client.hold(job.id)["state"] == "held"
    assert client.release(job.id)["state"] == "queued"


def test_errors_of_the_node_arrive_as_their_own_classes(client: DopqClient, node: InMemoryNode) -> None:
    with pytest.raises(NotFound, match="no job 99"):
        client.job(99)
    with pytest.raises(NotAllowed, match="belongs to bert"):
        client.cancel(node.running(user="bert").id)
    with pytest.raises(NotAllowed, match="admins only"):
        client.shutdown_queue()
    assert not node.stopped


def test_without_a_token_only_hello_answers(node: InMemoryNode) -> None:
    anonymous = DopqClient(node.link(None))
    assert anonymous.hello()["user"] is None
    with pytest.raises(NotLoggedIn):
        anonymous.jobs()


def test_history_can_be_limited_and_ones_own(client: DopqClient, node: InMemoryNode) -> None:
    mine = [node.ended().id for _ in range(3)]
    node.ended(user="bert")
    assert len(client.history()) == 4
    assert {job["id"] for job in client.history(mine=True)} == set(mine)
    assert len(client.history(limit=2)) == 2


def test_an_admin_locks_unlocks_clears_and_stops(node: InMemoryNode) -> None:
    node.ended()
    admin = DopqClient(node.link(node.tokens["olga"]))
    assert admin.lock("maintenance", 5)["lock"]["reason"] == "maintenance"
    assert admin.unlock()["lock"] is None
    assert admin.drain("maintenance")["drain"]["reason"] == "maintenance"
    assert admin.undrain()["drain"] is None
    assert admin.clear_history() == 1
    admin.shutdown_queue()
    assert node.stopped


def test_users_and_system_tell_who_uses_what(client: DopqClient, node: InMemoryNode) -> None:
    node.running(gpus=frozenset({GpuId("GPU-1")}))
    [anna] = [user for user in client.users() if user["user"] == "anna"]
    assert (anna["gpus_held"], anna["jobs"]["running"]) == (1, 1)
    assert client.system()["queue"]["jobs"] == {"running": 1}
    me = client.whoami()
    assert (me["user"], me["role"], me["weight"], me["email"], me["uid"]) == ("anna", "user", 1.0, None, None)
    assert me["expires_at"] == "2026-04-05T09:00:00.000Z"


def test_leaving_the_block_hangs_up(link: MemoryLink) -> None:
    with DopqClient(link):
        pass
    assert link.calls == ["close"]
