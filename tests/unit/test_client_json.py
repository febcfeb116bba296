"""What `--json` prints is what docs/json.md says, field by field; and an exit code means what it says there."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click
import pytest

from dopq.errors import InvariantBroken, ServiceUnreachable
from dopq.job import GpuId, ImageId, Problem, Reason, StateName
from dopq.room import Capacity
from dopq_client import cli, ending
from dopq_client.catalogue import VERBS
from dopq_client.exits import Exit
from dopq_client.targets import ENDED, LIVE, STATES
from tests.client_terminal import Terminal
from tests.in_memory_node import InMemoryNode

DOC = (Path(__file__).parents[2] / "docs" / "json.md").read_text(encoding="utf-8")


@pytest.fixture
def node(tmp_path: Path) -> Iterator[InMemoryNode]:
    """Job 1 has failed, 2 was refused, 3 runs, 4 waits, 5 is building, 6 has succeeded and has an image."""
    (tmp_path / "node").mkdir()
    node = InMemoryNode(tmp_path / "node")
    node.ended(StateName.FAILED, 3)
    node.refused((Problem("Dockerfile", "is missing", "Add one."),))
    node.running(gpus=frozenset({GpuId("GPU-1")}))
    node.queued()
    node.building()
    node.images.add(node.ended().id, ImageId("sha256:1234"), "")
    node.platform.decide(Capacity())
    yield node
    node.close()


@pytest.fixture
def run(node: InMemoryNode, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Terminal:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("platformdirs.user_config_path", lambda name: tmp_path / name)
    monkeypatch.setenv("DOPQ_HOST", "gpu1:9090")
    monkeypatch.setenv("DOPQ_TOKEN", node.tokens["olga"])
    return Terminal(node, node.link(None))


def rows(heading: str) -> dict[str, str]:
    """First and further cells of the table under a heading."""
    text = re.split(r"^## ", DOC.partition(f"## {heading}\n")[2], maxsplit=1, flags=re.MULTILINE)[0]
    found = [
        [cell.strip() for cell in line.strip("|").split("|", 1)] for line in text.splitlines() if line[:3] == "| `"
    ]
    return {name: rest for names, rest in found for name in re.findall(r"`([^`]+)`", names)}


def fields_of(heading: str) -> set[str]:
    return set(rows(heading))


def test_a_job_has_the_fields_that_are_told_and_no_other(run: Terminal) -> None:
    for words in (["status"], ["status", "2"], ["history"]):
        for job in run.json(*words)["jobs"]:
            assert set(job) == fields_of("job")


def test_a_gpu_has_the_fields_that_are_told(run: Terminal) -> None:
    for gpu in run.json("system")["system"]["gpus"]:
        assert set(gpu) <= fields_of("gpu")


def test_an_error_has_the_fields_that_are_told(run: Terminal) -> None:
    [error] = run.json("status", "99")["errors"]
    assert set(error) == fields_of("Errors")
    assert set(run.json("status", "--user", "x" * 300)["error"]) == fields_of("Errors") - {"reference"}


COMMANDS: list[tuple[list[str], set[str]]] = [
    (["status"], {"jobs", "total", "counts"}),
    (["status", "1"], {"jobs", "errors"}),
    (["why", "4"], {"explanations", "errors"}),
    (["cancel", "4"], {"jobs", "errors"}),
    (["hold", "4"], {"jobs", "errors"}),
    (["release", "4"], {"jobs", "errors"}),
    (["rerun", "1"], {"jobs", "errors"}),
    (["history"], {"jobs"}),
    (["users"], {"users"}),
    (["system"], {"system"}),
    (["whoami"], {"address", "way", "user", "role", "weight", "email", "uid", "expires_at"}),
    (["lock"], {"queue"}),
    (["unlock"], {"queue"}),
    (["drain"], {"queue"}),
    (["undrain"], {"queue"}),
    (["clear-history"], {"cleared"}),
    (["shutdown_queue", "--yes"], {"queue"}),
]


@pytest.mark.parametrize(("words", "fields"), COMMANDS, ids=lambda it: it[0] if isinstance(it, list) else "")
def test_a_command_prints_one_object_with_what_is_told_of_it(run: Terminal, words: list[str], fields: set[str]) -> None:
    told = run.json(*words)
    assert set(told) == fields | {"schema_version"}
    assert told["schema_version"] == 1
    assert re.search(rf"^\| [^|]*`{words[0]}[ `]", DOC, re.MULTILINE), "it is not in docs/json.md"


@pytest.mark.parametrize("words", [["wait", "1", "6"], ["logs", "1", "--build"]], ids=lambda words: words[0])
def test_a_stream_is_an_object_a_line_each_with_its_version(
    run: Terminal, node: InMemoryNode, words: list[str]
) -> None:
    node.leaves(node.platform.job(1), "build.log", b"one\ntwo\n")  # type: ignore[arg-type]
    lines = [json.loads(line) for line in run(*words, "--json").stdout.splitlines()]
    assert len(lines) > 1
    assert {line["schema_version"] for line in lines} == {1}


QUIET = {"new", "schema", "completion", "login", "logout", "register", "passwd", "top"}
"""What tells nothing that a program would read, or prints for programs alone."""


@pytest.mark.parametrize("name", sorted(set(VERBS) - QUIET))
def test_every_other_verb_has_json(name: str) -> None:
    verb = cli.main.get_command(click.Context(cli.main), name)
    assert verb is not None
    assert "--json" in {option for parameter in verb.params for option in parameter.opts}


def test_every_state_is_one_of_the_wires() -> None:
    assert set(STATES) == set(StateName)
    assert set(LIVE) | set(ENDED) == set(STATES)


# --- exit codes -------------------------------------------------------------------------------------------------------


def test_the_exit_codes_are_those_that_are_told() -> None:
    text = DOC.partition("## Exit codes\n")[2]
    told = [int(code) for code in re.findall(r"^\| (\d+) \|", text, re.MULTILINE)]
    assert sorted(told) == sorted([*Exit, ending.OUTPUT_LOST, ending.READER_GONE])


def gone(*_: object) -> None:
    raise ServiceUnreachable("The DoPQ service at gpu1:9090 cannot be reached.", "Check the network.")


def broken(*_: object) -> None:
    raise InvariantBroken("The service failed on this call.")


def interrupted(*_: object) -> None:
    raise KeyboardInterrupt


CODES: list[tuple[int, list[str], Callable[..., Any] | None]] = [
    (Exit.DONE, ["wait", "6"], None),
    (Exit.JOB_FAILED, ["wait", "1"], None),
    (3, ["wait", "1", "--propagate"], None),
    (Exit.REFUSED, ["cancel", "6"], None),
    (Exit.REFUSED, ["status", "--no-such-option"], None),
    (Exit.NOT_FOUND, ["status", "99"], None),
    (Exit.NOT_ALLOWED, ["rerun", "1"], None),
    (Exit.UNREACHABLE, ["status", "1"], gone),
    (Exit.TIMED_OUT, ["wait", "3", "--timeout", "0s"], None),
    (Exit.CANCELLED, ["wait", "7"], None),
    (Exit.HELD, ["wait", "8", "--timeout", "0s"], None),
    (Exit.DEFECT, ["status", "1"], broken),
    (Exit.INTERRUPTED, ["status", "1"], interrupted),
]


@pytest.mark.parametrize(("code", "words", "answer"), CODES, ids=lambda it: str(it) if isinstance(it, int) else "")
def test_each_exit_code_means_what_is_told(
    run: Terminal, node: InMemoryNode, code: int, words: list[str], answer: Callable[..., Any] | None
) -> None:
    node.ended(StateName.CANCELLED, 137)
    node.platform.hold(node.building().id, Reason("waiting_for_space", "Waiting for space."))
    if answer:
        run.link.answers["get_job"] = answer
    assert run(*words).exit_code == code
