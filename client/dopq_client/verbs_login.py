"""Verbs by which one comes to a service: login and register."""

from __future__ import annotations

import getpass
from dataclasses import replace
from pathlib import Path

import click

from dopq.clean import clean
from dopq.errors import NotLoggedIn, UserError
from dopq_client import ask, profiles, settings
from dopq_client.account import Account, check_fingerprint, check_token, parse_address
from dopq_client.options import certificate_options
from dopq_client.session import Session

LONGEST_KEY_BYTES = 16 * 1024
PASSWORD_STDIN = click.option(
    "--password-stdin", is_flag=True, help="Read the password from standard input instead of asking for it."
)


@click.command()
@click.argument("address", metavar="[HOST[:PORT]]", required=False)
@click.option("--user", metavar="NAME", help="Your name there.")
@PASSWORD_STDIN
@click.option("--token-stdin", is_flag=True, help="Use a token, such as `dopq user add` shows, from standard input.")
@certificate_options
@click.pass_obj
def login(
    session: Session,
    address: str | None,
    user: str | None,
    password_stdin: bool,
    token_stdin: bool,
    ca: Path | None,
    fingerprint: str | None,
) -> None:
    """Log in to a service, and remember it. Without HOST to the one that is remembered.

    The first time it shows the fingerprint of the service's certificate for a yes. Afterwards it takes no other one.
    """
    from dopq_client.trust import introduced

    if password_stdin and token_stdin:
        raise click.UsageError("Either --password-stdin or --token-stdin.")
    if not password_stdin and not token_stdin:
        ask.require_terminal("Password", "--password-stdin")
    profile = settings.profile_in_force(session.profile)
    account = introduced(session, _meant(profile, address, ca, fingerprint))
    if token_stdin:
        token = check_token(ask.secret("Token", from_stdin=True, option="--token-stdin"))
        account = replace(account, token=token)
    else:
        account = _with_password(session, account, user, from_stdin=password_stdin)
    hello = session.client(account).hello()
    if hello["user"] is None:
        raise NotLoggedIn(
            f"The service at {account.address} does not know this token.", "Ask its admin for one (`dopq user add`)."
        )
    path = profiles.store(profile, replace(account, user=clean(hello["user"])))
    session.say(
        f"Logged in as {clean(hello['user'])} at {account.address} (DoPQ {clean(hello['version'])}). Kept in {path}."
    )


@click.command()
@click.argument("address", metavar="HOST[:PORT]")
@click.option("--user", metavar="NAME", help="The name that you want.")
@click.option("--email", metavar="ADDRESS", help="How the admin reaches you.")
@PASSWORD_STDIN
@click.option("--invite", metavar="CODE", help="A code from the admin, with which nobody has to approve.")
@click.option("--ssh-key", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="Your public key.")
@certificate_options
@click.pass_obj
def register(
    session: Session,
    address: str,
    user: str | None,
    email: str | None,
    password_stdin: bool,
    invite: str | None,
    ssh_key: Path | None,
    ca: Path | None,
    fingerprint: str | None,
) -> None:
    """Ask a service to make you one of its users. An admin approves, unless you have an invite."""
    from dopq_client.trust import introduced

    profile = settings.profile_in_force(session.profile)
    key = _public_key(ssh_key) if ssh_key else None
    account = introduced(session, _meant(profile, address, ca, fingerprint))
    name = user or ask.text("Name", default=_own_name(), option="--user")
    email = email or ask.text("E-mail", default=None, option="--email")
    password = ask.secret("Password", from_stdin=password_stdin, option="--password-stdin", twice=True)
    state = session.client(account).register(name, password, email, ssh_key=key, invite=invite)
    stored = profiles.stored(profile)
    if stored is None or stored.token is None:  # not over a login elsewhere
        profiles.store(profile, replace(account, user=name))
    option = f" --profile {session.profile}" if session.profile else ""
    login_there = f"dopq-client login {account.address} --user {clean(name)}{option}"
    if state == "active":
        session.say(f"You are registered as {clean(name)} at {account.address}. Next: {login_there}")
    else:
        session.say(
            f"The admin of {account.address} has to approve {clean(name)} (dopq user approve {clean(name)}).\n"
            f"After that: {login_there}"
        )


def _meant(profile: str, address: str | None, ca: Path | None, fingerprint: str | None) -> Account:
    """The service that is meant. What is given about its certificate counts instead of what was remembered."""
    remembered = profiles.stored(profile)
    if address is None and remembered is None:
        raise click.UsageError("Which service? dopq-client login HOST:PORT")
    if address is not None:
        named = Account(*parse_address(address))
        remembered = remembered if remembered and remembered.address == named.address else named
    assert remembered is not None
    meant = replace(remembered, token=None)
    if ca or fingerprint:
        given = check_fingerprint(fingerprint) if fingerprint else None
        meant = replace(meant, fingerprint=given, ca=ca.resolve() if ca else None)
    return meant


def _with_password(session: Session, account: Account, user: str | None, *, from_stdin: bool) -> Account:
    name = user or account.user or ask.text("Name", default=_own_name(), option="--user")
    what = f"Password of {clean(name)} at {account.address}"
    password = ask.secret(what, from_stdin=from_stdin, option="--password-stdin")
    return replace(account, token=check_token(session.client(account).login(name, password)["token"]))


def _own_name() -> str | None:
    """The name on this machine."""
    try:
        return getpass.getuser()
    except (ImportError, KeyError, OSError):  # none in the environment, and no list of users
        return None


def _public_key(file: Path) -> str:
    try:
        text = file.read_bytes()[:LONGEST_KEY_BYTES].decode("ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{file} cannot be read as a public key: {error}.", "Give a .pub file.") from error
    if "PRIVATE KEY" in text:
        raise UserError(f"{file} is a private key: it was not sent.", f"Give the public one, perhaps {file}.pub.")
    return text
