"""Verbs about one's own account: logout, whoami, passwd."""

from __future__ import annotations

from dataclasses import replace

import click

from dopq.clean import clean
from dopq.errors import DopqError, NotLoggedIn
from dopq.wire import Plain
from dopq_client import ask, profiles, settings
from dopq_client.account import Account, LocalService
from dopq_client.exits import exit_of_error
from dopq_client.options import json_option
from dopq_client.session import Session

_IN_WORDS = {"tls": "over TLS", "tcp": "in the clear, on this machine", "socket": "on this machine"}


@click.command()
@click.pass_context
def logout(context: click.Context) -> None:
    """End your token, at the service and here. The service itself is remembered."""
    session: Session = context.obj
    profile = settings.profile_in_force(session.profile)
    account = profiles.stored(profile)
    if account is None or account.token is None:
        session.say("You were not logged in.")
        return
    failure: DopqError | None = None
    try:
        session.client(account).logout()
    except NotLoggedIn:
        pass  # the token had ended already
    except DopqError as error:
        failure = error
    profiles.forget_token(profile)
    if failure is None:
        session.say("Logged out.")
        return
    session.note(
        f"Logged out here only: the service was not told, and whoever else has the token can still use it. "
        f"{clean(failure.message)}"
    )
    context.exit(exit_of_error(failure))


@click.command()
@json_option
@click.pass_obj
def whoami(session: Session) -> None:
    """Show as whom the service knows you, and where it is. Also until when your token holds."""
    from dopq_client.words import known_as

    account = session.account()
    way = _way(account)
    me = session.client(account).whoami()
    data: Plain = {"address": account.address, "way": way, **me}
    session.answer(data, lambda now: known_as(me, f"{account.address}, {_IN_WORDS[way]}", now))


@click.command()
@click.option("--password-stdin", is_flag=True, help="Read the old and the new one from standard input, a line each.")
@click.pass_obj
def passwd(session: Session, password_stdin: bool) -> None:
    """Change your password. Every token of yours ends, but this login goes on."""
    account = session.account()
    old = ask.secret("Old password", from_stdin=password_stdin, option="--password-stdin")
    new = ask.secret("New password", from_stdin=password_stdin, option="--password-stdin", twice=True)
    issued = session.client(account).change_password(old, new)
    profile = settings.profile_in_force(session.profile)
    stored = profiles.stored(profile)
    if stored and stored.token and stored.token == account.token:
        profiles.store(profile, replace(stored, token=issued["token"]))
        session.say("Your password is changed. You stay logged in here; elsewhere, log in again.")
    else:
        session.say("Your password is changed. Your tokens have ended; log in again: dopq-client login")


def _way(account: Account | LocalService) -> str:
    if isinstance(account, LocalService):
        return "socket"
    return "tls" if account.fingerprint or account.ca else "tcp"
