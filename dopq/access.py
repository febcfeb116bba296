"""Who may call what: the table of calls, roles and ownership (docs/api.md#who-may-what).

Each call's row stands where the call is written, as `@remote(Access.USER, Whose.OWN, changes=True)`; the boundary asks
`calls` for all of them. A method without a row cannot be called from outside.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, TypeVar


class Access(StrEnum):
    """Who may make a call at all."""

    ANYBODY = "anybody"
    USER = "user"
    ADMIN = "admin"
    PEER = "peer"
    """Other nodes, by their certificate of the lab's CA."""


class Whose(StrEnum):
    """Whose jobs a call may be about."""

    NO_JOB = "-"
    EVERYBODYS = "everybody's"
    """Of others' jobs a user is told what `dopq.wire.public` leaves."""
    OWN = "own"
    """For an admin everybody's."""
    OWN_ALONE = "own alone"
    """For an admin, too: what it makes is charged to its caller."""


@dataclass(frozen=True, slots=True)
class Call:
    """One row of the table.

    Attributes:
        changes: it changes something that lasts: it leaves a line in the audit log, and takes an idempotency key.
    """

    access: Access
    whose: Whose = Whose.NO_JOB
    changes: bool = False


Method = TypeVar("Method", bound=Callable[..., Any])


def remote(access: Access, whose: Whose = Whose.NO_JOB, *, changes: bool = False) -> Callable[[Method], Method]:
    """Mark a method as callable from outside. Its first argument is the caller, its result plain data."""

    def mark(method: Method) -> Method:
        method.remote_call = Call(access, whose, changes)  # type: ignore[attr-defined] # read by `calls` alone
        return method

    return mark


def calls(face: type) -> dict[str, Call]:
    """Every call of a class of marked methods, by name; what it inherits is among them."""
    rows = {name: getattr(getattr(face, name), "remote_call", None) for name in dir(face)}
    return {name: row for name, row in rows.items() if row}
