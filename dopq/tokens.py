"""What proves who calls: a user has several tokens, one for each place they have logged in from.

A token is 32 random bytes; only its SHA-256 is stored. A slow password hash is not needed here because a token cannot
be guessed: it has 256 bits of its own (unlike a password that a person chose).
"""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta

from dopq.database import Database
from dopq.errors import NotFound
from dopq.job import UserName
from dopq.users import COLUMNS, User, user_of
from dopq.utils.clock import Clock

MOST_TOKENS = 50
"""How many tokens a user has at most; the oldest gives way."""


@dataclass(frozen=True, slots=True)
class Issued:
    """A new token. It is shown this once; nobody can read it again."""

    token: str
    expires_at: datetime


class Tokens:
    """The tokens of all users. Reads go to the file every time, so that a token is dead as soon as it is deleted."""

    def __init__(self, database: Database, clock: Clock, days: int) -> None:
        """Look after tokens that hold for so many days each."""
        self._db = database
        self._clock = clock
        self._lifetime = timedelta(days=days)

    def issue(self, name: UserName, source: str) -> Issued:
        """Make a token for a user; `source` says in a few words where it was asked for.

        Raises:
            NotFound: there is no such user.
        """
        token, now = secrets.token_urlsafe(32), self._clock.now()
        issued = Issued(token, now + self._lifetime)
        with self._db.transaction() as tx:
            if not tx.execute("SELECT 1 FROM users WHERE name = ?", (name,)).fetchone():
                raise NotFound(f"There is no user {name!r}.", "`dopq user list` shows all.")
            tx.execute(
                "DELETE FROM tokens WHERE user = ? AND hash NOT IN"
                " (SELECT hash FROM tokens WHERE user = ? ORDER BY rowid DESC LIMIT ?)",
                (name, name, MOST_TOKENS - 1),
            )
            tx.execute(
                "INSERT INTO tokens (hash, user, created_at, expires_at, source) VALUES (?, ?, ?, ?, ?)",
                (digest(token), name, now.isoformat(), issued.expires_at.isoformat(), source),
            )
        return issued

    def by_token(self, token: str) -> User | None:
        """The user whose token this is, while it holds.

        Looked up by hash, so timing tells nothing about the token itself.
        """
        for *row, end in self._db.rows(_BY_HASH, (digest(token),)):
            expires_at = datetime.fromisoformat(end)
            return user_of(tuple(row), expires_at) if self._clock.now() < expires_at else None
        return None

    def logout(self, token: str) -> None:
        """Delete a token; fine where there is none any more."""
        with self._db.transaction() as tx:
            tx.execute("DELETE FROM tokens WHERE hash = ?", (digest(token),))

    def end_all(self, name: str) -> None:
        """Delete every token of a user, for example after one was lost."""
        with self._db.transaction() as tx:
            tx.execute("DELETE FROM tokens WHERE user = ?", (name,))


_BY_HASH = f"SELECT {COLUMNS}, expires_at FROM tokens JOIN users ON users.name = tokens.user WHERE hash = ?"  # noqa: S608 - a literal


def digest(secret: str) -> str:
    """What is stored of a random secret."""
    # A stranger's token may be any text, even one that has no UTF-8.
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()
