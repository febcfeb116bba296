"""Every command of the machine's owner that changes something leaves a line in the audit log, without secrets."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

from dopq import cli
from dopq.accounts import Accounts
from dopq.audit import AuditLog, Entry
from dopq.audit_trail import read_audit
from dopq.caller import LOCAL, Caller
from dopq.config import default_text, load, with_changes
from dopq.store import Database
from dopq.tokens import Tokens
from dopq.utils.clock import SystemClock

Run = Callable[..., Result]
PASSWORD = "correct horse battery"
NEVER_THERE = Caller(None, "192.0.2.7")

AUDITED = {
    "dopq cert init", "dopq cert install", "dopq cert issue", "dopq cert renew", "dopq gpu heal", "dopq shutdown_queue", "dopq user add",
    "dopq peer add", "dopq peer import", "dopq peer metadata", "dopq peer remove", "dopq peer trust", "dopq peer untrust",
    "dopq user approve", "dopq user invite", "dopq user passwd", "dopq user reject", "dopq user remove", "dopq user role",
    "dopq user token", "dopq user uid", "dopq user weight",
}  # fmt: skip
NOT_AUDITED = {
    "dopq audit check",
    "dopq audit log", "dopq cert show", "dopq check", "dopq config check", "dopq config show", "dopq config write",
    "dopq image bootstrap", "dopq peer list", "dopq serve", "dopq simulate", "dopq templates list", "dopq templates render", "dopq templates show",
    "dopq user list", "dopq user pending",
}  # fmt: skip
"""They change nothing that others have, or write a file of whoever calls."""


@pytest.fixture
def config(tmp_path: Path) -> Path:
    file = tmp_path / "config.toml"
    file.write_text(with_changes(default_text(), ["node.name=gpu1"]))
    return file


@pytest.fixture
def run(config: Path) -> Run:
    return lambda *words, text=None: CliRunner().invoke(cli.main, [*words, "--config", str(config)], input=text)


def trail(config: Path) -> list[Entry]:
    return [entry for entry in read_audit(load(config)[1].audit) if isinstance(entry, Entry)]


def verbs(group: click.Group, path: str = "dopq") -> Iterator[str]:
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from verbs(command, f"{path} {name}")
        else:
            yield f"{path} {name}"


def ask_for_accounts(config: Path, *names: str) -> None:
    """What people from outside do."""
    _, paths = load(config)
    database = Database(paths.journal)
    accounts = Accounts(database, Tokens(database, SystemClock(), 90), SystemClock(), lambda _user: None)
    for name in names:
        accounts.register(NEVER_THERE, name, PASSWORD, f"{name}@lab", None, None, None)
    database.close()


def test_every_verb_is_on_one_of_the_two_lists() -> None:
    assert set(verbs(cli.main)) == AUDITED | NOT_AUDITED
    assert not AUDITED & NOT_AUDITED


def test_every_change_has_a_line_that_names_what_was_changed_and_no_secret(
    run: Run, config: Path, tmp_path: Path
) -> None:
    uid, carried = str(os.getuid()), str(tmp_path / "gpu2.pem")
    secrets = [PASSWORD, json.loads(run("user", "add", "anna", "--json").stdout)["token"]]
    ask_for_accounts(config, "cleo", "dora")
    table = tmp_path / "ip_table.json"
    table.write_text('{"ip_address": [{"IPV4": "192.0.2.9"}]}')
    for words in (
        ("user", "weight", "anna", "2"),
        ("user", "role", "anna", "admin"),
        ("user", "uid", "anna", uid),
        ("user", "passwd", "anna", "--password-stdin"),
        ("user", "approve", "cleo"),
        ("user", "reject", "dora"),
        ("peer", "add", "gpu3"),
        ("peer", "remove", "gpu3"),
        ("peer", "import", str(table)),
        ("peer", "trust", "gpu3", "--fingerprint", ":".join(["AB"] * 32)),
        ("peer", "untrust", "gpu3"),
        ("peer", "metadata", "lab=west"),
        ("cert", "init"),
        ("cert", "renew"),
        ("cert", "issue", "gpu2", "-o", carried),
    ):
        assert run(*words, text=f"{PASSWORD}\n").exit_code == 0, words
    secrets += [
        json.loads(run("user", "token", "anna", "--json").stdout)["token"],
        json.loads(run("user", "invite", "--json").stdout)["invite"],
        Path(carried).read_text().splitlines()[1],
    ]
    assert run("cert", "install", carried).exit_code == 0
    assert run("user", "remove", "anna").exit_code == 0
    assert run("shutdown_queue").exit_code == 3, "none runs"
    assert run("gpu", "heal", "GPU-1").exit_code == 3, "there is none"

    told = trail(config)
    assert {entry.method for entry in told} == AUDITED
    assert {(entry.user, entry.uid, entry.address) for entry in told} == {(None, os.getuid(), LOCAL)}
    refused = {entry.method: entry.result for entry in told if entry.result != "ok"}
    assert refused == dict.fromkeys(("dopq shutdown_queue", "dopq gpu heal"), "not_found")
    assert [entry.what for entry in told if entry.method == "dopq gpu heal"] == [{"uuid": "GPU-1"}]
    named = {entry.method: entry.what.get("name") for entry in told}
    assert {"cleo"} == {named["dopq user approve"]}
    assert {"dora"} == {named["dopq user reject"]}
    assert {named[f"dopq user {verb}"] for verb in ("add", "weight", "role", "uid", "passwd", "token", "remove")} == {
        "anna"
    }
    assert (named["dopq cert init"], named["dopq cert issue"]) == ("gpu1", "gpu2")
    assert {named[f"dopq peer {verb}"] for verb in ("add", "remove", "trust", "untrust")} == {"gpu3"}
    text = load(config)[1].audit.read_text()
    assert [secret for secret in secrets if secret in text] == []


def test_a_refused_change_has_a_line_with_the_errors_code(run: Run, config: Path) -> None:
    assert run("user", "remove", "nemo").exit_code == 3
    [line] = trail(config)
    assert (line.method, line.what, line.result) == ("dopq user remove", {"name": "nemo"}, "not_found")


def test_a_log_that_cannot_be_written_stops_no_command_and_is_told(run: Run, config: Path) -> None:
    _, paths = load(config)
    paths.audit.mkdir(parents=True)  # stands for a full disk, which would stop the journal too
    made = run("user", "add", "anna", "--json")
    assert made.exit_code == 0
    assert json.loads(made.stdout)["name"] == "anna"
    assert "audit log cannot be written" in made.stderr
    assert "no line in it" in made.stderr
    refused = run("user", "add", "anna")
    assert (refused.exit_code, "already" in refused.stderr, "no line in it" in refused.stderr) == (2, True, True)


@pytest.mark.skipif(os.geteuid() != 0, reason="gives files away: needs root")
def test_what_roots_command_makes_of_the_log_is_the_services(run: Run, config: Path) -> None:
    """Else the service, which is not root, could write no line any more, nor rotate."""
    _, paths = load(config)
    paths.make()
    os.chown(paths.state, 4711, 4711)
    assert run("user", "weight", "nemo", "2").exit_code == 3
    log = AuditLog(paths.audit, SystemClock(), file_bytes=1)
    log.record(NEVER_THERE, "register", {}, "ok")
    owners = {path.name: path.stat().st_uid for path in paths.state.iterdir() if path.name.startswith("audit")}
    assert owners == dict.fromkeys(("audit.jsonl", "audit-000001.jsonl", "audit.lock"), 4711)
