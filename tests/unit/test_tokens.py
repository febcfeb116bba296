"""What proves who calls: tokens that end, of which only the hash is kept."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from dopq.database import Database
from dopq.errors import NotFound
from dopq.job import UserName
from dopq.tokens import MOST_TOKENS, Tokens
from dopq.users import Role, Users
from tests.fakes import FakeClock

ANNA, BERT = UserName("anna"), UserName("bert")
DAY_S = 86400.0


class Lodge:
    """Users anna and bert, and their tokens, which hold for ten days."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.database = Database(path)
        self.clock = FakeClock()
        self.users = Users(self.database)
        self.tokens = Tokens(self.database, self.clock, days=10)
        for name in (ANNA, BERT):
            self.users.add(name, role=Role.USER, weight=1.0, uid=None, now=self.clock.now())

    def whose(self, token: str) -> str | None:
        user = self.tokens.by_token(token)
        return user.name if user else None


@pytest.fixture
def lodge(tmp_path: Path) -> Iterator[Lodge]:
    lodge = Lodge(tmp_path / "journal.sqlite3")
    yield lodge
    lodge.database.close()


def test_a_token_is_its_users_until_its_end_and_not_a_moment_longer(lodge: Lodge) -> None:
    issued = lodge.tokens.issue(ANNA, "a test")
    user = lodge.tokens.by_token(issued.token)
    assert user is not None
    assert (user.name, user.token_expires_at) == (ANNA, issued.expires_at)
    lodge.clock.advance(10 * DAY_S - 1)
    assert lodge.whose(issued.token) == ANNA
    lodge.clock.advance(1)
    assert lodge.clock.now() == issued.expires_at
    assert lodge.whose(issued.token) is None


def test_no_two_tokens_are_the_same_and_each_is_long(lodge: Lodge) -> None:
    tokens = [lodge.tokens.issue(ANNA, "a test").token for _ in range(10)]
    assert len(set(tokens)) == 10
    assert all(len(token) >= 43 for token in tokens), "32 bytes in base64"
    assert {lodge.whose(token) for token in tokens} == {ANNA}


def test_the_file_does_not_hold_the_token(lodge: Lodge) -> None:
    token = lodge.tokens.issue(ANNA, "a test").token
    kept = b"".join(file.read_bytes() for file in lodge.path.parent.iterdir())
    assert b"anna" in kept
    assert token.encode() not in kept


@pytest.mark.parametrize("token", ["", "x", "anna", "\udcff", "\0", "' OR 1=1 --", "x" * 100_000])
def test_a_strangers_token_is_nobodys(lodge: Lodge, token: str) -> None:
    lodge.tokens.issue(ANNA, "a test")
    assert lodge.whose(token) is None
    lodge.tokens.logout(token)


def test_a_logout_ends_one_token_and_no_other(lodge: Lodge) -> None:
    laptop, desktop, berts = (lodge.tokens.issue(name, "a test").token for name in (ANNA, ANNA, BERT))
    lodge.tokens.logout(laptop)
    lodge.tokens.logout(laptop)
    assert [lodge.whose(token) for token in (laptop, desktop, berts)] == [None, ANNA, BERT]


@pytest.mark.parametrize("how", ["end_all", "password", "remove"])
def test_what_ends_all_tokens_of_a_user_ends_no_other_users(lodge: Lodge, how: str) -> None:
    annas = [lodge.tokens.issue(ANNA, "a test").token for _ in range(3)]
    berts = lodge.tokens.issue(BERT, "a test").token
    match how:
        case "end_all":
            lodge.tokens.end_all(ANNA)
        case "password":
            lodge.users.set_password_hash(ANNA, "$hash")
        case _:
            lodge.users.remove(ANNA)
    assert {lodge.whose(token) for token in annas} == {None}
    assert lodge.whose(berts) == BERT


def test_a_name_that_is_given_anew_does_not_inherit_the_tokens(lodge: Lodge) -> None:
    token = lodge.tokens.issue(ANNA, "a test").token
    lodge.users.remove(ANNA)
    lodge.users.add(ANNA, role=Role.ADMIN, weight=1.0, uid=None, now=lodge.clock.now())
    assert lodge.whose(token) is None


def test_the_oldest_token_gives_way_where_there_are_too_many(lodge: Lodge) -> None:
    berts = lodge.tokens.issue(BERT, "a test").token
    tokens = [lodge.tokens.issue(ANNA, "a test").token for _ in range(MOST_TOKENS + 2)]
    alive = [token for token in tokens if lodge.whose(token)]
    assert alive == tokens[2:]
    assert lodge.whose(berts) == BERT


def test_nobody_gets_a_token(lodge: Lodge) -> None:
    with pytest.raises(NotFound, match="nemo"):
        lodge.tokens.issue(UserName("nemo"), "a test")


def test_a_running_node_sees_at_once_which_token_a_command_makes_and_ends(lodge: Lodge) -> None:
    with closing(Database(lodge.path)) as beside:
        tokens = Tokens(beside, lodge.clock, days=10)
        token = tokens.issue(ANNA, "beside").token
        assert lodge.whose(token) == ANNA
        tokens.end_all(ANNA)
        assert lodge.whose(token) is None
