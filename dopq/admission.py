"""May what was taken from an inbox become its user's job? The node decides, by who is registered at this moment."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Literal

from dopq.config import Paths
from dopq.database import Database
from dopq.errors import OperatorError
from dopq.handover import Declined, Refused, Taken
from dopq.identity import objection
from dopq.job import Problem
from dopq.share_owners import flattening
from dopq.users import Users
from dopq.utils.attempt import Attempt
from dopq.utils.log import logger

log = logger(__name__)

Identity = Literal["owner", "folder"]
"""`share.identity`."""

TRY_S = 10.0
"""How long a share may take to show whether it keeps owners; one that does not answer is judged when it does."""


class Admission:
    """Says no for the node."""

    def __init__(self, users: Users, identity: Identity) -> None:
        self._users = users
        self._identity = identity

    def refusal(self, taken: Taken) -> Declined | Refused | None:
        """Why a bundle becomes no job; None when it may."""
        user = self._users.by_name(taken.user)
        if user is None:
            log.info("drop_declined", user=taken.user, file=taken.bundle, cause="not registered")
            return Declined(taken.key, f"no user {taken.user} is registered")
        if self._identity == "folder":
            return None
        alone = len(self._users.all()) == 1
        found = objection(taken.origin, user.uid, os.geteuid(), alone=alone)
        if found is None:
            return None
        log.warning("drop_not_its_users", user=taken.user, file=taken.bundle, cause=found.what)
        if found.goes_back:
            return Refused(taken.key, Problem("owner", f"it {found.what}", found.instead))
        return Declined(taken.key, f"it {found.what}. {found.instead}")


def require_owners(paths: Paths, identity: Identity, find_out: Callable[[Path], str] = flattening) -> None:
    """Refuse to serve several users of a share that cannot tell them apart, unless that is what the settings ask for.

    Raises:
        OperatorError: says why it cannot, and what to do.
    """
    with closing(Database(paths.journal)) as database:
        users = len(Users(database).all())
    if identity == "folder" or users < 2:
        return
    why: list[str] = []
    attempt = Attempt(lambda: why.append(find_out(paths.inbox)), "share-owners")
    if attempt.is_over(TRY_S) and why and why[0]:
        raise OperatorError(
            f"The share does not keep the owners of files ({why[0]}), and {users} users are registered: "
            "each of them might hand in as another.",
            'Have it keep owners; or set share.identity = "folder", which trusts whoever can write to an inbox.',
        )
