"""Who may use a node: names that cannot be mistaken, tokens of which only the hash is kept."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from dopq.errors import NotFound, UserError
from dopq.store import Database
from dopq.users import RESERVED, Role, Users

NOW = datetime(2026, 1, 5, 9, 0, tzinfo=UTC)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journal.sqlite3"


@pytest.fixture
def users(path: Path) -> Iterator[Users]:
    database = Database(path)
    yield Users(database)
    database.close()


def add(users: Users, name: str = "anna", weight: float = 1.0) -> str:
    return users.add(name, role=Role.USER, weight=weight, uid=1000, now=NOW)


def test_a_user_is_found_by_token_and_by_name(users: Users) -> None:
    token = add(users)
    anna = users.by_token(token)
    assert anna is not None
    assert anna == users.by_name("anna")
    assert (anna.name, anna.role, anna.weight, anna.uid, anna.created_at) == ("anna", Role.USER, 1.0, 1000, NOW)


def test_no_two_tokens_are_the_same_and_each_is_long(users: Users) -> None:
    tokens = [add(users, name) for name in ("anna", "bert", "cleo")]
    assert len(set(tokens)) == 3
    assert all(len(token) >= 43 for token in tokens), "32 bytes in base64"


def test_the_file_does_not_hold_the_token(users: Users, path: Path) -> None:
    token = add(users)
    kept = b"".join(file.read_bytes() for file in path.parent.iterdir())
    assert b"anna" in kept
    assert token.encode() not in kept


@pytest.mark.parametrize("token", ["", "x", "anna", "\udcff", "\0", "' OR 1=1 --", "x" * 100_000])
def test_a_strangers_token_is_nobodys(users: Users, token: str) -> None:
    add(users)
    assert users.by_token(token) is None


@pytest.mark.parametrize(
    "name",
    ["", "a", "Anna", "an na", "an/na", "..", "-anna", "1anna", "änna", "anna\n", "a" * 33, "x\0", *sorted(RESERVED)],
)
def test_a_name_that_could_be_mistaken_is_refused(users: Users, name: str) -> None:
    with pytest.raises(UserError, match="cannot be a user name"):
        add(users, name)
    assert users.all() == []


@pytest.mark.parametrize("weight", [0.0, -1.0, float("nan"), float("inf")])
def test_a_weight_that_is_no_share_is_refused(users: Users, weight: float) -> None:
    with pytest.raises(UserError, match="no share"):
        add(users, weight=weight)
    add(users)
    with pytest.raises(UserError, match="no share"):
        users.set_weight("anna", weight)


def test_a_name_is_given_once(users: Users) -> None:
    token = add(users)
    with pytest.raises(UserError, match="already"):
        add(users)
    assert users.by_token(token) is not None


def test_a_new_token_kills_the_old_one(users: Users) -> None:
    old = add(users)
    new = users.new_token("anna")
    assert users.by_token(old) is None
    assert users.by_token(new) is not None


def test_a_removed_user_is_out_at_once(users: Users) -> None:
    token = add(users)
    users.remove("anna")
    assert users.by_token(token) is None
    assert users.all() == []


def test_role_and_weight_change_at_once(users: Users) -> None:
    token = add(users)
    users.set_role("anna", Role.ADMIN)
    users.set_weight("anna", 2.5)
    anna = users.by_token(token)
    assert anna is not None
    assert (anna.role, anna.weight) == (Role.ADMIN, 2.5)


def test_nobody_is_changed_in_silence(users: Users) -> None:
    for change in (
        lambda: users.remove("nemo"),
        lambda: users.set_weight("nemo", 1.0),
        lambda: users.set_role("nemo", Role.ADMIN),
        lambda: users.new_token("nemo"),
    ):
        with pytest.raises(NotFound, match="nemo"):
            change()


def test_a_running_node_sees_whom_a_command_adds_beside_it(users: Users, path: Path) -> None:
    beside = Database(path)
    token = add(Users(beside), "bert")
    beside.close()
    assert users.by_token(token) is not None
