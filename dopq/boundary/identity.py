"""Who is at the other end of a connection."""

from __future__ import annotations

from collections.abc import Callable

from dopq.boundary.doors import Evidence
from dopq.caller import Caller
from dopq.tokens import Tokens
from dopq.users import User, Users


def identify_by(users: Users, tokens: Tokens) -> Callable[[Evidence, str | None], Caller]:
    """How to tell who calls: by their token, without one by the uid that the kernel vouches for, else nobody.

    Who brings a token that is dead is nobody, not the user of their uid, who may be an admin.
    """

    def identify(evidence: Evidence, token: str | None) -> Caller:
        user = tokens.by_token(token) if token else _of(evidence.uid)
        return Caller(user, evidence.address, evidence.peer, token, evidence.host, evidence.certificate)

    def _of(uid: int | None) -> User | None:
        return None if uid is None else users.by_uid(uid)

    return identify
