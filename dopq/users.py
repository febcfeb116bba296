"""Who may use this node: names, roles, share weights and tokens.

A token is 32 random bytes; only its SHA-256 is stored. A slow password hash is not needed here because a token cannot
be guessed: it has 256 bits of its own (unlike a password that a person chose).
"""

from __future__ import annotations

import hashlib
import math
import re
import secrets
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from dopq.errors import NotFound, UserError
from dopq.job import UserName
from dopq.store import Database

NAME = re.compile(r"[a-z_][a-z0-9_-]{1,31}")
RESERVED = frozenset({"root", "dopq", "admin", "system", "nobody", "all", "me", "peer"})


class Role(StrEnum):
    """What a user may do; the table of calls is in dopq/controller.py."""

    USER = "user"
    ADMIN = "admin"


@dataclass(frozen=True, slots=True)
class User:
    """A registered person. `weight` > 0 is the share; `uid` is the owner of the inbox on this machine, if known."""

    name: UserName
    role: Role
    weight: float
    uid: int | None
    created_at: datetime


class Users:
    """The registered users. Reads go to the file every time, so that `dopq user add` works beside a running node."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def add(self, name: str, *, role: Role, weight: float, uid: int | None, now: datetime) -> str:
        """Register a user and return the token, which is shown this once.

        Raises:
            UserError: the name is malformed, reserved or taken, or the weight is not positive.
        """
        if not NAME.fullmatch(name) or name in RESERVED:
            raise UserError(
                f"{name!r} cannot be a user name.",
                "2 to 32 of a-z, 0-9, _ and -, beginning with a letter or _, and not a reserved word.",
            )
        _check(weight)
        token = secrets.token_urlsafe(32)
        with self._db.transaction() as tx:
            if tx.execute("SELECT 1 FROM users WHERE name = ?", (name,)).fetchone():
                raise UserError(f"There is a user {name!r} already.", "Choose another name.")
            tx.execute(
                "INSERT INTO users VALUES (?, ?, ?, ?, ?, ?)",
                (name, role, weight, uid, _digest(token), now.isoformat()),
            )
        return token

    def remove(self, name: str) -> None:
        """Forget a user and their token. Their jobs stay. Raises `NotFound`."""
        with self._db.transaction() as tx:
            if not tx.execute("DELETE FROM users WHERE name = ?", (name,)).rowcount:
                raise NotFound(f"There is no user {name!r}.", "`dopq user list` shows all.")

    def set_weight(self, name: str, weight: float) -> None:
        """Change a user's share. Raises `NotFound` or `UserError`."""
        _check(weight)
        self._update("weight", weight, name)

    def set_role(self, name: str, role: Role) -> None:
        """Make a user an admin or an ordinary user. Raises `NotFound`."""
        self._update("role", role, name)

    def new_token(self, name: str) -> str:
        """Replace a user's token, for example a lost one; the old one is dead at once. Raises `NotFound`."""
        token = secrets.token_urlsafe(32)
        self._update("token_hash", _digest(token), name)
        return token

    def by_token(self, token: str) -> User | None:
        """The user whose token this is. Looked up by hash, so timing tells nothing about the token itself."""
        return self._one("token_hash", _digest(token))

    def by_name(self, name: str) -> User | None:
        """A user by name."""
        return self._one("name", name)

    def all(self) -> list[User]:
        """Every user, by name."""
        return [_user(row) for row in self._db.rows(f"{_SELECT} ORDER BY name")]

    def _one(self, column: str, value: str) -> User | None:
        rows = self._db.rows(f"{_SELECT} WHERE {column} = ?", (value,))
        return _user(rows[0]) if rows else None

    def _update(self, column: str, value: object, name: str) -> None:
        with self._db.transaction() as tx:
            # `column` is one of this class's own literals.
            changed = tx.execute(f"UPDATE users SET {column} = ? WHERE name = ?", (value, name)).rowcount  # noqa: S608
        if not changed:
            raise NotFound(f"There is no user {name!r}.", "`dopq user list` shows all.")


_SELECT = "SELECT name, role, weight, uid, created_at FROM users"


def _user(row: tuple[str, str, float, int | None, str]) -> User:
    name, role, weight, uid, created = row
    return User(UserName(name), Role(role), weight, uid, datetime.fromisoformat(created))


def _check(weight: float) -> None:
    if not 0 < weight < math.inf:
        raise UserError(f"A weight of {weight:g} gives no share.", "Use a number above 0; 1 is the usual one.")


def _digest(token: str) -> str:
    # A stranger's token may be any text, even one that has no UTF-8.
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()
