"""How `dopq` answers: errors in words and exit codes, or JSON."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from functools import wraps
from typing import ParamSpec, TypeVar

import rich_click as click

from dopq.clean import clean
from dopq.errors import AlreadyRunning, DopqError, NotFound, TryAgain
from dopq.wire import SCHEMA_VERSION

Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")


def in_words(command: Callable[Parameters, Result]) -> Callable[Parameters, Result]:
    """Turn our errors into words on standard error and the exit codes of the contract."""

    @wraps(command)
    def run(*args: Parameters.args, **kwargs: Parameters.kwargs) -> Result:
        try:
            return command(*args, **kwargs)
        except DopqError as error:
            say(f"Error: {error.message}", err=True)
            if error.hint:
                say(error.hint, err=True)
            sys.exit(exit_code(error))

    return run


def exit_code(error: DopqError) -> int:
    """The exit code for an error (docs/json.md, "Exit codes")."""
    match error:
        case NotFound():
            return 3
        case TryAgain():
            return 5
        case AlreadyRunning():
            return 1
        case _:
            return 2


def say(line: str, *, err: bool = False) -> None:
    """Print a line for people (`err`: on standard error), whatever the names in it hold; the way of all verbs."""
    click.echo(clean(line), err=err)


def print_text(text: bytes) -> None:
    """Print a file: byte by byte into a pipe or another file, on a terminal only what shows itself."""
    shown = clean(text.decode("utf-8", "replace"), keep="\n\t") if sys.stdout.isatty() else text
    click.echo(shown, nl=False)


def print_json(**facts: object) -> None:
    """Print the facts, and which version of our JSON they are in."""
    click.echo(json.dumps({"schema_version": SCHEMA_VERSION, **facts}, indent=2))
