"""A bundle dropped into the share comes back as results."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from dopq.errors import NotAllowed
from dopq_client.client import DopqClient
from tests.acceptance.conftest import MakeBundle
from tests.bundles import zip_of
from tests.node_process import NodeProcess
from tests.waiting import wait_until

RUNS_UNTIL_STOPPED = "trap 'echo bye; exit 9' TERM; echo up; while true; do sleep 0.1; done"


@pytest.fixture(autouse=True)
def consistent(node: NodeProcess) -> Iterator[None]:
    """After every test the journal has to be in order, whatever the test did to the node."""
    yield
    if node.process and node.process.poll() is None:
        assert node.stop() == 0, node.log
    assert "Traceback" not in node.log
    assert "defect" not in node.log


def test_a_dropped_bundle_comes_back_as_results(node: NodeProcess, alice: DopqClient, bundle: MakeBundle) -> None:
    script = "echo working on $DOPQ_JOB; echo 42 > /output/answer.txt; cat /input/n.txt"
    node.drop("alice", bundle("train.zip", script, {"input/n.txt": b"seven\n"}, name="training"))
    job = node.wait_for("alice", "train.zip", "succeeded")
    folder = node.outbox("alice", job)
    assert folder.name == f"{job['id']}-training"
    assert (folder / "job.log").read_text() == f"working on {job['id']}\nseven\n"
    assert (folder / "output" / "answer.txt").read_text() == "42\n"
    assert "succeeded" in (folder / "report.txt").read_text()
    assert "COPY run.sh" in (folder / "build.log").read_text()
    assert list((node.share / "inbox" / "alice").iterdir()) == []
    assert list((node.share / "failed" / "alice").iterdir()) == []


def test_a_submitted_folder_comes_back_through_the_client(
    node: NodeProcess, alice: DopqClient, bundle: MakeBundle, tmp_path: Path
) -> None:
    source = tmp_path / "project"
    with zipfile.ZipFile(bundle("b.zip", "echo hello; echo 1 > /output/one.txt", name="folder-job")) as archive:
        archive.extractall(source)
    (source / "run.sh").chmod(0o755)
    seen: list[tuple[int, int]] = []
    job = alice.submit(source, progress=lambda sent, total: seen.append((sent, total)))
    [ended] = alice.wait([job["id"]], timeout_s=60)
    assert (ended["state"], ended["exit_code"], ended["name"]) == ("succeeded", 0, "folder-job")
    assert seen[-1][0] == seen[-1][1] > 0
    assert b"".join(alice.logs(job["id"])) == b"hello\n"
    alice.fetch(job["id"], tmp_path / "results")
    assert {p.name for p in (tmp_path / "results").rglob("*") if p.is_file()} >= {"one.txt", "job.log", "report.txt"}
    assert [h["id"] for h in alice.history()] == [job["id"]]


def test_a_bundle_without_dockerfile_is_refused_with_a_reason_and_kept(
    node: NodeProcess, alice: DopqClient, bundle: MakeBundle, tmp_path: Path
) -> None:
    empty = zip_of(tmp_path / "no-dockerfile.zip", {"notes.txt": b"hello"})
    node.drop("alice", empty)
    job = node.wait_for("alice", "no-dockerfile.zip", "invalid")
    kept = node.share / "invalid" / "alice"
    wait_until((kept / "no-dockerfile.zip.reason.json").exists, 5.0)
    assert (kept / "no-dockerfile.zip").read_bytes() == empty.read_bytes()
    reason = json.loads((kept / "no-dockerfile.zip.reason.json").read_text())
    assert reason["job"] == job["id"]
    assert any("Dockerfile" in problem["what"] + problem["instead"] for problem in reason["problems"])
    assert "Dockerfile" in (kept / "no-dockerfile.zip.reason.txt").read_text()
    _a_good_bundle_still_runs(node, bundle)


def test_a_truncated_zip_is_waited_for_then_refused_and_kept(
    node: NodeProcess, alice: DopqClient, bundle: MakeBundle
) -> None:
    whole = bundle("cut.zip", "true")
    whole.write_bytes(whole.read_bytes()[:-40])
    node.drop("alice", whole)
    job = node.wait_for("alice", "cut.zip", "invalid")
    assert "half a copy" in job["problems"][0]["what"]
    assert (node.share / "invalid" / "alice" / "cut.zip").read_bytes() == whole.read_bytes()
    _a_good_bundle_still_runs(node, bundle)


def test_a_zip_that_arrives_slowly_is_not_judged_before_it_is_whole(
    node: NodeProcess, alice: DopqClient, bundle: MakeBundle
) -> None:
    content = bundle("slow.zip", "echo complete").read_bytes()
    target = node.share / "inbox" / "alice" / "slow.zip"
    with target.open("wb") as file:
        for at in range(0, len(content), 64):
            file.write(content[at : at + 64])
            file.flush()
            assert node.status("alice", "slow.zip") is None
    node.wait_for("alice", "slow.zip", "succeeded")


def test_a_failed_build_keeps_bundle_and_log(
    node: NodeProcess, alice: DopqClient, busybox_image: str, tmp_path: Path, bundle: MakeBundle
) -> None:
    dockerfile = f"FROM {busybox_image}\nRUN echo before the fall; false\n"
    node.drop("alice", zip_of(tmp_path / "bad-build.zip", {"Dockerfile": dockerfile}))
    job = node.wait_for("alice", "bad-build.zip", "build_failed")
    assert "before the fall" in (node.outbox("alice", job) / "build.log").read_text()
    assert job["reason"]["code"] == "build_failed"
    assert "false" in job["reason"]["sentence"]
    assert (node.share / "failed" / "alice" / "bad-build.zip").exists()
    _a_good_bundle_still_runs(node, bundle)


def test_a_job_that_exits_3_failed_with_3(node: NodeProcess, alice: DopqClient, bundle: MakeBundle) -> None:
    node.drop("alice", bundle("three.zip", "echo partial > /output/part.txt; echo oops; exit 3"))
    job = node.wait_for("alice", "three.zip", "failed")
    assert job["exit_code"] == 3
    assert (node.outbox("alice", job) / "job.log").read_text() == "oops\n"
    assert (node.outbox("alice", job) / "output" / "part.txt").read_text() == "partial\n"
    assert (node.share / "failed" / "alice" / "three.zip").exists()
    _a_good_bundle_still_runs(node, bundle)


def test_a_running_job_can_be_cancelled(node: NodeProcess, alice: DopqClient, bundle: MakeBundle) -> None:
    job = alice.submit(bundle("run.zip", RUNS_UNTIL_STOPPED))
    wait_until(lambda: alice.job(job["id"])["state"] == "running", 30.0)
    assert alice.cancel(job["id"])["state"] in {"stopping", "cancelled"}
    [ended] = alice.wait([job["id"]], timeout_s=30)
    assert (ended["state"], ended["reason"]["code"]) == ("cancelled", "cancelled")
    assert b"bye" in b"".join(alice.logs(job["id"]))
    wait_until((node.share / "failed" / "alice" / "run.zip").exists, 5.0)
    _a_good_bundle_still_runs(node, bundle)


def test_a_queued_job_can_be_cancelled(node: NodeProcess, alice: DopqClient, bundle: MakeBundle) -> None:
    with node.add_user("boss", role="admin") as admin:
        admin.lock("maintenance", minutes=5)
        job = alice.submit(bundle("wait.zip", "true"))
        wait_until(lambda: alice.job(job["id"])["position"] == 1, 30.0)
        assert "maintenance" in alice.job(job["id"])["reason"]["sentence"]
        assert alice.cancel(job["id"])["state"] == "cancelled"
        wait_until((node.share / "failed" / "alice" / "wait.zip").exists, 5.0)
        admin.unlock()
    _a_good_bundle_still_runs(node, bundle)


def test_a_job_that_overruns_its_time_limit_is_stopped(
    node: NodeProcess, alice: DopqClient, busybox_image: str, tmp_path: Path
) -> None:
    dockerfile = f'FROM {busybox_image}\nCMD ["sh", "-c", "{RUNS_UNTIL_STOPPED}"]\n'
    job = alice.submit(zip_of(tmp_path / "long.zip", {"Dockerfile": dockerfile, "job.toml": 'time_limit = "1s"\n'}))
    [ended] = alice.wait([job["id"]], timeout_s=30)
    assert (ended["state"], ended["reason"]["code"]) == ("timed_out", "time_limit")


def test_nobody_changes_or_reads_anothers_job(node: NodeProcess, alice: DopqClient, bundle: MakeBundle) -> None:
    job = alice.submit(bundle("mine.zip", RUNS_UNTIL_STOPPED))
    wait_until(lambda: alice.job(job["id"])["state"] == "running", 30.0)
    with node.add_user("mallory") as mallory:
        with pytest.raises(NotAllowed):
            mallory.cancel(job["id"])
        with pytest.raises(NotAllowed):
            b"".join(mallory.logs(job["id"]))
        with pytest.raises(NotAllowed):
            mallory.shutdown_queue()
    assert alice.job(job["id"])["state"] == "running"
    alice.cancel(job["id"])
    alice.wait([job["id"]], timeout_s=30)


def test_what_a_user_writes_into_the_outputs_cannot_reach_the_host(
    node: NodeProcess, alice: DopqClient, bundle: MakeBundle
) -> None:
    script = "cd /output; busybox ln -s /etc/passwd stolen; busybox mkfifo pipe; echo fine > good.txt"
    job = alice.submit(bundle("links.zip", script))
    [ended] = alice.wait([job["id"]], timeout_s=60)
    assert ended["state"] == "succeeded"
    assert [p.name for p in (node.outbox("alice", ended) / "output").iterdir()] == ["good.txt"]


def _a_good_bundle_still_runs(node: NodeProcess, bundle: MakeBundle) -> None:
    node.drop("alice", bundle("good.zip", "echo fine"))
    node.wait_for("alice", "good.zip", "succeeded")
