"""Who may use a node: names that cannot be mistaken, uids that are one person's, fields that make sense."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from dopq.database import Database
from dopq.errors import NotFound, UserError
from dopq.user_fields import RESERVED
from dopq.users import Role, User, Users

NOW = datetime(2026, 1, 5, 9, 0, tzinfo=UTC)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journal.sqlite3"


@pytest.fixture
def users(path: Path) -> Iterator[Users]:
    database = Database(path)
    yield Users(database)
    database.close()


KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAINTTK2uWqSJJhyENeQqFRUp8lhx0QRIKWPVJfZ5ORc4e anna@laptop"


def add(users: Users, name: str = "anna", weight: float = 1.0, **more: Any) -> User:
    return users.add(name, role=Role.USER, weight=weight, uid=more.pop("uid", None), now=NOW, **more)


def test_a_user_is_found_by_name_and_by_uid_with_all_that_is_known(users: Users) -> None:
    anna = add(users, uid=1000, email="anna@lab.example", ssh_key=KEY)
    assert anna == users.by_name("anna") == users.by_uid(1000)
    assert (anna.name, anna.role, anna.weight, anna.uid, anna.created_at) == ("anna", Role.USER, 1.0, 1000, NOW)
    assert (anna.email, anna.ssh_key, anna.token_expires_at) == ("anna@lab.example", KEY, None)
    assert users.by_uid(1001) is None


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


@pytest.mark.parametrize("uid", [-1, 65534, 2**32 - 1, 2**40])
def test_a_uid_that_is_nobodys_is_refused(users: Users, uid: int) -> None:
    with pytest.raises(UserError, match="no uid"):
        add(users, uid=uid)
    add(users)
    with pytest.raises(UserError, match="no uid"):
        users.set_uid("anna", uid)
    assert users.by_uid(uid) is None


def test_the_uid_0_is_a_person_like_any_other(users: Users) -> None:
    assert add(users, uid=0) == users.by_uid(0)


def test_an_account_of_the_machine_is_one_users_alone(users: Users) -> None:
    add(users, "anna", uid=1000)
    add(users, "bert")
    with pytest.raises(UserError, match="1000 is anna's already"):
        add(users, "cleo", uid=1000)
    with pytest.raises(UserError, match="1000 is anna's already"):
        users.set_uid("bert", 1000)
    users.set_uid("anna", 1000)
    users.set_uid("anna", 1001)
    users.set_uid("bert", 1000)
    assert [users.by_uid(uid).name for uid in (1000, 1001)] == ["bert", "anna"]  # type: ignore[union-attr]


@pytest.mark.parametrize(
    "email",
    [
        "",
        "anna",
        "@lab",
        "anna@",
        "a b@lab",
        "anna@lab..de",
        "anna@lab\n",
        "änna@lab",
        "a@b@c",
        "anna@\u202elab",
        "anna <a@b>",
        "x" * 65 + "@lab",
        "anna@" + "l" * 250,
    ],
)
def test_what_is_no_email_address_is_refused(users: Users, email: str) -> None:
    with pytest.raises(UserError, match="no e-mail address"):
        add(users, email=email)
    assert users.all() == []


@pytest.mark.parametrize("email", ["anna@lab", "a.b+c@x-y.example.org"])
def test_what_may_be_an_email_address_is_taken(users: Users, email: str) -> None:
    assert add(users, email=email).email == email


@pytest.mark.parametrize(
    "key",
    [
        "",
        "ssh-ed25519",
        "ssh-ed25519 x",
        "ssh-ed25519 AAAA",
        KEY.replace("ssh-ed25519", "ssh-rsa"),
        KEY.replace("AAAAC3", "AAAAC4"),
        KEY.replace("INTTK2", "INTT"),
        'command="rm -rf /" ' + KEY,
        KEY + "\nssh-rsa AAAA",
        KEY + "\x1b[2J",
        KEY + " \u202egnp",
        KEY + "x" * 9000,
        "-----BEGIN OPENSSH PRIVATE KEY-----",
    ],
)
def test_what_is_no_ssh_public_key_is_refused(users: Users, key: str) -> None:
    with pytest.raises(UserError, match="no SSH public key"):
        add(users, ssh_key=key)
    assert users.all() == []


@pytest.mark.parametrize("key", [KEY, KEY.rsplit(" ", 1)[0], KEY + " of two words"])
def test_an_ssh_public_key_is_kept_as_it_is(users: Users, key: str) -> None:
    assert add(users, ssh_key=key).ssh_key == key


def test_a_name_is_given_once(users: Users) -> None:
    anna = add(users)
    with pytest.raises(UserError, match="already"):
        add(users, weight=2.0)
    assert users.all() == [anna]


def test_a_removed_user_is_out_at_once_and_their_uid_is_free(users: Users) -> None:
    add(users, uid=1000)
    users.remove("anna")
    assert (users.by_name("anna"), users.by_uid(1000), users.all()) == (None, None, [])
    add(users, "bert", uid=1000)


def test_role_and_weight_change_at_once(users: Users) -> None:
    add(users)
    users.set_role("anna", Role.ADMIN)
    users.set_weight("anna", 2.5)
    anna = users.by_name("anna")
    assert anna is not None
    assert (anna.role, anna.weight) == (Role.ADMIN, 2.5)


def test_a_user_has_no_password_until_one_is_set(users: Users) -> None:
    add(users)
    assert users.password_hash("anna") is None
    users.set_password_hash("anna", "$hash")
    assert users.password_hash("anna") == "$hash"
    assert users.password_hash("nemo") is None


def test_nobody_is_changed_in_silence(users: Users) -> None:
    for change in (
        lambda: users.remove("nemo"),
        lambda: users.set_weight("nemo", 1.0),
        lambda: users.set_role("nemo", Role.ADMIN),
        lambda: users.set_uid("nemo", 1000),
        lambda: users.set_password_hash("nemo", "$hash"),
    ):
        with pytest.raises(NotFound, match="nemo"):
            change()


def test_a_running_node_sees_whom_a_command_adds_beside_it(users: Users, path: Path) -> None:
    beside = Database(path)
    add(Users(beside), "bert")
    beside.close()
    assert users.by_name("bert") is not None
