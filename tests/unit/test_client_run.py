"""`run` and `logs -f`: a job is followed from its build to its end, and its results are there then."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from dopq.job import ImageId, JobSpec, Reason, StateName
from dopq_client import cli
from dopq_client.session import Session
from tests.in_memory_node import InMemoryNode, MemoryLink


class Lab:
    """`dopq-client` as anna, and a node on which jobs get on whenever their log is asked for."""

    def __init__(self, folder: Path) -> None:
        self.node = InMemoryNode(folder)
        self.link = MemoryLink(self.node, self.node.tokens["anna"])
        self._straight = self.node.link(self.node.tokens["anna"])
        self._steps: list[Callable[[], object]] = []
        self.link.answers["read_log"] = self._read_log

    def goes(self, *steps: Callable[[], object]) -> None:
        """Each of these happens before an answer about a log that has nothing new."""
        self._steps = list(steps)

    def _read_log(self, *arguments: Any) -> Any:
        answer = self._straight.call("read_log", *arguments[:4], 0.0)
        while not answer["data"] and not answer["complete"] and self._steps:
            self._steps.pop(0)()
            answer = self._straight.call("read_log", *arguments[:4], 0.0)
        return answer

    def job(self) -> Any:
        return self.node.platform.find("@", "anna")  # type: ignore[arg-type]

    def prints(self, log: str, text: bytes) -> Callable[[], object]:
        return lambda: self.node.leaves(self.job(), log, text)

    def built(self) -> None:
        spec = JobSpec(name="training", gpus=0)
        self.node.platform.enqueue(self.job().id, spec, ImageId("sha256:1"), has_input=False)

    def starts(self) -> None:
        self.node.platform.begin(self.job().id, frozenset())
        self.node.platform.mark_running(self.job().id, self.node.clock.now())

    def ends(self, outcome: Any = StateName.SUCCEEDED, code: int = 0) -> Callable[[], object]:
        return lambda: self.node.end(self.job(), outcome, code)

    def __call__(self, *words: str) -> Result:
        return CliRunner().invoke(cli.main, list(words), obj=Session(open=lambda _account: self.link))


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Lab]:
    for folder in ("node", "here"):
        (tmp_path / folder).mkdir()
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setenv("DOPQ_HOST", "gpu1:9090")
    monkeypatch.setenv("DOPQ_TOKEN", "token")
    monkeypatch.setenv("NO_COLOR", "1")
    lab = Lab(tmp_path / "node")
    yield lab
    lab.node.close()


@pytest.fixture
def project() -> Path:
    (Path("training") / "code").mkdir(parents=True)
    (Path("training") / "code" / "app.py").write_text("print(1)")
    return Path("training")


def succeeds(lab: Lab) -> None:
    lab.goes(
        lab.prints("build.log", b"Step 1\n"),
        lab.built,
        lab.starts,
        lab.prints("job.log", b"epoch 1\n"),
        lab.prints("output/metrics.json", b"{}"),
        lab.ends(),
    )


def test_a_projects_results_come_into_its_own_output(lab: Lab, project: Path) -> None:
    succeeds(lab)
    result = lab("run", str(project))
    assert (result.exit_code, result.stdout) == (0, "Step 1\nepoch 1\n"), result.stderr
    assert (project / "output/metrics.json").read_text() == "{}"
    assert {path.name for path in project.iterdir()} == {"code", "output"}
    assert "is building. This is its build:" in result.stderr
    assert "Job 1 (training) has succeeded" in result.stderr


def test_results_of_a_run_are_not_handed_in_again(lab: Lab, project: Path) -> None:
    import zipfile

    (project / "output").mkdir()
    (project / "output" / "old.bin").write_bytes(b"old")
    (project / "code" / "output").mkdir()
    (project / "code" / "output" / "kept.txt").write_text("part of the code")
    succeeds(lab)
    assert lab("run", str(project)).exit_code == 0
    [spooled] = lab.node.spool.iterdir()
    assert "code/output/kept.txt" in zipfile.ZipFile(spooled).namelist()
    assert not any(name.startswith("output") for name in zipfile.ZipFile(spooled).namelist())


def test_another_bundles_results_come_into_a_folder_named_after_the_job(lab: Lab) -> None:
    Path("iris").mkdir()
    Path("iris/Dockerfile").write_text("FROM scratch")
    succeeds(lab)
    assert lab("run", "iris").exit_code == 0
    assert Path("1-training/output/metrics.json").exists()
    assert Path("1-training/job.log").read_text() == "epoch 1\n"


def test_json_of_a_run_is_one_object_and_the_log_is_elsewhere(lab: Lab, project: Path) -> None:
    succeeds(lab)
    result = lab("run", str(project), "-o", "there", "--json")
    told = json.loads(result.stdout)
    assert (told["job"]["state"], told["folder"]) == ("succeeded", str(Path("there").resolve()))
    assert {file["path"] for file in told["files"]} == {"build.log", "job.log", "output/metrics.json", "report.txt"}
    assert "epoch 1" in result.stderr


def test_a_run_that_fails_ends_with_1_brings_what_there_is_and_says_what_would_help(lab: Lab, project: Path) -> None:
    lab.goes(lab.built, lab.starts, lab.prints("job.log", b"Killed\n"), lab.ends(StateName.FAILED, 3))
    result = lab("run", str(project), "-o", "there")
    assert result.exit_code == 1
    assert Path("there/job.log").read_text() == "Killed\n"
    assert "It ended with exit code 3." in result.stderr
    assert "dopq-client logs 1" in result.stderr
    assert result.output.count("Killed") == 1, "who has just seen the log need not see its end again"


def test_a_run_whose_build_fails_brings_nothing(lab: Lab, project: Path) -> None:
    reason = Reason("build_failed", "No.")
    lab.goes(lambda: lab.node.platform.reject(lab.job().id, StateName.BUILD_FAILED, reason, ()))
    result = lab("run", str(project), "--json")
    told = json.loads(result.stdout)
    assert (result.exit_code, told["folder"], told["files"]) == (1, None, [])
    assert "could not be built" in result.stderr


def test_a_cancelled_run_ends_with_7(lab: Lab, project: Path) -> None:
    lab.goes(lab.built, lab.starts, lab.ends(StateName.CANCELLED, 143))
    assert lab("run", str(project)).exit_code == 7


def test_ctrl_c_leaves_the_job_and_says_how_to_come_back(lab: Lab, project: Path) -> None:
    def interrupted() -> None:
        raise KeyboardInterrupt

    lab.goes(lab.built, lab.starts, interrupted)
    result = lab("run", str(project))
    assert result.exit_code == 130
    assert "job 1 goes on" in result.stderr
    for command in ("logs -f 1", "fetch 1", "cancel 1"):
        assert f"dopq-client {command} " in result.stderr
    assert lab.job().state.name == "running"


def test_ctrl_c_in_a_fetch_says_how_to_go_on(lab: Lab) -> None:
    lab.node.leaves(lab.node.ended(), "job.log", b"x")

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    lab.link.answers["read_results"] = interrupted
    result = lab("fetch", "1", "-o", "there")
    assert result.exit_code == 130
    assert "dopq-client fetch 1 -o there" in result.output


def test_following_a_job_that_is_building_shows_its_build_first(lab: Lab) -> None:
    lab.node.building()
    succeeds(lab)
    result = lab("logs", "-f", "1", "--json")
    lines = [json.loads(line) for line in result.stdout.splitlines()]
    assert [(line["log"], line["line"]) for line in lines] == [("build", "Step 1"), ("job", "epoch 1")]


def test_tail_is_the_last_lines(lab: Lab) -> None:
    lab.node.leaves(lab.node.ended(), "job.log", b"1\n2\n3\n")
    assert lab("logs", "1", "--tail", "2").stdout == "2\n3\n"
    assert lab("logs", "1", "-n", "0").stdout == ""
    assert lab("logs", "-f", "1", "-n", "1").stdout == "3\n"


def test_a_build_has_no_times(lab: Lab) -> None:
    lab.node.ended()
    result = lab("logs", "1", "--build", "--since", "5m")
    assert result.exit_code == 2
    assert "no times" in result.stderr


def test_since_begins_where_the_log_was_then(lab: Lab) -> None:
    from datetime import timedelta

    from dopq.log_times import LogTimes

    job = lab.node.ended()
    lab.node.leaves(job, "job.log", b"old\nnew\n")
    times = LogTimes(lab.node.outbox.folder(job) / ".job.log.times")
    now = lab.node.clock.now()
    times.grew(now, 4)
    times.grew(now + timedelta(minutes=10), 8)
    since = (now + timedelta(minutes=1)).isoformat()
    assert lab("logs", "1", "--since", since).stdout == "new\n"
    assert lab("logs", "1", "--since", (now - timedelta(minutes=1)).isoformat()).stdout == "old\nnew\n"


def test_status_of_a_failed_job_ends_with_what_it_said_last_and_what_would_help(lab: Lab) -> None:
    lab.node.leaves(lab.node.ended(StateName.FAILED, 1), "job.log", b"the cause\n")
    result = lab("status", "1")
    assert "  | the cause" in result.stderr
    assert "dopq-client logs 1" in result.stderr
