"""`dopq user`: who may use this node."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import rich_click as click

from dopq.cli_answers import in_words, print_json, say
from dopq.cli_changes import changing
from dopq.cli_options import AS_JSON, CONFIG
from dopq.cli_registrations import REGISTRATION_VERBS
from dopq.wire import time_to_wire

if TYPE_CHECKING:
    from dopq.config import Paths
    from dopq.tokens import Tokens
    from dopq.users import Users


@click.group()
def user() -> None:
    """Who may use this node."""


for verb in REGISTRATION_VERBS:
    user.add_command(verb)


@dataclass(frozen=True, slots=True)
class _Desk:
    """What the verbs work with."""

    users: Users
    tokens: Tokens
    paths: Paths


def _desk(config_file: Path) -> _Desk:
    from dopq.config import load
    from dopq.database import Database
    from dopq.tokens import Tokens
    from dopq.users import Users
    from dopq.utils.clock import SystemClock

    settings, paths = load(config_file)
    paths.make()
    database = Database(paths.journal)
    return _Desk(Users(database), Tokens(database, SystemClock(), settings.remote.token_days), paths)


def _hash_of_typed_password(name: str, email: str | None, *, from_stdin: bool) -> str:
    """The hash of a password that is read from standard input, or asked for twice on the terminal.

    Raises:
        UserError: there is no terminal, or the password will not do.
    """
    from dopq.errors import UserError
    from dopq.passwords import Passwords, checked_password, known_of

    if from_stdin:
        password = sys.stdin.readline().rstrip("\r\n")
    elif sys.stdin.isatty():
        password = click.prompt("Password", hide_input=True, confirmation_prompt="Once more", err=True)
    else:
        raise UserError("There is no terminal to ask for the password.", "Pipe it in: --password-stdin.")
    return Passwords().hash(checked_password(password, *known_of(name, email)))


PASSWORD_STDIN = click.option("--password-stdin", is_flag=True, help="Read the password from standard input.")


@user.command("add")
@click.argument("name")
@click.option("--role", type=click.Choice(["user", "admin"]), default="user", show_default=True)
@click.option("--weight", type=float, default=1.0, show_default=True, help="Share relative to other users.")
@click.option("--uid", type=int, help="Their account on this machine, to which their inbox will belong.")
@click.option("--email", help="How to reach them.")
@click.option("--ssh-key", help="Their SSH public key: the line of a .pub file.")
@click.option("--take-over", is_flag=True, help="They get the jobs and results of a removed user of that name.")
@PASSWORD_STDIN
@CONFIG
@AS_JSON
@in_words
def user_add(
    name: str,
    role: str,
    weight: float,
    uid: int | None,
    email: str | None,
    ssh_key: str | None,
    take_over: bool,
    password_stdin: bool,
    config_file: Path,
    as_json: bool,
) -> None:
    """Register a user, make their folders in the share, and show a token this once."""
    from dopq.share import make_user_folders, require_share
    from dopq.users import Role
    from dopq.utils.clock import SystemClock

    desk = _desk(config_file)
    require_share(desk.paths)  # before the token is made: it is shown only once
    password_hash = _hash_of_typed_password(name, email, from_stdin=True) if password_stdin else None
    with changing(desk.paths, "dopq user add", name=name, role=role, weight=weight, uid=uid):
        registered = desk.users.add(
            name,
            role=Role(role),
            weight=weight,
            uid=uid,
            now=SystemClock().now(),
            email=email,
            ssh_key=ssh_key,
            password_hash=password_hash,
            take_over=take_over,
        )
        issued = desk.tokens.issue(registered.name, "dopq user add")
        inbox = make_user_folders(desk.paths, registered.name, uid)
    if as_json:
        end = time_to_wire(issued.expires_at)
        print_json(name=name, role=role, weight=weight, token=issued.token, expires_at=end, inbox=str(inbox))
        return
    say(f"Registered {name} ({role}). Bundles go into {inbox}")
    say(f"Token, shown this once: {issued.token}")
    say(f"Hand it over safely; with it, until {issued.expires_at:%Y-%m-%d}: dopq-client login HOST --token-stdin")


@user.command("list")
@CONFIG
@AS_JSON
@in_words
def user_list(config_file: Path, as_json: bool) -> None:
    """List the users, and who waits to be one (`dopq user pending` says more of them)."""
    from dopq.cli_registrations import registrations

    everybody = [
        {
            "name": u.name,
            "state": "active",
            "role": u.role,
            "weight": u.weight,
            "uid": u.uid,
            "email": u.email,
            "ssh_key": u.ssh_key,
            "created_at": time_to_wire(u.created_at),
        }
        for u in _desk(config_file).users.all()
    ]
    waiting = [each.request.name for each in registrations(config_file).all()]
    if as_json:
        print_json(users=everybody, pending=waiting)
        return
    for one in everybody:
        uid = "" if one["uid"] is None else f" uid {one['uid']}"
        say(f"{one['name']:<32} active  {one['role']:<6} weight {one['weight']:g}{uid} {one['email'] or ''}".rstrip())
    for name in waiting:
        say(f"{name:<32} pending")


@user.command("remove")
@click.argument("name")
@CONFIG
@in_words
def user_remove(name: str, config_file: Path) -> None:
    """Forget a user, their password and their tokens. Their jobs and folders stay."""
    desk = _desk(config_file)
    with changing(desk.paths, "dopq user remove", name=name):
        desk.users.remove(name)
    say(f"Removed {name}.")


@user.command("passwd")
@click.argument("name")
@PASSWORD_STDIN
@CONFIG
@in_words
def user_passwd(name: str, password_stdin: bool, config_file: Path) -> None:
    """Set a user's password; every token of theirs is dead at once."""
    from dopq.errors import NotFound

    desk = _desk(config_file)
    known = desk.users.by_name(name)
    if known is None:
        raise NotFound(f"There is no user {name!r}.", "`dopq user list` shows all.")
    password_hash = _hash_of_typed_password(name, known.email, from_stdin=password_stdin)
    with changing(desk.paths, "dopq user passwd", name=name):
        desk.users.set_password_hash(name, password_hash)
    say(f"{name} has a new password; with it: dopq-client login HOST --user {name}")


