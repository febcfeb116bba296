"""Every screen, log line and file that people open, with hostile text wherever text can come from elsewhere."""

from __future__ import annotations

import csv
import io
import json
import logging
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from rich.cells import cell_len
from rich.console import Console, RenderableType

from dopq.cli import main
from dopq.cli_answers import in_words, say
from dopq.errors import BundleRejected, UserError
from dopq.job import Building, Ended, Held, Job, JobId, Problem, Reason, StateName, UserName
from dopq.report import report, status_text
from dopq.utils import log
from dopq_client import cli, system_view, views, words
from dopq_client.session import Session
from tests.hostile_text import HOSTILE, shows_only_itself
from tests.in_memory_node import InMemoryNode, MemoryLink

NOW = datetime(2026, 1, 5, 10, tzinfo=UTC)
WIDTH = 80

each_text = pytest.mark.parametrize("text", list(HOSTILE.values()), ids=list(HOSTILE))


@pytest.fixture
def node(tmp_path: Path) -> Iterator[InMemoryNode]:
    (tmp_path / "node").mkdir()
    node = InMemoryNode(tmp_path / "node")
    node.ended(StateName.FAILED, 3)
    node.refused((Problem("Dockerfile", "is missing", "Add one."),))
    node.running()
    node.queued()
    yield node
    node.close()


def poisoned(data: Any, text: str) -> Any:
    """What a hostile service could answer instead: the same shape, every text and every free name another."""
    match data:
        case str():
            return text
        case list():
            return [poisoned(item, text) for item in data]
        case dict():
            return {key: poisoned(value, text) for key, value in data.items()}
        case _:
            return data


# --- the client's views ---


def shown(*parts: RenderableType) -> str:
    console = Console(
        file=io.StringIO(),
        width=WIDTH,
        color_system=None,
        force_terminal=True,
        markup=False,
        emoji=False,
        highlight=False,
    )
    for part in parts:
        console.print(part)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def views_of(client: MemoryLink, text: str) -> Iterator[RenderableType]:
    jobs = [*client.call("get_enqueued_containers_info"), *client.call("get_containers_history_info")]
    jobs = poisoned(jobs, text)
    told = poisoned(client.call("get_explanation", "4"), text)
    problems = [{"where": text, "what": text, "instead": text}]
    system = client.call("get_dopq_system_status")
    yield views.jobs_table(jobs, NOW)
    yield views.job_cards(jobs, NOW)
    yield views.explanations([told], NOW, with_terms=True)
    yield views.problems_table(problems)
    yield views.checked(text, {"name": text, "template": text}, [], text)
    yield views.checked(text, None, problems, text)
    yield views.users_table(poisoned(client.call("get_dopq_user_statistics"), text))
    yield views.error_text(BundleRejected(text, text, problems=problems))
    yield views.state_text(text)
    yield system_view.system_view(poisoned(system, text) | {text: text, f"{text}_at": {text: [{text: text}]}}, NOW)
    for job in jobs:
        yield words.outcome(job)
        yield words.advice(job)
        yield words.next_steps(job)


@each_text
def test_no_view_of_the_client_lets_text_act(node: InMemoryNode, text: str) -> None:
    for view in views_of(node.link(node.tokens["olga"]), text):
        screen = shown(view)
        assert shows_only_itself(screen)
        if not isinstance(view, str):
            assert all(cell_len(line) <= WIDTH for line in screen.splitlines())


@each_text
def test_a_list_of_jobs_has_one_line_a_job_whatever_they_are_called(node: InMemoryNode, text: str) -> None:
    jobs = poisoned(node.link(node.tokens["olga"]).call("get_enqueued_containers_info"), text)
    assert len(shown(views.jobs_table(jobs, NOW)).splitlines()) == len(jobs) + 1


# --- the client's commands, with a service that lies ---

VERBS: list[tuple[str, ...]] = [
    ("status",), ("status", "3"), ("why", "4", "--explain"), ("history",), ("users",), ("system",), ("whoami",), ("nodes",), ("nodes", "show", "gpu0"), ("nodes", "refresh"), ("nodes", "interfaces"),
    ("wait", "1", "--timeout", "0"), ("cancel", "4"), ("hold", "4"), ("release", "4"), ("rerun", "1"), ("lock",), ("unlock",), ("drain",),
    ("undrain",), ("clear-history",), ("fetch", "1"), ("logs", "1"), ("shutdown_queue", "--yes"),
]  # fmt: skip


