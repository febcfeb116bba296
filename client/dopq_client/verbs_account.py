"""Verbs about who talks to which service: login, logout, whoami."""

from __future__ import annotations

import sys

import click

from dopq.clean import clean
from dopq.errors import NotLoggedIn
from dopq_client import settings
from dopq_client.options import json_option
from dopq_client.session import Session


@click.command()
@click.argument("address", metavar="HOST[:PORT]")
@click.option("--token-stdin", is_flag=True, help="Read the token from stdin instead of asking for it.")
@click.pass_obj
def login(session: Session, address: str, token_stdin: bool) -> None:
    """Remember a service and your token for it. The admin makes tokens with `dopq user add`."""
    host, port = settings.parse_address(address)
    account = settings.Account(host, port, settings.check_token(_token(token_stdin)))
    hello = session.client(account).hello()
    if hello["user"] is None:
        raise NotLoggedIn(
            f"The service at {account.address} does not know this token.", "Ask its admin for one (`dopq user add`)."
        )
    path = settings.store(account)
    session.say(
        f"Logged in as {clean(hello['user'])} at {account.address} (DoPQ {clean(hello['version'])}). Kept in {path}."
    )


@click.command()
@click.pass_obj
def logout(session: Session) -> None:
    """Forget the stored service and token."""
    session.say("Logged out." if settings.forget() else "You were not logged in.")


@click.command()
@json_option
@click.pass_obj
def whoami(session: Session) -> None:
    """Show as whom the service knows you."""
    from rich.text import Text

    account = settings.load()
    me = session.client(account).whoami()
    session.answer(
        {"address": account.address, **me},
        lambda _now: Text(f"{clean(me['user'])} ({clean(me['role'])}, weight {me['weight']:g}) at {account.address}"),
    )


def _token(from_stdin: bool) -> str:
    if from_stdin:
        return sys.stdin.readline()
    if not sys.stdin.isatty():
        raise click.UsageError("There is no terminal to ask for the token: give it on stdin, with --token-stdin.")
    return str(click.prompt("Token", hide_input=True, err=True))
