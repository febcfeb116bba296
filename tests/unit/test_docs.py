"""The documents say what the code does: names, states, codes, calls, settings, layers and links."""

from __future__ import annotations

import ast
import inspect
import re
import shlex
import tomllib
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from pydantic import BaseModel

import dopq.cli
import dopq_client.cli
from dopq.access import Access, calls
from dopq.config import Settings
from dopq.container_handler.container_config import ContainerConfig, JobToml, RunParams
from dopq.controller import DopqController
from dopq.controller.peers import PeerDesk
from dopq.errors import DopqError
from dopq.job import ARROWS, FINAL, StateName
from dopq_client import client, results

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = sorted(
    path
    for path in [
        *ROOT.glob("*.md"),
        *DOCS.rglob("*.md"),
        *(ROOT / "examples").rglob("*.md"),
        *(ROOT / "tests").rglob("*.md"),
    ]
)
SOURCES = sorted([*(ROOT / "dopq").rglob("*.py"), *(ROOT / "client").rglob("*.py")])
HAVE_CODES_OF_THEIR_OWN = (client, results)  # imported: their error classes are known only then

each_page = pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(ROOT)))


# --- reading Markdown ---


def text_of(name: str) -> str:
    return (DOCS / name).read_text(encoding="utf-8")


def section(text: str, title: str) -> str:
    """From a heading to the next one of the same or a higher level."""
    found = re.search(rf"^(#+) {re.escape(title)}$", text, re.MULTILINE)
    assert found, f"there is no heading {title!r}"
    rest = text[found.end() :]
    end = re.search(rf"^#{{1,{len(found[1])}}} ", rest, re.MULTILINE)
    return rest[: end.start()] if end else rest


def rows(text: str) -> list[list[str]]:
    """The cells of every table row but the headers."""
    lines = [line for line in text.splitlines() if line.startswith("|")]
    heads = {number - 1 for number, line in enumerate(lines) if set(line) <= set("|- ")}
    return [
        [cell.strip() for cell in line.strip("|").split("|")]
        for number, line in enumerate(lines)
        if number not in heads and not set(line) <= set("|- ")
    ]


def first_code(cell: str) -> str:
    found = re.match(r"`([^`]+)`", cell)
    assert found, f"{cell!r} does not begin with a name"
    return found[1]


def code_in(text: str) -> Iterator[str]:
    """Every code span, and every line of every code block."""
    for number, part in enumerate(text.split("```")):
        if number % 2:
            yield from part.splitlines()[1:]
        else:
            yield from (" ".join(span.split()) for span in re.findall(r"`([^`]+)`", part))


