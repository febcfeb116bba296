"""`dopq cert`: a lab's way from its CA to two nodes, and what is said where something is missing."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from dopq import cli
from dopq.config import default_text, load, with_changes
from dopq.tls import server_context
from dopq.utils.host_names import own_hosts

Run = Callable[..., Result]


def machine(root: Path, name: str) -> Run:
    """`dopq cert` on a machine of the lab."""
    root.mkdir()
    (root / "config.toml").write_text(with_changes(default_text(), [f"node.name={name}"]))
    return lambda *words: CliRunner().invoke(cli.main, ["cert", *words, "--config", str(root / "config.toml")])


@pytest.fixture
def lab1(tmp_path: Path) -> Run:
    return machine(tmp_path / "lab1", "lab1")


@pytest.fixture
def lab2(tmp_path: Path) -> Run:
    return machine(tmp_path / "lab2", "lab2")


def certificates(run: Run, *words: str) -> list[dict[str, object]]:
    shown = json.loads(run("show", "--json", *words).stdout)
    assert shown["schema_version"] >= 1
    return list(shown["certificates"])


def test_init_makes_a_certificate_for_every_name_of_this_machine_and_shows_the_fingerprint(lab1: Run) -> None:
    made = lab1("init", "--host", "queue.example.org")
    assert made.exit_code == 0, made.output
    own, authority = certificates(lab1)
    assert own["name"] == "lab1"
    assert {"lab1", "localhost", "127.0.0.1", "::1", "queue.example.org", socket.gethostname().lower()} <= set(
        own["hosts"]  # type: ignore[call-overload]
    )
    assert own["fingerprint"] in made.output
    assert (own["is_authority"], own["issuer"], authority["is_authority"]) == (False, authority["name"], True)
    assert own["days_left"] == 5 * 365 - 1


def test_init_overwrites_nothing(lab1: Run) -> None:
    lab1("init")
    before = certificates(lab1)
    again = lab1("init")
    assert again.exit_code == 2
    assert "dopq cert renew" in again.stderr
    assert certificates(lab1) == before


def test_another_node_gets_its_certificate_by_one_file(lab1: Run, lab2: Run, tmp_path: Path) -> None:
    lab1("init")
    file = tmp_path / "carried.pem"
    issued = lab1("issue", "lab2", "--host", "lab2.example.org", "-o", str(file))
    assert issued.exit_code == 0, issued.output
    assert "dopq cert install carried.pem" in issued.output
    assert file.stat().st_mode & 0o777 == 0o600
    installed = lab2("install", str(file))
    assert installed.exit_code == 0, installed.output
    assert [one["name"] for one in certificates(lab2)] == ["lab2", certificates(lab1)[1]["name"]]
    assert certificates(lab2) == certificates(lab2, str(file))
    server_context(load(tmp_path / "lab2" / "config.toml")[1])


def test_what_was_issued_is_not_written_over_another_file(lab1: Run, tmp_path: Path) -> None:
    lab1("init")
    file = tmp_path / "taken.pem"
    file.write_text("mine")
    refused = lab1("issue", "lab2", "-o", str(file))
    assert (refused.exit_code, file.read_text()) == (2, "mine")
    assert "-o" in refused.stderr
    nowhere = lab1("issue", "lab2", "-o", str(tmp_path / "absent" / "lab2.pem"))
    assert nowhere.exit_code == 2
    assert "cannot be written" in nowhere.stderr


def test_renew_changes_the_certificate_and_says_that_users_will_be_asked(lab1: Run) -> None:
    lab1("init", "--host", "queue.example.org")
    before = certificates(lab1)[0]
    renewed = lab1("renew", "--host", "192.0.2.9")
    assert renewed.exit_code == 0, renewed.output
    after = certificates(lab1)[0]
    assert set(after["hosts"]) == {*before["hosts"], "192.0.2.9"}  # type: ignore[misc, call-overload]
    assert after["fingerprint"] != before["fingerprint"]
    assert "fingerprint" in renewed.output


def test_show_is_for_people_too(lab1: Run) -> None:
    lab1("init")
    lines = [line.split(maxsplit=1) for line in lab1("show").stdout.splitlines()]
    assert lines[0] == ["node", "lab1"]
    assert ["SHA-256", certificates(lab1)[0]["fingerprint"]] in lines
    assert lines[-1] == ["SHA-256", certificates(lab1)[1]["fingerprint"]]


@pytest.mark.parametrize("words", [["show"], ["renew"], ["issue", "lab2"]])
def test_without_certificates_every_verb_says_how_to_begin(lab1: Run, words: list[str]) -> None:
    told = lab1(*words)
    assert told.exit_code == 2
    assert "dopq cert init" in told.stderr


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["show", "absent.pem"], "absent.pem cannot be read"),
        (["install", "absent.pem"], "absent.pem cannot be read"),
        (["issue", "Lab_2"], "node.name"),
        (["issue", "lab2", "--host", "not a host"], "'not a host'"),
        (["init", "--host", "*.example.org"], "'*.example.org'"),
    ],
)
def test_a_wrong_word_is_named(lab1: Run, tmp_path: Path, words: list[str], told: str) -> None:
    if words[0] != "init":
        lab1("init")
    refused = lab1(*words)
    assert refused.exit_code == 2
    assert told in refused.stderr


def test_show_tells_that_a_file_is_none(lab1: Run, tmp_path: Path) -> None:
    (tmp_path / "notes.pem").write_text("no certificate")
    shown = lab1("show", str(tmp_path / "notes.pem"))
    assert shown.exit_code == 2
    assert "no certificate in PEM form" in shown.stderr


def test_this_machines_hosts_are_those_by_which_others_reach_it() -> None:
    hosts = own_hosts()
    assert hosts[0] == socket.gethostname().lower()
    assert len(hosts) == len(set(hosts))
    assert not {"127.0.0.1", "::1"} & set(hosts)
    assert not any("%" in host or host.startswith("fe80") for host in hosts)
