"""`dopq-client new`, `check` and `schema`: bundles judged on the user's own machine, by the node's rules."""

from __future__ import annotations

import gzip
import json
import os
import resource
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from dopq.config import TemplatesSettings
from dopq.container_handler.archive import Limits
from dopq.container_handler.container_config import SpecDefaults
from dopq.container_handler.rules import Rules, rules_to_wire
from dopq.container_handler.template import Templates
from dopq.errors import OperatorError, ServiceUnreachable
from dopq_client import cli, scaffold
from dopq_client.session import Session
from tests.in_memory_node import InMemoryNode, MemoryLink

Run = Callable[..., Result]


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
def alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """`dopq-client` of somebody who is logged in nowhere, in an empty folder."""
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setattr("platformdirs.user_config_path", lambda name: tmp_path / name)
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "120")
    for name in ("DOPQ_HOST", "DOPQ_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    return lambda *words: CliRunner().invoke(cli.main, list(words))


@pytest.fixture
def run(alone: Run, link: MemoryLink, monkeypatch: pytest.MonkeyPatch) -> Run:
    """`dopq-client` as anna of the node."""
    monkeypatch.setenv("DOPQ_HOST", "gpu1:9090")
    monkeypatch.setenv("DOPQ_TOKEN", link.token or "")
    return lambda *words: CliRunner().invoke(cli.main, list(words), obj=Session(open=lambda _account: link))


def project(files: dict[str, str] | None = None) -> str:
    for name, text in ({"code/app.py": "print(1)\n"} | (files or {})).items():
        path = Path("project", name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return "project"


# --- check ------------------------------------------------------------------------------------------------------------


def test_a_good_bundle_is_fine_by_the_limits_of_the_service(run: Run) -> None:
    result = run("check", project())
    assert result.stdout == (
        "project is fine: job project, by the template python.\nChecked with the limits of the service at gpu1:9090.\n"
    )
    assert result.exit_code == 0


@pytest.mark.parametrize("kind", ["zip", "tar", "gztar"])
def test_what_is_packed_is_checked_as_it_is(run: Run, kind: str) -> None:
    bundle = shutil.make_archive("packed", kind, project({"job.toml": 'name = "nile"\n'}))
    result = run("check", bundle, "--json")
    assert json.loads(result.stdout) == {
        "schema_version": 1,
        "bundle": bundle,
        "ok": True,
        "problems": [],
        "job": {"name": "nile", "template": "python"},
        "limits": "service",
    }


def test_all_problems_are_told_at_once_and_the_exit_code_is_2(run: Run) -> None:
    bundle = project({"job.toml": 'gpu = 1\nmemory = 5\ntemplate = "julia"\n'})
    told = json.loads((result := run("check", bundle, "--json")).stdout)
    assert result.exit_code == 2
    assert (told["ok"], told["job"]) == (False, None)
    assert [problem["where"] for problem in told["problems"]] == [
        "job.toml: memory",
        "job.toml: template",
        "job.toml: gpu",
    ]
    words = run("check", bundle)
    assert words.exit_code == 2
    assert words.stdout.startswith("project would be refused:\n\nWHERE ")


def test_what_the_service_does_not_take_is_refused_here_too(run: Run, link: MemoryLink, node: InMemoryNode) -> None:
    rules = Rules(SpecDefaults(gpus=0, max_time_limit_s=60), Limits(entries=1))
    link.answers["get_limits"] = lambda: rules_to_wire(rules)
    limit = project({"job.toml": 'time_limit = "2m"\n'})
    assert "1 are allowed" in run("check", limit).stdout
    rules = Rules(SpecDefaults(gpus=0, max_time_limit_s=60))
    assert "more than the 60 seconds that this node allows" in run("check", limit).stdout
    base = TemplatesSettings.model_validate({"python": {"base": "lab/torch:1", "version": "3.10"}})
    rules = Rules(SpecDefaults(gpus=0, max_time_limit_s=60), templates=Templates(base))
    assert "only Python 3.10" in run("check", project({"job.toml": 'python = "3.12"\n'})).stdout


def test_a_bundle_in_anothers_name_is_refused_where_the_service_knows_the_user(run: Run, alone: Run) -> None:
    bundle = project({"container_config.json": '{"executor_name": "bert"}'})
    assert "'anna' handed the bundle in" in run("check", bundle).stdout
    os.environ.pop("DOPQ_HOST")  # monkeypatch puts it back
    assert alone("check", bundle).exit_code == 0


@pytest.mark.parametrize(
    ("trouble", "why"),
    [
        (ServiceUnreachable("It cannot be reached."), "It cannot be reached."),
        (OperatorError("It does not know the call."), "It does not know the call."),
    ],
)
def test_without_an_answer_the_defaults_count_and_that_is_told(
    run: Run, link: MemoryLink, trouble: Exception, why: str
) -> None:
    def fail() -> None:
        raise trouble

    link.answers["get_limits"] = fail
    result = run("check", project())
    assert result.exit_code == 0
    assert result.stdout.endswith(f"Checked with DoPQ's default limits. {why}\n")
    assert json.loads(run("check", project(), "--json").stdout)["limits"] == "defaults"


def test_limits_that_make_no_sense_are_none(run: Run, link: MemoryLink) -> None:
    link.answers["get_limits"] = lambda: {"limits": {"entries": "many"}}
    assert "The limits that the service has published cannot be read." in run("check", project()).stdout


def test_who_is_not_logged_in_can_check_too(alone: Run) -> None:
    result = alone("check", project())
    assert result.exit_code == 0
    assert "default limits. You are not logged in" in result.stdout


def test_a_settings_file_can_say_by_which_limits(run: Run, link: MemoryLink) -> None:
    Path("lab.toml").write_text("[intake]\nmax_entries = 1\n")
    result = run("check", project(), "--config", "lab.toml")
    assert result.exit_code == 2
    assert "Checked with the settings in lab.toml." in result.stdout
    assert link.calls == []
    Path("lab.toml").write_text("[intake]\nmax_entries = 0\n")
    assert "The settings in lab.toml are wrong" in run("check", project(), "--config", "lab.toml").stderr


def test_a_bundle_that_is_not_there_is_a_usage_error(run: Run) -> None:
    assert run("check", "nowhere.zip").exit_code == 2


def test_a_named_pipe_is_not_waited_for(alone: Run) -> None:
    os.mkfifo("pipe.zip")
    told = alone("check", "pipe.zip")  # its words are broken into lines
    assert (told.exit_code, "neither a file nor a folder" in " ".join(told.stderr.split())) == (2, True)


def test_a_full_disk_is_told_as_what_it_is(alone: Run) -> None:
    room, size = resource.getrlimit(resource.RLIMIT_FSIZE), 2**20
    Path("bundle.tgz").write_bytes(gzip.compress(bytes(8 * size)))
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, room[1]))
    try:
        told = alone("check", "bundle.tgz")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, room)
    assert (told.exit_code, "TMPDIR" in told.stderr) == (2, True)