@user.command("token")
@click.argument("name")
@CONFIG
@AS_JSON
@in_words
def user_token(name: str, config_file: Path, as_json: bool) -> None:
    """Give a user a new token; every other one of theirs is dead at once."""
    from dopq.job import UserName

    desk = _desk(config_file)
    with changing(desk.paths, "dopq user token", name=name):
        desk.tokens.end_all(name)
        issued = desk.tokens.issue(UserName(name), "dopq user token")
    if as_json:
        print_json(name=name, token=issued.token, expires_at=time_to_wire(issued.expires_at))
    else:
        say(f"New token of {name}, shown this once: {issued.token}")


@user.command("weight")
@click.argument("name")
@click.argument("weight", type=float)
@CONFIG
@in_words
def user_weight(name: str, weight: float, config_file: Path) -> None:
    """Change a user's share."""
    desk = _desk(config_file)
    with changing(desk.paths, "dopq user weight", name=name, weight=weight):
        desk.users.set_weight(name, weight)
    say(f"{name} has weight {weight:g} now.")


@user.command("role")
@click.argument("name")
@click.argument("role", type=click.Choice(["user", "admin"]))
@CONFIG
@in_words
def user_role(name: str, role: str, config_file: Path) -> None:
    """Make a user an admin, or an ordinary user."""
    from dopq.users import Role

    desk = _desk(config_file)
    with changing(desk.paths, "dopq user role", name=name, role=role):
        desk.users.set_role(name, Role(role))
    say(f"{name} is {role} now.")


@user.command("uid")
@click.argument("name")
@click.argument("uid", type=int)
@CONFIG
@in_words
def user_uid(name: str, uid: int, config_file: Path) -> None:
    """Say which account of this machine is a user's; their inbox belongs to it from now on."""
    from dopq.job import UserName
    from dopq.share import make_user_folders

    desk = _desk(config_file)
    with changing(desk.paths, "dopq user uid", name=name, uid=uid):
        desk.users.set_uid(name, uid)
        inbox = make_user_folders(desk.paths, UserName(name), uid)
    say(f"{name} is uid {uid} now, and {inbox} is theirs.")
