"""Errors on their way to people and programs: in words on stderr, with --json as an object besides."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TypeVar

from dopq.errors import DopqError, InvariantBroken, ServiceUnreachable
from dopq.wire import error_to_wire
from dopq_client.exits import Exit, exit_of_error
from dopq_client.session import Session

Thing = TypeVar("Thing")
Made = TypeVar("Made")


def tell(session: Session, error: DopqError) -> None:
    """Say what happened, why, and what to do."""
    from dopq_client.views import error_text

    session.note(error_text(error))


def fail(session: Session, error: DopqError) -> Exit:
    """End the whole command with `error`: tell it to everybody; the exit code."""
    tell(session, error)
    if session.as_json:
        session.json_out({"error": error_to_wire(error)})
    return exit_of_error(error)


def defect(error: Exception) -> InvariantBroken:
    """An error that nobody raised on purpose, as one of ours."""
    return InvariantBroken(
        f"dopq-client met a defect of its own: {type(error).__name__}: {error}",
        "Please report it, with what `dopq-client --debug ...` shows.",
    )


def each(
    session: Session, things: Iterable[Thing], act: Callable[[Thing], Made]
) -> tuple[list[Made], list[dict[str, object]], int]:
    """Do something with every thing, going on after those with which it fails; but no further than a service answers.

    Returns what came of it, the errors as plain data (`reference` names the thing), and the worst exit code.
    """
    made: list[Made] = []
    errors: list[dict[str, object]] = []
    code = 0
    for thing in things:
        try:
            made.append(act(thing))
        except DopqError as error:
            tell(session, error)
            errors.append({"reference": str(thing), **error_to_wire(error)})
            code = max(code, exit_of_error(error))
            if isinstance(error, ServiceUnreachable):
                break
    return made, errors, code