def test_a_folder_with_a_link_is_refused_like_an_archive_with_one(alone: Run) -> None:
    Path("bundle").mkdir()
    Path("bundle/link").symlink_to("/etc/passwd")
    told = alone("check", "bundle", "--json")
    assert told.exit_code == 2
    answer = json.loads(told.stdout)
    assert [problem["what"] for problem in answer["problems"]] == ["it is a link"]


def test_to_check_loads_no_docker_no_pyro_and_no_database(tmp_path: Path) -> None:
    """A user's machine has none of them to reach, and each costs time."""
    (tmp_path / "app.py").write_text("")
    program = """
import sys
from dopq_client.cli import main
main(["check", "app"], standalone_mode=False)
print([name for name in ("docker", "Pyro5", "sqlite3", "pynvml") if name in sys.modules])
"""
    (tmp_path / "app").mkdir()
    (tmp_path / "app" / "app.py").write_text("")
    environment = {**os.environ, "HOME": str(tmp_path), "XDG_CONFIG_HOME": str(tmp_path)}
    environment = {key: value for key, value in environment.items() if not key.startswith("DOPQ_")}
    command = [sys.executable, "-c", program]
    told = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True)
    assert told.stdout.splitlines()[-1] == "[]"


# --- new --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("template", scaffold.TEMPLATES)
def test_every_new_bundle_passes_the_check(alone: Run, template: str) -> None:
    made = alone("new", "my-project", "--template", template)
    assert made.exit_code == 0, made.output
    assert "Next: dopq-client check my-project; dopq-client submit my-project" in made.stdout
    told = json.loads(alone("check", "my-project", "--json").stdout)
    expected = None if template == "dockerfile" else template
    assert told["ok"], told
    assert told["job"] == {"name": "my-project", "template": expected}
    assert Path("my-project/input/numbers.csv").exists()


def test_a_new_bundle_is_for_python_unless_told_otherwise(alone: Run) -> None:
    alone("new", "mine")
    assert Path("mine/code/app.py").exists()
    assert alone("new", "other", "--template", "julia").exit_code == 2


def test_new_touches_nothing_that_is_there(alone: Run) -> None:
    Path("mine").mkdir()
    Path("mine/job.toml").write_text("mine")
    result = alone("new", "mine")
    assert (result.exit_code, result.stderr.splitlines()[0]) == (2, "Error: mine is there already.")
    assert [path.name for path in Path("mine").iterdir()] == ["job.toml"]


def test_new_where_nothing_can_be_made_says_so(alone: Run) -> None:
    Path("file").write_text("")
    result = alone("new", "file/mine")
    assert result.exit_code == 2
    assert "cannot be made" in result.stderr


# --- schema -----------------------------------------------------------------------------------------------------------


def test_the_schema_is_printed_for_either_file(alone: Run) -> None:
    assert json.loads(alone("schema").stdout)["title"] == "job.toml"
    config = json.loads(alone("schema", "--format", "container_config").stdout)
    assert config["title"] == "container_config.json"
    assert "run_params" in config["properties"]