@pytest.mark.parametrize("verb", VERBS, ids=" ".join)
def test_no_command_of_the_client_lets_text_act(
    node: InMemoryNode, verb: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DOPQ_HOST", "gpu1:9090")
    monkeypatch.setenv("DOPQ_TOKEN", node.tokens["olga"])
    for text in HOSTILE.values():
        if "\ud800" not in text:  # which has no form on the wire
            link = Liar(node, node.tokens["olga"], text)
            ran = CliRunner().invoke(cli.main, list(verb), obj=Session(open=lambda _, link=link: link))
            assert ran.exit_code != 70, ran.output
            assert ran.exception is None or isinstance(ran.exception, SystemExit)
            assert shows_only_itself(ran.output)


class Liar(MemoryLink):
    """A link to a service that answers with the same shape and other words, and refuses in such words."""

    def __init__(self, node: InMemoryNode, token: str, text: str) -> None:
        super().__init__(node, token)
        self._text = text

    def call(self, method: str, *arguments: object) -> Any:
        try:
            return poisoned(super().call(method, *arguments), self._text)
        except UserError as error:
            raise type(error)(self._text, self._text, problems=[{"where": self._text}]) from None


# --- dopq ---


@each_text
def test_no_answer_of_dopq_lets_text_act(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    say(f"Registered {text}.")
    say(text, err=True)

    @in_words
    def refuse() -> None:
        raise UserError(f"{text} is wrong.", f"Not {text}.")

    with pytest.raises(SystemExit):
        refuse()
    told = capsys.readouterr()
    assert shows_only_itself(told.out)
    assert shows_only_itself(told.err)
    assert (told.out.count("\n"), told.err.count("\n")) == (1, 3)


@pytest.mark.parametrize(
    "argument", [("simulate", "--gpus", "1", "--policy"), ("simulate", "--gpus"), ("config", "check")]
)
@each_text
def test_what_is_typed_wrongly_is_told_harmlessly(argument: tuple[str, ...], text: str) -> None:
    if "\0" not in text and "\ud800" not in text:  # no argument of a process can hold them
        ran = CliRunner().invoke(main, [*argument, text, *(["trace.csv"] if argument[0] == "simulate" else [])])
        assert ran.exit_code == 2
        assert isinstance(ran.exception, SystemExit)
        assert all(line.isprintable() for line in ran.output.split("\n"))


@each_text
def test_the_tables_of_simulate_take_any_name_of_a_user(text: str, tmp_path: Path) -> None:
    if "\ud800" in text or "\0" in text:
        return  # no CSV file in UTF-8 holds them
    trace = tmp_path / "trace.csv"
    with trace.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["job", "user", "submit_s", "num_gpus", "duration_s"])
        writer.writerow([1, text, 0, 1, 60])
        writer.writerow([2, "ana", 5, 1, 60])
    ran = CliRunner().invoke(main, ["simulate", str(trace), "--gpus", "1"])
    assert ran.exit_code == 0, ran.output
    assert shows_only_itself(ran.output)


# --- files that users open in a terminal ---


@each_text
def test_reports_and_reasons_have_a_line_for_each_fact_and_no_other(text: str) -> None:
    job = Job(JobId(1), UserName("anna"), text, "key", text, NOW, Building())
    ended = Ended(StateName.INVALID, NOW, Reason("x", text), problems=(Problem(text, text, text),) * 2)
    told = [
        report(replace(job, state=ended)),
        status_text(replace(job, state=ended)),
        status_text(replace(job, state=Held(Reason("x", text), NOW))),
    ]
    assert all(shows_only_itself(page) for page in told)
    assert [page.count("\n") for page in told] == [7, 3, 1]


# --- logs ---


@pytest.fixture
def lines() -> Iterator[Callable[..., str]]:
    """What a call to the log writes, in one form or the other."""
    root = logging.getLogger()
    level, handlers = root.level, list(root.handlers)

    def written(speak: Callable[[], None], *, json_lines: bool) -> str:
        stream = io.StringIO()
        root.handlers[:] = []  # pytest's own cannot pass on what is no text
        log.setup("DEBUG", json_lines=json_lines, stream=stream)
        speak()
        return stream.getvalue()

    yield written
    root.setLevel(level)
    root.handlers[:] = handlers


@pytest.mark.parametrize("json_lines", [False, True])
@each_text
def test_a_log_has_one_harmless_line_an_event(lines: Callable[..., str], text: str, json_lines: bool) -> None:
    def fails() -> None:
        try:
            int(text, base=0)
        except ValueError:
            log.logger(text).exception(text, name=text, names=[text], found={text: text})

    for speak in (
        lambda: log.logger("dopq").info("event", name=text),
        lambda: logging.getLogger("urllib3").warning("%s", text),
        fails,
    ):
        line = lines(speak, json_lines=json_lines)
        assert line.count("\n") == 1
        assert shows_only_itself(line)
        if json_lines:
            assert json.loads(line)
