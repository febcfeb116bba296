"""Invites: an admin's word, given in advance, that whoever brings this code is to be registered at once."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta

from dopq.database import Database
from dopq.errors import NotAllowed
from dopq.registrations import Request
from dopq.tokens import digest
from dopq.user_fields import checked_weight
from dopq.users import Role, User, enter


@dataclass(frozen=True, slots=True)
class Invite:
    """A new invite. Its code is shown this once; only its hash is stored."""

    code: str
    expires_at: datetime


class Invites:
    """The invites that have not been used."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def make(self, *, role: Role, weight: float, days: int, now: datetime) -> Invite:
        """An invite for one person, which holds for so many days. Raises `UserError` for a weight without share."""
        invite = Invite(secrets.token_urlsafe(16), now + timedelta(days=days))
        with self._db.transaction() as tx:
            tx.execute(
                "INSERT INTO invites (hash, role, weight, expires_at) VALUES (?, ?, ?, ?)",
                (digest(invite.code), role, checked_weight(weight), invite.expires_at.isoformat()),
            )
        return invite

    def redeem(self, code: str, request: Request, now: datetime) -> User:
        """Make a user of whoever brings an invite, and use it up. Their uid stays unknown until an admin says it.

        Raises:
            NotAllowed: there is no such invite, or it was used, or its time is over.
            UserError: the name is another's; the invite can be used with another one.
        """
        with self._db.transaction() as tx:
            found = tx.execute(
                "SELECT role, weight, expires_at FROM invites WHERE hash = ?", (digest(code),)
            ).fetchone()
            if not found or datetime.fromisoformat(found[2]) <= now:
                raise NotAllowed(
                    "This invite is unknown, was used, or is over.", "Ask your admin for another, or register without."
                )
            role, weight, _ = found
            user = User(request.name, Role(role), weight, None, now, request.email, request.ssh_key)
            enter(tx, user, request.password_hash)
            tx.execute("DELETE FROM invites WHERE hash = ? OR expires_at <= ?", (digest(code), now.isoformat()))
        return user
