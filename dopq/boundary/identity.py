"""Who is at the other end of a connection."""

from __future__ import annotations

from collections.abc import Callable

from dopq.boundary.doors import Evidence
from dopq.caller import Caller
from dopq.tokens import Tokens
from dopq.users import Users


def identify_by(users: Users, tokens: Tokens) -> Callable[[Evidence, str | None], Caller]:
    """How to tell who calls: by their token, else by the uid that the kernel vouches for, else nobody."""

    def identify(evidence: Evidence, token: str | None) -> Caller:
        user = tokens.by_token(token) if token else None
        if user is None and evidence.uid is not None:
            user = users.by_uid(evidence.uid)
        return Caller(user, evidence.address, evidence.peer, token, evidence.host)

    return identify
