"""The command as users and scripts meet it: words, JSON and exit codes."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dopq import __version__
from dopq.errors import InvariantBroken, ServiceUnreachable
from dopq.job import ImageId, JobId, Problem, Reason, StateName
from dopq_client.catalogue import VERBS
from tests.client_terminal import Terminal
from tests.in_memory_node import InMemoryNode

HOSTILE = "\x1b[2J\u202e[red]\x9b"


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


@pytest.fixture
def bundle(tmp_path: Path) -> str:
    folder = tmp_path / "training"
    folder.mkdir()
    (folder / "Dockerfile").write_text("FROM scratch")
    return str(folder)


# --- handing in -------------------------------------------------------------------------------------------------------


def test_submit_ends_with_the_next_three_commands_and_they_work(run: Terminal, node: InMemoryNode, bundle: str) -> None:
    result = run("submit", bundle)
    assert result.exit_code == 0
    assert result.stdout.splitlines() == [
        "Job 1 (training) was taken.",
        "  dopq-client status 1    where it stands",
        "  dopq-client logs -f 1   what it prints",
        "  dopq-client fetch 1     its results",
    ]
    node.platform.reject(JobId(1), StateName.BUILD_FAILED, Reason("build_failed", "It has no CMD."))
    for line in result.stdout.splitlines()[1:]:
        assert run(*line[:25].split()[1:]).exit_code == 0


def test_submit_as_json_says_the_words_on_stderr(run: Terminal, bundle: str) -> None:
    result = run("submit", bundle, "--json")
    told = json.loads(result.stdout)
    assert (told["schema_version"], told["errors"]) == (1, [])
    assert [(job["id"], job["state"], job["bundle"]) for job in told["jobs"]] == [(1, "building", "training.zip")]
    assert "logs -f 1" in result.stderr


def test_submit_of_several_goes_on_after_a_bad_one(run: Terminal, bundle: str, tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    result = run("submit", str(empty), bundle, "--json")
    told = json.loads(result.stdout)
    assert result.exit_code == 2
    assert [job["name"] for job in told["jobs"]] == ["training"]
    assert [(error["reference"], error["code"]) for error in told["errors"]] == [(str(empty), "bad_request")]


def test_submit_of_nothing_is_a_usage_error(run: Terminal) -> None:
    assert run("submit").exit_code == 2
    assert run("submit", "nowhere.zip").exit_code == 2


# --- looking ----------------------------------------------------------------------------------------------------------


def test_status_without_jobs_lists_them_and_with_jobs_tells_all(run: Terminal, node: InMemoryNode) -> None:
    assert "No jobs" in run("status").stdout
    node.running(name="training")
    assert "running" in run("status").stdout
    card = run("status", "@", "training", "1").stdout
    assert card.count("1 training") == 3


def test_status_of_a_job_that_is_not_there_exits_3_and_still_tells_of_the_others(
    run: Terminal, node: InMemoryNode
) -> None:
    node.running()
    result = run("status", "99", "1", "--json")
    assert result.exit_code == 3
    told = json.loads(result.stdout)
    assert [job["id"] for job in told["jobs"]] == [1]
    assert told["errors"][0]["code"] == "not_found"
    assert "no job 99" in result.stderr


@pytest.mark.parametrize(
    ("verb", "key"),
    [
        (["status"], "jobs"),
        (["status", "1"], "jobs"),
        (["history"], "jobs"),
        (["users"], "users"),
        (["system"], "system"),
        (["whoami"], "user"),
        (["fetch", "1"], "files"),
        (["cancel", "2"], "jobs"),
    ],
)
def test_json_stands_alone_on_stdout(run: Terminal, node: InMemoryNode, verb: list[str], key: str) -> None:
    node.ended(StateName.FAILED, 1)
    node.queued(name=HOSTILE)
    result = run(*verb, "--json")
    told = json.loads(result.stdout)
    assert told["schema_version"] == 1
    assert key in told
    assert result.stdout.isascii()


def test_history_shows_mine_and_no_more_than_asked(run: Terminal, node: InMemoryNode) -> None:
    for user in ("anna", "bert", "anna"):
        node.ended(user=user)
    assert len(run.json("history")["jobs"]) == 3
    assert {job["user"] for job in run.json("history", "--mine")["jobs"]} == {"anna"}
    assert len(run.json("history", "--limit", "1")["jobs"]) == 1
    assert run("history", "--limit", "0").exit_code == 2


def test_whoami_tells_name_role_and_place(run: Terminal) -> None:
    told = run("whoami").stdout
    assert told.startswith(
        "anna (user, weight 1) at gpu1:9090, in the clear, on this machine; your token holds until 20"
    )


# --- waiting and the exit codes ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("outcome", "own_code", "code"),
    [
        (StateName.SUCCEEDED, 0, 0),
        (StateName.FAILED, 3, 1),
        (StateName.LOST, None, 1),
        (StateName.CANCELLED, 137, 7),
    ],
)
def test_wait_exits_as_the_job_ended(
    run: Terminal, node: InMemoryNode, outcome: Any, own_code: int | None, code: int
) -> None:
    job = node.ended(outcome, own_code)
    assert run("wait", str(job.id)).exit_code == code
    assert run("wait", "--propagate", str(job.id)).exit_code == (own_code or code)


def test_wait_for_several_exits_with_the_worst(run: Terminal, node: InMemoryNode) -> None:
    node.ended(StateName.CANCELLED, 137)
    node.ended(StateName.FAILED, 3)
    node.ended()
    assert run("wait", "1", "3").exit_code == 7
    assert run("wait", "1", "2", "3").exit_code == 1


def test_wait_that_runs_out_of_time_exits_6(run: Terminal, node: InMemoryNode) -> None:
    node.running()
    result = run("wait", "1", "--timeout", "0s", "--json")
    assert result.exit_code == 6
    assert json.loads(result.stdout.splitlines()[-1])["error"]["code"] == "wait_timed_out"


def test_wait_that_runs_out_of_time_for_held_jobs_alone_exits_8(run: Terminal, node: InMemoryNode) -> None:
    held = node.building()
    node.platform.hold(held.id, Reason("waiting_for_space", "Waiting for space."))
    assert run("wait", str(held.id), "--timeout", "0s").exit_code == 8
    assert run("wait", str(held.id), str(node.running().id), "--timeout", "0s").exit_code == 6


def test_wait_explains_a_failure_with_the_last_lines_of_the_log(run: Terminal, node: InMemoryNode) -> None:
    job = node.running()
    node.leaves(job, "job.log", b"".join(b"line %d\n" % n for n in range(100)) + b"\x1b[31mout of memory\n")
    node.end(job, StateName.FAILED, 3)
    result = run("wait", "1")
    assert result.stdout == ""
    assert "has failed: It ended with exit code 3." in result.stderr
    assert "  | line 99\n  | \ufffd[31mout of memory\n" in result.stderr
    assert "line 90" not in result.stderr
    assert "dopq-client logs 1" in result.stderr


def test_wait_explains_a_refused_bundle_with_all_its_problems(run: Terminal, node: InMemoryNode) -> None:
    node.refused((Problem("Dockerfile", "is missing", "Add one."), Problem("a/../b", "leads out", "Rename it.")))
    result = run("wait", "1")
    assert result.exit_code == 1
    assert "Dockerfile  is missing     Add one." in result.stderr
    assert "a/../b" in result.stderr


def test_somebody_elses_failure_is_told_without_their_log(run: Terminal, node: InMemoryNode) -> None:
    job = node.running(user="bert")
    node.leaves(job, "job.log", b"private\n")
    node.end(job, StateName.FAILED, 3)
    result = run("wait", "1")
    assert result.exit_code == 1
    assert "private" not in result.output


def test_interrupting_wait_says_that_the_jobs_go_on(run: Terminal, node: InMemoryNode) -> None:
    node.running()
    run.link.answers["wait_for_change"] = interrupted
    result = run("wait", "1")
    assert result.exit_code == 130
    assert "the jobs go on" in result.stderr


def test_cancel_goes_on_after_a_job_that_cannot_be_cancelled(run: Terminal, node: InMemoryNode) -> None:
    node.ended()
    node.running(user="bert")
    node.queued()
    result = run("cancel", "1", "2", "3", "--json")
    told = json.loads(result.stdout)
    assert [job["state"] for job in told["jobs"]] == ["cancelled"]
    assert [error["code"] for error in told["errors"]] == ["wrong_state", "not_allowed"]
    assert result.exit_code == 4, "the worst of the two"
    assert run("cancel", "2").exit_code == 4


def test_hold_and_release_say_how_the_jobs_are_then(run: Terminal, node: InMemoryNode) -> None:
    node.queued()
    node.running()
    result = run("hold", "1", "2")
    assert "Job 1 (iris) is held: anna holds it." in result.stdout
    assert "`dopq-client cancel`" in result.stderr
    assert result.exit_code == 2
    assert run("wait", "1", "--timeout", "0s").exit_code == 8
    assert [job["state"] for job in json.loads(run("release", "1", "--json").stdout)["jobs"]] == ["queued"]


def test_rerun_makes_a_new_job_of_one_that_has_ended(run: Terminal, node: InMemoryNode) -> None:
    node.images.add(node.ended(StateName.FAILED, 1).id, ImageId("sha256:1234"), "")
    result = run("rerun", "@")
    assert result.stdout == "Job 2 (iris) is queued.\n"
    refused = run("rerun", "2", "--json")
    assert json.loads(refused.stdout)["errors"][0]["code"] == "wrong_state"
    assert refused.exit_code == 2


# --- results ----------------------------------------------------------------------------------------------------------


def test_piped_logs_are_the_bytes_of_the_job(run: Terminal, node: InMemoryNode) -> None:
    job = node.ended()
    node.leaves(job, "job.log", b"\x1b[31m\xff\r\nend")
    assert run("logs", "1").stdout_bytes == b"\x1b[31m\xff\r\nend"


def test_an_empty_log_says_where_the_job_stands_and_where_to_look(run: Terminal, node: InMemoryNode) -> None:
    node.building()
    result = run("logs", "1")
    assert result.stdout == ""
    assert "is building. `dopq-client logs -f --build 1` shows its build." in result.stderr
    assert run("logs", "--build", "1").stderr == "There is nothing to show. Job 1 (iris) is building.\n"


def test_logs_as_json_are_one_object_a_line(run: Terminal, node: InMemoryNode) -> None:
    job = node.ended()
    node.leaves(job, "build.log", b"Step 1\n\n\xffno line end")
    lines = [json.loads(line) for line in run("logs", "1", "--build", "--json").stdout.splitlines()]
    assert [line["line"] for line in lines] == ["Step 1", "", "\ufffdno line end"]
    assert {(line["schema_version"], line["job"], line["log"]) for line in lines} == {(1, 1, "build")}


def test_interrupting_a_followed_log_says_that_the_job_goes_on(run: Terminal, node: InMemoryNode) -> None:
    node.running()
    run.link.answers["read_log"] = interrupted
    result = run("logs", "-f", "1")
    assert result.exit_code == 130
    assert "job 1 goes on" in result.stderr
    assert "dopq-client cancel 1" in result.stderr


def test_fetch_makes_a_folder_named_after_the_job(run: Terminal, node: InMemoryNode) -> None:
    job = node.ended(name="iris")
    node.leaves(job, "output/metrics.json", b"{}")
    result = run("fetch", "@")
    assert result.stdout.startswith("2 files (")
    assert Path("1-iris/output/metrics.json").read_text() == "{}"


def test_fetch_lets_no_name_choose_where_to_write(run: Terminal, node: InMemoryNode) -> None:
    node.ended()
    run.link.answers["get_job"] = lambda _: {"id": 1, "name": "/../../x", "state": "succeeded"}
    assert run.json("fetch", "1")["folder"] == str(Path("1").resolve())
    assert Path("1/report.txt").exists()


def test_fetch_refuses_a_path_that_leads_out(run: Terminal, node: InMemoryNode) -> None:
    node.ended()
    evil = {"path": "../\x1b[2Jevil", "size": 1, "executable": False}
    run.link.answers["list_results"] = lambda *_: {"files": [evil], "next": None}
    result = run("fetch", "1", "--json")
    assert result.exit_code == 2
    assert json.loads(result.stdout)["error"]["code"] == "unsafe_path"
    assert "\x1b" not in result.output
    assert not list(Path("..").glob("*evil*"))


# --- account ----------------------------------------------------------------------------------------------------------


def test_who_is_not_logged_in_is_told_how(run: Terminal) -> None:
    result = run("status", DOPQ_HOST="", DOPQ_TOKEN="")
    assert result.exit_code == 4
    assert "dopq-client login HOST:PORT" in result.stderr


# --- admins -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "verb", [["lock"], ["unlock"], ["drain"], ["undrain"], ["clear-history"], ["shutdown_queue", "--yes"]]
)
def test_admin_verbs_are_not_for_users(run: Terminal, node: InMemoryNode, verb: list[str]) -> None:
    assert run(*verb).exit_code == 4
    assert not node.stopped


def test_an_admin_drains_and_undrains(run: Terminal, node: InMemoryNode) -> None:
    token = node.tokens["olga"]
    node.running()
    told = run("drain", "--reason", "new disks", DOPQ_TOKEN=token).stdout
    assert told == "Nothing new starts until `dopq-client undrain`; 1 job still to end.\n"
    assert "new disks" in run("system").stdout
    assert run("undrain", DOPQ_TOKEN=token).stdout == "Jobs start again. The queue is not locked.\n"


def test_an_admin_locks_and_unlocks(run: Terminal, node: InMemoryNode) -> None:
    token = node.tokens["olga"]
    locked = run("lock", "--minutes", "5", "--reason", HOSTILE, DOPQ_TOKEN=token).stdout
    assert locked.startswith("The queue is locked by olga until ")
    assert "\x1b" not in locked
    assert run("unlock", DOPQ_TOKEN=token).stdout == "The queue is not locked.\n"
    assert run("lock", "--minutes", "0", DOPQ_TOKEN=token).exit_code == 2


def test_shutdown_asks_first(run: Terminal, node: InMemoryNode) -> None:
    token = node.tokens["olga"]
    assert run("shutdown_queue", DOPQ_TOKEN=token, stdin="n\n").exit_code == 2
    assert run("shutdown_queue", DOPQ_TOKEN=token, stdin="").exit_code == 130
    assert not node.stopped
    assert run("shutdown_queue", DOPQ_TOKEN=token, stdin="y\n").exit_code == 0
    assert node.stopped


def test_clearing_the_history_tells_how_much_it_held(run: Terminal, node: InMemoryNode) -> None:
    node.ended()
    assert "1 job." in run("clear-history", DOPQ_TOKEN=node.tokens["olga"]).stdout


# --- errors -----------------------------------------------------------------------------------------------------------


def interrupted(*_: object) -> None:
    raise KeyboardInterrupt


def unreachable(*_: object) -> None:
    raise ServiceUnreachable("The DoPQ service at gpu1:9090 cannot be reached.", "Check the network.")


def test_an_unreachable_service_exits_5_and_says_what_to_check(run: Terminal) -> None:
    run.link.answers["get_jobs"] = unreachable
    result = run("status")
    assert result.exit_code == 5
    assert result.stdout == ""
    assert result.stderr == "Error: The DoPQ service at gpu1:9090 cannot be reached.\nCheck the network.\n"


def test_an_error_as_json_has_code_message_and_hint(run: Terminal) -> None:
    run.link.answers["get_jobs"] = unreachable
    assert run.json("status")["error"] == {
        "code": "service_unreachable",
        "message": "The DoPQ service at gpu1:9090 cannot be reached.",
        "hint": "Check the network.",
        "details": {},
    }


def test_a_defect_shows_no_traceback_unless_asked(run: Terminal) -> None:
    run.link.answers["get_dopq_user_statistics"] = lambda: [{"user": "anna"}]  # lacks what a user has
    result = run("users")
    assert result.exit_code == 70
    assert "Traceback" not in result.output
    assert "report it" in result.stderr
    assert "Traceback" in run("--debug", "users").stderr


def test_a_defect_of_the_service_is_no_failed_job(run: Terminal) -> None:
    def broken(*_: object) -> None:
        raise InvariantBroken("The service failed on this call.")

    run.link.answers["get_job"] = broken
    assert run("wait", "1").exit_code == 70


def test_ctrl_c_ends_without_a_traceback(run: Terminal) -> None:
    run.link.answers["get_jobs"] = interrupted
    result = run("status")
    assert result.exit_code == 130
    assert "Traceback" not in result.output


@pytest.mark.parametrize(
    "verb", [["status"], ["status", "2"], ["history"], ["users"], ["wait", "1"], ["cancel", "2"], ["hold", "2"]]
)
def test_hostile_names_do_nothing_to_the_screen(run: Terminal, node: InMemoryNode, verb: list[str]) -> None:
    node.ended(StateName.FAILED, 1, name=HOSTILE)
    node.queued(name=HOSTILE)
    shown = run(*verb).output
    assert not {"\x1b", "\u202e", "\x9b"} & set(shown)


def test_every_verb_hangs_up(run: Terminal) -> None:
    run("status")
    assert run.link.calls[-1] == "close"


# --- start-up ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("words", [["--version"], ["--help"], ["status", "--help"], ["login", "--help"]])
def test_help_and_version_load_nothing_heavy(words: list[str]) -> None:
    program = f"""
import sys
from dopq_client.cli import main
try:
    main({words!r})
except SystemExit as end:
    heavy = sorted({{"rich", "Pyro5", "msgpack", "pydantic", "platformdirs", "ssl"}} & set(sys.modules))
    print(end.code, heavy)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "0 []"


def test_help_lists_every_verb_in_one_section(run: Terminal) -> None:
    shown = run("--help").stdout
    assert {line.split()[0] for line in shown.splitlines() if line.startswith("  ") and line[2:3].isalpha()} >= set(
        VERBS
    )
    assert run("--version").stdout == f"dopq-client, version {__version__}\n"
