"""`dopq user`: what an admin does about users, and what they see."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from dopq import cli
from dopq.accounts import Accounts
from dopq.caller import Caller
from dopq.config import default_text, load, with_changes
from dopq.database import Database
from dopq.errors import LoginRefused
from dopq.tokens import Tokens
from dopq.utils.clock import SystemClock
from tests.waiting import wait_until

Run = Callable[..., Result]
PASSWORD = "correct horse battery"
LAPTOP = Caller(None, "192.0.2.7")


@pytest.fixture
def config(tmp_path: Path) -> Path:
    file = tmp_path / "config.toml"
    file.write_text(with_changes(default_text(), ["node.name=gpu1"]))
    return file


@pytest.fixture
def run(config: Path) -> Run:
    return lambda *words, text=None: CliRunner().invoke(cli.main, ["user", *words, "--config", str(config)], input=text)


def accounts(config: Path) -> tuple[Accounts, Tokens]:
    """The front door of the node that runs beside the commands."""
    settings, paths = load(config)
    paths.make()
    database = Database(paths.journal)
    tokens = Tokens(database, SystemClock(), settings.remote.token_days)
    return Accounts(database, tokens, SystemClock(), lambda _user: None), tokens


def told(result: Result) -> Any:
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def test_add_shows_a_token_once_and_makes_the_inbox(run: Run, config: Path) -> None:
    made = told(run("add", "anna", "--email", "anna@lab", "--uid", str(os.getuid()), "--json"))
    assert Path(made["inbox"]).is_dir()
    user = accounts(config)[1].by_token(made["token"])
    assert user is not None
    assert (user.name, user.email, user.uid) == ("anna", "anna@lab", os.getuid())
    assert made["token"] not in run("list", "--json").stdout
    assert "Token, shown this once: " in run("add", "bert").stdout


def test_add_takes_a_password_from_standard_input(run: Run, config: Path) -> None:
    assert run("add", "anna", "--password-stdin", text=f"{PASSWORD}\n").exit_code == 0
    assert accounts(config)[0].login(LAPTOP, "anna", PASSWORD)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("add", "bert", "--uid", "0"), "The uid 0 is anna's already"),
        (("add", "bert", "--uid", "65534"), "no uid of a person"),
        (("add", "bert", "--email", "bert"), "no e-mail address"),
        (("add", "bert", "--ssh-key", "x"), "no SSH public key"),
        (("add", "anna"), "There is a user 'anna' already"),
        (("add", "bert", "--password-stdin"), "That password will not do"),
        (("uid", "bert", "0"), "The uid 0 is anna's already"),
    ],
)
def test_what_cannot_be_is_refused_in_words_and_changes_nothing(run: Run, words: tuple[str, ...], said: str) -> None:
    assert run("add", "anna", "--uid", "0").exit_code == 0
    before = run("list", "--json").stdout
    refused = run(*words, text="short\n")
    assert (refused.exit_code, said in refused.stderr) == (2, True)
    assert run("list", "--json").stdout == before


def test_list_tells_who_is_a_user_and_who_waits(run: Run, config: Path) -> None:
    run("add", "anna", "--email", "anna@lab", "--uid", "0")
    accounts(config)[0].register(LAPTOP, "cleo", PASSWORD, "cleo@lab", 1234, None, None)
    assert [line.split() for line in run("list").stdout.splitlines()] == [
        ["anna", "active", "user", "weight", "1", "uid", "0", "anna@lab"],
        ["cleo", "pending"],
    ]
    listed = told(run("list", "--json"))
    assert [(user["name"], user["state"], user["uid"]) for user in listed["users"]] == [("anna", "active", 0)]
    assert listed["pending"] == ["cleo"]


def test_passwd_sets_a_password_that_ends_every_token(run: Run, config: Path) -> None:
    token = told(run("add", "anna", "--json"))["token"]
    assert run("passwd", "anna", "--password-stdin", text=f"{PASSWORD}\n").exit_code == 0
    door, tokens = accounts(config)
    assert tokens.by_token(token) is None
    assert door.login(LAPTOP, "anna", PASSWORD)
    assert run("passwd", "nemo", "--password-stdin", text=f"{PASSWORD}\n").exit_code == 3


def test_passwd_without_a_terminal_says_how(run: Run) -> None:
    run("add", "anna")
    refused = run("passwd", "anna", text=PASSWORD)
    assert (refused.exit_code, "--password-stdin" in refused.stderr) == (2, True)


def test_passwd_asks_twice_on_a_terminal_and_shows_nothing(run: Run, config: Path) -> None:
    run("add", "anna")
    ours, terminal = pty.openpty()
    words = ["-m", "dopq", "user", "passwd", "anna", "--config", str(config)]
    # A session of its own, which takes its first terminal as its own: the password is asked for there.
    take = f"import fcntl, sys, os, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0); os.execv(sys.executable, {[sys.executable, *words]!r})"
    with subprocess.Popen(
        [sys.executable, "-c", take], stdin=terminal, stdout=terminal, stderr=terminal, start_new_session=True
    ):
        os.close(terminal)
        os.set_blocking(ours, False)
        screen = bytearray()

        def shows(text: bytes) -> bool:
            with suppress(OSError):  # nothing at present, or the last one has left
                screen.extend(os.read(ours, 4096))
            return text in screen

        wait_until(lambda: shows(b"Password: "), 20.0)
        os.write(ours, f"{PASSWORD}\n".encode())
        wait_until(lambda: shows(b"Once more: "), 20.0)
        os.write(ours, f"{PASSWORD}\n".encode())
        wait_until(lambda: shows(b"anna has a new password"), 20.0)
    os.close(ours)
    assert PASSWORD.encode() not in screen
    assert accounts(config)[0].login(LAPTOP, "anna", PASSWORD)


def test_token_makes_a_new_token_and_ends_every_other(run: Run, config: Path) -> None:
    old = told(run("add", "anna", "--json"))["token"]
    new = told(run("token", "anna", "--json"))["token"]
    _, tokens = accounts(config)
    assert (tokens.by_token(old) is None, tokens.by_token(new) is None) == (True, False)
    assert run("token", "nemo").exit_code == 3


def test_weight_role_uid_and_remove_change_a_user(run: Run) -> None:
    run("add", "anna")
    for words in (("weight", "anna", "2.5"), ("role", "anna", "admin"), ("uid", "anna", str(os.getuid()))):
        assert run(*words).exit_code == 0
    [anna] = told(run("list", "--json"))["users"]
    assert (anna["weight"], anna["role"], anna["uid"]) == (2.5, "admin", os.getuid())
    assert run("remove", "anna").exit_code == 0
    assert told(run("list", "--json"))["users"] == []
    assert run("remove", "anna").exit_code == 3


def test_a_name_with_jobs_is_given_again_only_to_take_them_over(run: Run, config: Path) -> None:
    run("add", "anna")
    run("remove", "anna")
    with Database(load(config)[1].journal).transaction() as tx:
        tx.execute("INSERT INTO jobs (key, user, name, state, seq, record) VALUES ('k', 'anna', 'a', 'ended', 1, '{}')")
    refused = run("add", "anna")
    assert refused.exit_code != 0
    assert "--take-over" in refused.output
    assert run("add", "anna", "--take-over").exit_code == 0


def test_approve_makes_a_user_of_who_asked_with_the_uid_that_the_admin_says(run: Run, config: Path) -> None:
    door, _ = accounts(config)
    for name in ("cleo", "dora"):
        door.register(LAPTOP, name, PASSWORD, f"{name}@lab", 1234, None, None)
    [cleo, _] = told(run("pending", "--json"))["pending"]
    assert (cleo["name"], cleo["wished_uid"], cleo["address"]) == ("cleo", 1234, "192.0.2.7")
    assert "cleo@lab from 192.0.2.7" in run("pending").stdout
    assert "says uid 1234" in run("pending").stdout

    unconfirmed = run("approve", "cleo", "--weight", "2")
    assert "dopq user uid cleo 1234" in unconfirmed.stdout
    assert run("approve", "dora", "--uid", str(os.getuid())).exit_code == 0
    users = {user["name"]: user for user in told(run("list", "--json"))["users"]}
    assert [(users[name]["uid"], users[name]["weight"]) for name in ("cleo", "dora")] == [
        (None, 2.0),
        (os.getuid(), 1.0),
    ]
    assert (config.parent / "share" / "inbox" / "cleo").is_dir()
    assert door.login(LAPTOP, "cleo", PASSWORD)
    assert told(run("pending", "--json"))["pending"] == []


def test_several_who_ask_for_one_name_are_told_apart_by_number(run: Run, config: Path) -> None:
    door, _ = accounts(config)
    for number in range(2):
        door.register(LAPTOP, "cleo", PASSWORD + str(number), "cleo@lab", None, None, None)
    first, second = (each["number"] for each in told(run("pending", "--json"))["pending"])
    ambiguous = run("approve", "cleo")
    assert (ambiguous.exit_code, f"{first}, {second}" in ambiguous.stderr) == (2, True)
    assert run("approve", str(second)).exit_code == 0
    taken = run("approve", str(first))
    assert (taken.exit_code, "already" in taken.stderr) == (2, True)
    assert run("reject", "cleo").exit_code == 0
    assert run("reject", "cleo").exit_code == 3
    assert door.login(LAPTOP, "cleo", PASSWORD + "1")
    with pytest.raises(LoginRefused):
        door.login(LAPTOP, "cleo", PASSWORD + "0")


def test_an_invite_makes_a_user_without_waiting(run: Run, config: Path) -> None:
    invite = told(run("invite", "--role", "admin", "--weight", "3", "--days", "2", "--json"))["invite"]
    door, _ = accounts(config)
    user = door.register(LAPTOP, "cleo", PASSWORD, "cleo@lab", None, None, invite)
    assert user is not None
    assert (user.role, user.weight) == ("admin", 3.0)
    assert "shown this once" in run("invite").stdout
    assert run("invite", "--days", "0").exit_code == 2