def anchors(path: Path) -> set[str]:
    headings = re.findall(r"^#+ (.+)$", path.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


# --- states ---


def test_every_arrow_is_told_with_who_takes_it_and_no_other() -> None:
    told = {
        (first_code(old), first_code(new)): {who.strip() for who in actors.split(",")}
        for old, new, actors, _cause in rows(section(text_of("states.md"), "Arrows"))
    }
    assert told == {(str(old), str(new)): {str(who) for who in actors} for (old, new), actors in ARROWS.items()}


def test_every_state_is_told_and_the_final_ones_come_last() -> None:
    told = [first_code(row[0]) for row in rows(text_of("states.md").split("## Arrows")[0])]
    assert sorted(told) == sorted(StateName)
    assert set(told[-len(FINAL) :]) == set(FINAL)


# --- security ---


def test_every_test_that_the_security_page_leans_on_exists() -> None:
    named = re.findall(r"`(tests/[a-z_/]+\.py)`", text_of("security.md"))
    assert len(named) > 15
    assert [file for file in named if not (ROOT / file).is_file()] == []


# --- codes ---


def codes_of_errors(kind: type[DopqError] = DopqError) -> set[str]:
    return {kind.code}.union(
        *(codes_of_errors(each) for each in kind.__subclasses__() if each.__module__.startswith("dopq"))
    )


def codes_of_reasons() -> set[str]:
    """The literal codes of every `Reason(...)` in the code, and those that the error of a bundle's making hands on."""
    calls = (
        node
        for path in SOURCES
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "Reason"
    )
    codes = {ast.literal_eval(call.args[0]) for call in calls if call.args and isinstance(call.args[0], ast.Constant)}
    return codes | {"bundle_rejected", "build_failed", "bad_config", "engine_refused"}


def test_every_error_code_is_told_and_no_other() -> None:
    told = [first_code(row[0]) for row in rows(section(text_of("errors.md"), "Errors"))]
    assert len(told) == len(set(told))
    assert set(told) == codes_of_errors()


def test_every_reason_code_is_told_and_no_other() -> None:
    told = [first_code(row[0]) for row in rows(section(text_of("errors.md"), "Reasons"))]
    assert len(told) == len(set(told))
    assert set(told) == codes_of_reasons()


# --- calls ---


@pytest.mark.parametrize(
    ("access", "title"), [(Access.ANYBODY, "Anybody"), (Access.USER, "Users"), (Access.ADMIN, "Admins")]
)
def test_every_remote_method_is_told_with_its_arguments_under_who_may_call_it(access: Access, title: str) -> None:
    told = {first_code(row[0]) for row in rows(section(text_of("api.md"), title))}
    assert told == {
        f"{name}({_arguments(getattr(DopqController, name))})"
        for name, call in calls(DopqController).items()
        if call.access is access
    }


def test_every_call_of_peers_is_told_with_its_arguments() -> None:
    told = {first_code(row[0]) for row in rows(section(text_of("api.md"), "Peers"))}
    assert told == {f"{name}({_arguments(getattr(PeerDesk, name))})" for name in calls(PeerDesk)}


def test_who_may_what_is_told_as_the_code_has_it() -> None:
    told = [[first_code(name), *cells] for name, *cells in rows(section(text_of("api.md"), "Who may what"))]
    assert told == [
        [name, str(call.access), str(call.whose), "yes" if call.changes else ""]
        for name, call in calls(DopqController).items()
    ]


def _arguments(method: object) -> str:
    assert callable(method)
    parameters = list(inspect.signature(method).parameters.values())[2:]  # without self and the caller
    needed = [parameter.name for parameter in parameters if parameter.default is parameter.empty]
    optional = [parameter.name for parameter in parameters if parameter.default is not parameter.empty]
    return ", ".join([*needed, f"[{', '.join(optional)}]"] if optional else needed)


# --- settings ---


def test_every_setting_of_the_node_is_told_and_no_other() -> None:
    told = [first_code(row[0]) for row in rows(section(text_of("admin.md"), "Settings"))]
    assert told == list(_settings(Settings))


@each_page
def test_every_setting_that_is_named_exists(page: Path) -> None:
    names = "|".join(Settings.model_fields)
    files = r"(?!(?:py|toml|md|json|log|txt|pid|lock|id|pem|key)\b)"
    named = re.findall(rf"`((?:{names})\.{files}[a-z_.]+)[`=]", page.read_text(encoding="utf-8"))
    assert set(named) <= set(_settings(Settings))


def _settings(table: type[BaseModel], above: str = "") -> Iterator[str]:
    """The full name of every key, such as `queue.half_life_s`."""
    for name, field in table.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from _settings(field.annotation, f"{above}{name}.")
        else:
            yield above + name


@pytest.mark.parametrize(
    ("title", "model"),
    [("`job.toml`:", JobToml), ("`container_config.json`:", ContainerConfig), ("`run_params`:", RunParams)],
)
def test_every_setting_of_a_job_is_told_and_no_other(title: str, model: type[BaseModel]) -> None:
    after = section(text_of("bundles.md"), "Settings").partition(f"\n{title}\n\n")[2]
    told = [first_code(row[0]) for row in rows(after.partition("\n\n")[0])]
    assert told == list(model.model_fields)


# --- words ---


def test_every_word_has_one_row() -> None:
    told = [word for row in rows(text_of("words.md")) for word in row[0].split(", ")]
    assert len(told) > 100
    assert [word for word in dict.fromkeys(told) if told.count(word) > 1] == []


# --- commands ---

TOOLS: dict[str, click.Command] = {"dopq": dopq.cli.main, "dopq-client": dopq_client.cli.main}


@each_page
def test_every_command_and_option_that_is_named_exists(page: Path) -> None:
    for code in code_in(page.read_text(encoding="utf-8")):
        called = re.match(r"(?:\$ |\.venv/bin/)?(dopq|dopq-client) (.+)$", code.strip())
        if called:
            _walk(TOOLS[called[1]], shlex.split(called[2], comments=True), code)


def _walk(command: click.Command, words: list[str], code: str) -> None:
    while isinstance(command, click.Group) and words and re.fullmatch(r"[a-z][a-z_-]*", words[0]):
        assert words[0] in command.commands, f"{code!r}: there is no {words[0]!r}"
        command, words = command.commands[words[0]], words[1:]
    if isinstance(command, click.Group):
        return  # no verb: a way to speak of all of them, such as `dopq-client --json`
    known = {option for parameter in command.params for option in parameter.opts} | {"--help", "-h"}
    unknown = {word.partition("=")[0] for word in words if word.startswith("-")} - known
    assert not unknown, f"{code!r}: {command.name} has no {', '.join(unknown)}"


@pytest.mark.parametrize("tool", TOOLS)
def test_every_command_is_told_somewhere(tool: str) -> None:
    told = " ".join(code for page in PAGES for code in code_in(page.read_text(encoding="utf-8")))
    missing = [path for path in _paths(TOOLS[tool], tool) if path not in told]
    assert missing == []


def _paths(command: click.Command, path: str) -> Iterator[str]:
    if isinstance(command, click.Group):
        for name, part in command.commands.items():
            yield from _paths(part, f"{path} {name}")
    else:
        yield path


# --- architecture ---


def test_the_rooms_are_drawn_as_they_are_enforced() -> None:
    drawn = section(text_of("architecture.md"), "Rooms").split("```")[1].strip().splitlines()
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"][
        "contracts"
    ]
    assert [re.split(r" {2,}", line)[0] for line in drawn] == contracts[0]["layers"]


def test_every_file_of_the_service_has_its_words_in_the_architecture() -> None:
    told = text_of("architecture.md")
    folders = [ROOT / "dopq", ROOT / "dopq" / "container_handler"]
    names = {path.name for folder in folders for path in folder.glob("[!_]*.py")}
    missing = [name for name in sorted(names) if f"`{name}`" not in told and not name.startswith("docker_")]
    assert missing == []


# --- links ---


@each_page
def test_every_relative_link_leads_somewhere(page: Path) -> None:
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    for link in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"[a-z]+:", link):
            continue
        where, _, anchor = link.partition("#")
        target = (page.parent / where).resolve() if where else page
        assert target.is_relative_to(ROOT), link
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link
