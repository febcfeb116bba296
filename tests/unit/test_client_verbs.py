"""The verbs about jobs, as users and scripts meet them: pages, several jobs at once, filters, watching, running again."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import click
import pytest

from dopq.errors import ServiceUnreachable
from dopq.job import ImageId, StateName, work_of
from dopq_client import cli
from dopq_client.catalogue import VERBS
from tests.client_terminal import Terminal
from tests.in_memory_node import InMemoryNode


@pytest.fixture
def node(tmp_path: Path) -> Iterator[InMemoryNode]:
    (tmp_path / "node").mkdir()
    node = InMemoryNode(tmp_path / "node")
    yield node
    node.close()


@pytest.fixture
def run(node: InMemoryNode, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Terminal:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setattr("platformdirs.user_config_path", lambda name: tmp_path / name)
    monkeypatch.setenv("DOPQ_HOST", "gpu1:9090")
    monkeypatch.setenv("DOPQ_TOKEN", node.tokens["anna"])
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "120")
    return Terminal(node, node.link(None))


def interrupted(*_: object) -> None:
    raise KeyboardInterrupt


# --- the list of verbs ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", VERBS)
def test_the_line_of_a_verb_is_the_first_sentence_of_its_docstring(name: str) -> None:
    verb = cli.main.get_command(click.Context(cli.main), name)
    assert verb is not None
    assert verb.name == name
    assert (verb.help or "").replace("\n", " ").startswith(VERBS[name].line)


@pytest.mark.parametrize("name", VERBS)
def test_every_verb_helps_on_a_terminal_of_twenty_columns(run: Terminal, name: str) -> None:
    result = run(name, "--help", COLUMNS="20")
    assert result.exit_code == 0
    assert "Usage:" in result.stdout


# --- pages ------------------------------------------------------------------------------------------------------------


def test_status_asks_once_and_for_a_page(run: Terminal, node: InMemoryNode) -> None:
    for _ in range(60):
        node.queued()
    shown = run("status").stdout
    assert run.link.calls == ["get_jobs", "close"]
    assert "1 to 50 of 60: 60 queued.\nThe next: dopq-client status --skip 50\n" in shown
    last = run("status", "--skip", "50", "--mine", "--limit", "20").stdout
    assert last.count("queued") == 11
    assert "The next" not in last


def test_the_next_page_is_of_the_same_jobs(run: Terminal, node: InMemoryNode) -> None:
    for _ in range(3):
        node.queued("bert")
    shown = run("status", "--user", "bert", "--state", "queued", "--limit", "2").stdout
    assert "The next: dopq-client status --state queued --user bert --limit 2 --skip 2\n" in shown


def test_status_leaves_what_has_ended_to_the_history(run: Terminal) -> None:
    result = run("status", "--state", "failed")
    assert result.exit_code == 2
    assert "dopq-client history --state" in result.stderr


def test_the_history_of_the_last_days_of_somebody(run: Terminal, node: InMemoryNode) -> None:
    node.ended(user="bert")
    node.ended(StateName.FAILED, 1)
    assert [job["id"] for job in run.json("history", "--user", "bert")["jobs"]] == [1]
    assert [job["id"] for job in run.json("history", "--state", "failed")["jobs"]] == [2]
    since = node.clock.now() + timedelta(days=1)
    assert run.json("history", "--since", since.date().isoformat() + "T23:59")["jobs"] == []
    assert run("history", "--since", "2d").exit_code == 0
    assert "no time" in run("history", "--since", "soon").stderr


def test_the_history_as_csv_is_one_line_a_job_and_runs_nothing(run: Terminal, node: InMemoryNode) -> None:
    node.ended(StateName.FAILED, 3, name='=cmd|"/c calc"')
    heading, row = csv.reader(io.StringIO(run("history", "--csv").stdout))
    told = dict(zip(heading, row, strict=True))
    assert (told["id"], told["state"], told["exit_code"], told["reason"]) == ("1", "failed", "3", "exited")
    assert told["name"].startswith("'=")
    assert run("history", "--csv", "--json").exit_code == 2


# --- watching ---------------------------------------------------------------------------------------------------------


def test_what_is_watched_is_shown_anew_only_when_it_has_changed(run: Terminal, node: InMemoryNode) -> None:
    job = node.queued()
    looks = iter([None, None, lambda: node.platform.cancel(job.id, "anna"), None, interrupted])

    def wait(_seq: int, _wait_s: float) -> int:
        act = next(looks)
        if act is not None:
            act()
        return job.seq

    run.link.answers["wait_for_change"] = wait
    result = run("status", "--watch", "--json")
    pages = [json.loads(line) for line in result.stdout.splitlines()]
    assert [page["total"] for page in pages] == [1, 0]
    assert result.exit_code == 130


def test_jobs_that_are_watched_stay_the_same_jobs(run: Terminal, node: InMemoryNode) -> None:
    node.queued()
    looks = iter(
        [
            lambda: None,
            node.queued,
            lambda: node.platform.cancel(node.platform.job(1).id, "anna"),
            interrupted,
        ]
    )  # type: ignore[arg-type]

    def wait(*_: object) -> int:
        next(looks)()
        return 1

    run.link.answers["wait_for_change"] = wait
    shown = [json.loads(line) for line in run("status", "@", "--watch", "--json").stdout.splitlines()]
    assert [[(job["id"], job["state"]) for job in one["jobs"]] for one in shown] == [
        [(1, "queued")],
        [(1, "cancelled")],
    ]


# --- several jobs -----------------------------------------------------------------------------------------------------


def test_each_of_several_jobs_has_a_line_and_the_exit_code_is_the_worst(run: Terminal, node: InMemoryNode) -> None:
    node.queued(name="one")
    node.queued(name="two")
    result = run("cancel", "one", "@", "99")
    assert result.stdout.splitlines() == [
        "Job 1 (one) was cancelled: Cancelled by anna.",
        "Job 2 (two) was cancelled: Cancelled by anna.",
    ]
    assert "no job 99" in result.stderr
    assert result.exit_code == 3


def test_all_of_mine_is_nobody_elses(run: Terminal, node: InMemoryNode) -> None:
    node.queued()
    node.queued("bert")
    node.ended()
    assert [job["id"] for job in run.json("hold", "--mine")["jobs"]] == [1]
    assert [job["id"] for job in run.json("release", "--state", "held")["jobs"]] == [1]
    assert run("release", "--mine").stdout == "There is no job to release.\n"


def test_more_than_a_handful_by_filter_takes_a_yes(run: Terminal, node: InMemoryNode) -> None:
    for _ in range(7):
        node.queued()
    refused = run("cancel", "--mine")
    assert refused.exit_code == 2
    assert "This would cancel 7 jobs: 1, 2, 3, 4, 5 and 2 more." in refused.stderr
    assert "--yes" in refused.stderr
    assert {job.state.name for job in node.platform.alive()} == {StateName.QUEUED}
    assert run("cancel", "--mine", "--yes").exit_code == 0
    assert node.platform.alive() == []


def test_those_that_are_named_take_no_yes(run: Terminal, node: InMemoryNode) -> None:
    numbers = [str(node.queued().id) for _ in range(7)]
    assert run("cancel", *numbers).exit_code == 0


@pytest.mark.parametrize("verb", ["wait", "why", "cancel", "hold", "release", "rerun"])
def test_a_verb_wants_to_know_which_jobs(run: Terminal, verb: str) -> None:
    assert run(verb).exit_code == 2
    assert "--mine" in run(verb).stderr
    assert run(verb, "1", "--mine").exit_code == 2
    assert run(verb, "--state", "waiting").exit_code == 2


def test_a_service_that_is_gone_is_not_asked_about_every_job(run: Terminal, node: InMemoryNode) -> None:
    def gone(*_: object) -> None:
        raise ServiceUnreachable("The DoPQ service at gpu1:9090 cannot be reached.", "Check the network.")

    run.link.answers["cancel_job"] = gone
    assert run("cancel", "1", "2", "3").exit_code == 5
    assert run.link.calls == ["cancel_job", "close"]


# --- waiting ----------------------------------------------------------------------------------------------------------


def test_waiting_as_json_is_a_line_for_each_change_and_one_for_the_end(run: Terminal, node: InMemoryNode) -> None:
    node.ended(StateName.FAILED, 3)
    node.ended()
    lines = [json.loads(line) for line in run("wait", "1", "2", "nothing", "--json").stdout.splitlines()]
    assert [line["job"]["id"] for line in lines[:-1]] == [1, 2]
    assert [job["id"] for job in lines[-1]["jobs"]] == [1, 2]
    assert lines[-1]["errors"][0]["code"] == "not_found"
    assert run("wait", "1", "nothing").exit_code == 3


@pytest.mark.parametrize("timeout", ["5", "soon", "-1s", "1w"])
def test_a_timeout_has_a_unit(run: Terminal, timeout: str) -> None:
    result = run("wait", "1", f"--timeout={timeout}")
    assert result.exit_code == 2
    assert "20m" in result.stderr


# --- running again ----------------------------------------------------------------------------------------------------


def rerunnable(node: InMemoryNode) -> None:
    node.images.add(node.ended().id, ImageId("sha256:1234"), "")


def test_a_job_runs_again_with_the_settings_that_are_set(run: Terminal, node: InMemoryNode) -> None:
    rerunnable(node)
    result = run(
        "rerun", "1", "--set", "gpus=0", "--set", "memory=2g", "--set", "name=again", "--set", 'env={EPOCHS="3"}'
    )
    assert result.stdout == "Job 2 (again) is queued.\n"
    work = work_of(node.platform.alive()[0].state)
    assert work is not None
    assert (work.spec.memory_bytes, work.spec.environment) == (2 * 2**30, (("EPOCHS", "3"),))


def test_settings_that_will_not_do_are_refused_all_at_once_and_make_no_job(run: Terminal, node: InMemoryNode) -> None:
    rerunnable(node)
    result = run("rerun", "1", "--set", "gpu=2", "--set", "memory=much", "--set", "python=3.12")
    assert result.exit_code == 2
    for where in ("job.toml: gpu", "job.toml: memory", "job.toml: python"):
        assert where in result.stderr
    assert node.platform.alive() == []
    assert run("rerun", "1", "--set", "gpus").exit_code == 2


def editor(tmp_path: Path, script: str) -> str:
    """A program that edits as `script` (sed) says, each time the next line of it."""
    program = tmp_path / "editor"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    return str(program)


def test_a_jobs_settings_are_edited_as_job_toml(run: Terminal, node: InMemoryNode, tmp_path: Path) -> None:
    rerunnable(node)
    kept = tmp_path / "shown"
    program = editor(tmp_path, f'cp "$1" {kept}; sed -i "s/priority = 0/priority = 5/" "$1"')
    assert run("rerun", "@", "--edit", VISUAL=program).stdout == "Job 2 (iris) is queued.\n"
    assert 'name = "iris"\ngpus = 0\n' in kept.read_text()
    work = work_of(node.platform.alive()[0].state)
    assert work is not None
    assert work.spec.priority == 5


def test_wrong_settings_can_be_edited_again(run: Terminal, node: InMemoryNode, tmp_path: Path) -> None:
    rerunnable(node)
    program = editor(
        tmp_path,
        'if grep -q "priority = 500" "$1"; then sed -i "s/500/5/" "$1"; else sed -i "s/priority = 0/priority = 500/" "$1"; fi',
    )
    result = run("rerun", "@", "--edit", VISUAL=program, stdin="y\n")
    assert "job.toml: priority" in result.stderr
    assert result.stdout == "Job 2 (iris) is queued.\n"


def test_an_editor_that_saves_nothing_hands_nothing_in(run: Terminal, node: InMemoryNode, tmp_path: Path) -> None:
    rerunnable(node)
    for program in (editor(tmp_path, "exit 0"), editor(tmp_path, "exit 3"), "/nonexistent/editor"):
        assert run("rerun", "@", "--edit", VISUAL=program).exit_code == 2
        assert node.platform.alive() == []


# --- shells -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_shell_is_told_how_to_complete(run: Terminal, shell: str) -> None:
    result = run("completion", shell)
    assert result.exit_code == 0
    assert "_DOPQ_CLIENT_COMPLETE" in result.stdout


def completed(run: Terminal, words: str, part: str) -> list[str]:
    shown = run(
        COMP_WORDS=f"dopq-client {words} {part}",
        COMP_CWORD=str(len(words.split()) + 1),
        _DOPQ_CLIENT_COMPLETE="bash_complete",
    )
    return [line.partition(",")[2] for line in shown.stdout.splitlines() if line]


def test_verbs_and_jobs_are_completed(run: Terminal, node: InMemoryNode) -> None:
    node.queued(name="training")
    node.ended(name="iris")
    assert completed(run, "", "sta") == ["status"]
    assert completed(run, "cancel", "tr") == ["training"]
    assert completed(run, "status", "1") == ["1"]
    assert completed(run, "logs", "ir") == ["iris"]


def test_nothing_is_completed_by_a_service_that_does_not_answer(run: Terminal) -> None:
    def gone(*_: object) -> None:
        raise ServiceUnreachable("The DoPQ service at gpu1:9090 cannot be reached.", "Check the network.")

    run.link.answers["get_jobs"] = gone
    assert completed(run, "cancel", "1") == []


# --- errors -----------------------------------------------------------------------------------------------------------


def test_a_name_that_no_job_has_is_answered_with_the_nearest_of_mine(run: Terminal, node: InMemoryNode) -> None:
    node.ended(name="resnet-50")
    node.ended(user="bert", name="resnet-51")
    result = run("status", "resnet50")
    assert result.exit_code == 3
    assert "Did you mean resnet-50? " in result.stderr
    assert "resnet-51" not in result.stderr
