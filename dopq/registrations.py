"""Who has asked to be registered, and waits for an admin.

What they say of themselves is not true yet: a registration is in a table of its own, so that nothing that looks for a
user ever finds one, and its uid is a wish. Several may ask for the same name, a taken one included: an answer that
told them apart would tell strangers who is registered here.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from dopq.database import Database, Transaction
from dopq.errors import NotAllowed, NotFound, UserError
from dopq.job import UserName
from dopq.users import Role, User, enter
from dopq.utils.network import network_of

MOST = 100
"""How many registrations wait at most."""
MOST_OF_ONE_ADDRESS = 20
"""How many of them came from one address, as `network_of` counts it."""


@dataclass(frozen=True, slots=True)
class Request:
    """What somebody says of themselves who wants to be registered. All of it is checked for its form, and no more."""

    name: UserName
    email: str
    wished_uid: int | None
    ssh_key: str | None
    password_hash: str
    address: str


@dataclass(frozen=True, slots=True)
class Registration:
    """A request that waits for an admin, by its number."""

    number: int
    request: Request
    asked_at: datetime


class Registrations:
    """The requests that nobody has approved or removed."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def ask(self, request: Request, now: datetime) -> None:
        """Have a request wait for an admin.

        Raises:
            NotAllowed: so many wait that no more are taken.
        """
        with self._db.transaction() as tx:
            waiting = [network_of(address) for (address,) in tx.execute("SELECT address FROM registrations")]
            if len(waiting) >= MOST or waiting.count(network_of(request.address)) >= MOST_OF_ONE_ADDRESS:
                raise NotAllowed(
                    "Too many registrations wait for an admin; no more are taken for now.",
                    "Ask your admin to look at them, or for an invite.",
                )
            tx.execute(
                "INSERT INTO registrations (name, email, wished_uid, ssh_key, password_hash, address, asked_at)"
                " VALUES (?, ?, ?, ?, ?, ?, ?)",
                (
                    request.name,
                    request.email,
                    request.wished_uid,
                    request.ssh_key,
                    request.password_hash,
                    request.address,
                    now.isoformat(),
                ),
            )

    def all(self) -> list[Registration]:
        """Every registration that waits, in the order of asking."""
        return [_registration(row) for row in self._db.rows(f"{_SELECT} ORDER BY id")]

    def find(self, which: str) -> Registration:
        """One registration.

        Args:
            which: its number, or the name where one alone asks for it.

        Raises:
            NotFound: nobody asks for that name, or that number is nobody's.
            UserError: several ask for the name.
        """
        with self._db.transaction() as tx:
            return _one(tx, which)

    def approve(self, which: str, *, role: Role, weight: float, uid: int | None, now: datetime) -> User:
        """Make a user of a registration, with the password that they chose; `uid` is what the admin says, if anything.

        Raises:
            NotFound, UserError: as in `find`; or the name or the uid is another's.
        """
        with self._db.transaction() as tx:
            registration = _one(tx, which)
            asked = registration.request
            user = User(asked.name, role, weight, uid, now, asked.email, asked.ssh_key)
            enter(tx, user, asked.password_hash)
            tx.execute("DELETE FROM registrations WHERE id = ?", (registration.number,))
        return user

    def remove(self, which: str) -> Registration:
        """Turn a registration away. Raises what `find` raises."""
        with self._db.transaction() as tx:
            registration = _one(tx, which)
            tx.execute("DELETE FROM registrations WHERE id = ?", (registration.number,))
        return registration


_SELECT = "SELECT id, name, email, wished_uid, ssh_key, password_hash, address, asked_at FROM registrations"


def _one(tx: Transaction, which: str) -> Registration:
    # No name begins with a digit, so a number is never a name.
    column = "CAST(id AS TEXT)" if which[:1].isdigit() else "name"
    found = [_registration(row) for row in tx.execute(f"{_SELECT} WHERE {column} = ?", (which,)).fetchall()]
    if not found:
        raise NotFound(f"No registration {which!r} waits.", "`dopq user pending` shows those that do.")
    if len(found) > 1:
        numbers = ", ".join(str(each.number) for each in found)
        raise UserError(f"Several ask for the name {which!r}: {numbers}.", "Say which by its number.")
    return found[0]


def _registration(row: tuple[Any, ...]) -> Registration:
    number, name, email, wished_uid, ssh_key, password_hash, address, asked_at = row
    request = Request(UserName(name), email, wished_uid, ssh_key, password_hash, address)
    return Registration(number, request, datetime.fromisoformat(asked_at))
