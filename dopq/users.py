"""Who may use this node: names, roles, share weights, and what else is known of a person.

Who has only asked to be registered is no user yet (registrations.py).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

from dopq.database import Database, Transaction
from dopq.errors import NotFound, UserError
from dopq.job import UserName
from dopq.user_fields import checked_email, checked_name, checked_ssh_key, checked_uid, checked_weight


class Role(StrEnum):
    """What a user may do; which calls those are: dopq/access.py."""

    USER = "user"
    ADMIN = "admin"


@dataclass(frozen=True, slots=True)
class User:
    """A registered person.

    Attributes:
        weight: the share, above 0.
        uid: their account on this machine, if known: who comes by the local socket with it is this user.
        email, ssh_key: how to reach them; kept, and told to admins and to themselves.
        token_expires_at: the end of the token that they came with; None where they came without one.
    """

    name: UserName
    role: Role
    weight: float
    uid: int | None
    created_at: datetime
    email: str | None = None
    ssh_key: str | None = None
    token_expires_at: datetime | None = field(default=None, compare=False)


class Users:
    """The registered users. Reads go to the file every time, so that `dopq user add` works beside a running node."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def add(
        self,
        name: str,
        *,
        role: Role,
        weight: float,
        uid: int | None,
        now: datetime,
        email: str | None = None,
        ssh_key: str | None = None,
        password_hash: str | None = None,
        take_over: bool = False,
    ) -> User:
        """Register a user, without a token; without a password, too, unless the hash of one is given.

        Args:
            take_over: they may be called as somebody was who is gone, and get that one's jobs.

        Raises:
            UserError: the name is malformed, reserved or taken, the uid is another's, or a field makes no sense.
        """
        user = User(checked_name(name), role, weight, uid, now, email, ssh_key)
        with self._db.transaction() as tx:
            enter(tx, user, password_hash, take_over=take_over)
        return user

    def remove(self, name: str) -> None:
        """Forget a user, their password and their tokens. Their jobs stay. Raises `NotFound`."""
        with self._db.transaction() as tx:
            if not tx.execute("DELETE FROM users WHERE name = ?", (name,)).rowcount:
                raise _nobody(name)

    def set_weight(self, name: str, weight: float) -> None:
        """Change a user's share. Raises `NotFound` or `UserError`."""
        self._update("weight", checked_weight(weight), name)

    def set_role(self, name: str, role: Role) -> None:
        """Make a user an admin or an ordinary user. Raises `NotFound`."""
        self._update("role", role, name)

    def set_uid(self, name: str, uid: int) -> None:
        """Say which account of the machine is a user's. Raises `NotFound` or `UserError`."""
        with self._db.transaction() as tx:
            _require_free_uid(tx, checked_uid(uid), name)
            if not tx.execute("UPDATE users SET uid = ? WHERE name = ?", (uid, name)).rowcount:
                raise _nobody(name)

    def set_password_hash(self, name: str, password_hash: str) -> None:
        """Give a user another password, and end every token that they have. Raises `NotFound`."""
        with self._db.transaction() as tx:
            changed = tx.execute("UPDATE users SET password_hash = ? WHERE name = ?", (password_hash, name)).rowcount
            if not changed:
                raise _nobody(name)
            tx.execute("DELETE FROM tokens WHERE user = ?", (name,))

    def password_hash(self, name: str) -> str | None:
        """What a user's password is verified against; None where they have none, or there is no such user."""
        rows = self._db.rows("SELECT password_hash FROM users WHERE name = ?", (name,))
        return rows[0][0] if rows else None

    def by_name(self, name: str) -> User | None:
        """A user by name."""
        return self._one("name", name)

    def by_uid(self, uid: int) -> User | None:
        """The user whose account on this machine it is."""
        return self._one("uid", uid)

    def all(self) -> list[User]:
        """Every user, by name."""
        return [user_of(row) for row in self._db.rows(f"{_SELECT} ORDER BY name")]

    def _one(self, column: str, value: object) -> User | None:
        # `column` is one of this class's own literals.
        rows = self._db.rows(f"{_SELECT} WHERE {column} = ?", (value,))
        return user_of(rows[0]) if rows else None

    def _update(self, column: str, value: object, name: str) -> None:
        with self._db.transaction() as tx:
            # `column` is one of this class's own literals.
            changed = tx.execute(f"UPDATE users SET {column} = ? WHERE name = ?", (value, name)).rowcount  # noqa: S608
        if not changed:
            raise _nobody(name)


COLUMNS = "users.name, role, weight, uid, users.created_at, email, ssh_key"
"""What `user_of` reads, also in a join."""
_SELECT = f"SELECT {COLUMNS} FROM users"  # noqa: S608 - both are literals


def user_of(row: tuple[Any, ...], token_expires_at: datetime | None = None) -> User:
    """The user in a row of `COLUMNS`."""
    name, role, weight, uid, created, email, ssh_key = row
    return User(
        UserName(name), Role(role), weight, uid, datetime.fromisoformat(created), email, ssh_key, token_expires_at
    )


def enter(tx: Transaction, user: User, password_hash: str | None = None, *, take_over: bool = False) -> None:
    """Put a new user into the table, as a part of a transaction.

    Raises:
        UserError: the name or the uid is another's, or a field makes no sense; or, unless `take_over`, the name was
            another's, whose jobs, logs and results would be this one's.
    """
    checked_weight(user.weight)
    if user.email is not None:
        checked_email(user.email)
    if user.ssh_key is not None:
        checked_ssh_key(user.ssh_key)
    if tx.execute("SELECT 1 FROM users WHERE name = ?", (user.name,)).fetchone():
        raise UserError(f"There is a user {user.name!r} already.", "Choose another name.")
    if not take_over and tx.execute("SELECT 1 FROM jobs WHERE user = ? LIMIT 1", (user.name,)).fetchone():
        raise UserError(
            f"There was a user {user.name!r}, whose jobs, logs and results a new one would get.",
            "Choose another name; for whom they are meant an admin runs: dopq user add NAME --take-over.",
        )
    if user.uid is not None:
        _require_free_uid(tx, checked_uid(user.uid), user.name)
    tx.execute(
        "INSERT INTO users (name, role, weight, uid, email, ssh_key, password_hash, created_at)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        (
            user.name,
            user.role,
            user.weight,
            user.uid,
            user.email,
            user.ssh_key,
            password_hash,
            user.created_at.isoformat(),
        ),
    )


def _require_free_uid(tx: Transaction, uid: int, name: str) -> None:
    holder = tx.execute("SELECT name FROM users WHERE uid = ? AND name != ?", (uid, name)).fetchone()
    if holder:
        raise UserError(
            f"The uid {uid} is {holder[0]}'s already: one account of the machine is one user.",
            "`dopq user list` shows whose uid is which.",
        )


def _nobody(name: str) -> NotFound:
    return NotFound(f"There is no user {name!r}.", "`dopq user list` shows all.")
