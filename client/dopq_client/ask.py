"""Questions to the person at the terminal. Secrets are not shown while they are typed."""

from __future__ import annotations

import sys

import click


def has_terminal() -> bool:
    """Whether there is somebody to ask."""
    return sys.stdin.isatty()


def require_terminal(what: str, option: str) -> None:
    """Raise `click.UsageError` where there is nobody to ask; it names the option that would have said it."""
    if not has_terminal():
        raise click.UsageError(f"There is no terminal to ask for this: {what}. Give it with {option}.")


def text(what: str, *, default: str | None, option: str) -> str:
    """A line, or what the option would have said. Raises `click.UsageError`: there is nobody to ask."""
    require_terminal(what, option)
    return str(click.prompt(what, default=default or None, err=True)).strip()


def secret(what: str, *, from_stdin: bool, option: str, twice: bool = False) -> str:
    """Something that nobody is to see: asked for, or the next line of a standard input that is no terminal.

    Raises:
        click.UsageError: there is nobody to ask, or no such line.
    """
    if from_stdin and not has_terminal():
        line = sys.stdin.readline().rstrip("\r\n")
        if not line:
            raise click.UsageError(f"{what}: nothing came on standard input.")
        return line
    require_terminal(what, option)
    again = "Once more" if twice else False
    return str(click.prompt(what, hide_input=True, confirmation_prompt=again, err=True))
