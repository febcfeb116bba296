"""`dopq user`: who may use this node."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import rich_click as click

from dopq.cli_answers import in_words, print_json
from dopq.cli_options import AS_JSON, CONFIG
from dopq.wire import time_to_wire


@click.group()
def user() -> None:
    """Who may use this node."""


def _users(config_file: Path) -> tuple[Any, Any]:
    from dopq.config import load
    from dopq.store import Database
    from dopq.users import Users

    _, paths = load(config_file)
    paths.make()
    return Users(Database(paths.journal)), paths


@user.command("add")
@click.argument("name")
@click.option("--role", type=click.Choice(["user", "admin"]), default="user", show_default=True)
@click.option("--weight", type=float, default=1.0, show_default=True, help="Share relative to other users.")
@click.option("--uid", type=click.IntRange(min=1), help="Owner of the user's inbox folder on this machine.")
@CONFIG
@AS_JSON
@in_words
def user_add(name: str, role: str, weight: float, uid: int | None, config_file: Path, as_json: bool) -> None:
    """Register a user, make their folders in the share, and show their token this once."""
    from dopq.share import make_user_folders, require_share
    from dopq.users import Role
    from dopq.utils.clock import SystemClock

    users, paths = _users(config_file)
    require_share(paths)  # before the token is made: it is shown only once
    token = users.add(name, role=Role(role), weight=weight, uid=uid, now=SystemClock().now())
    inbox = make_user_folders(paths, name, uid)  # type: ignore[arg-type] # checked by `add`
    if as_json:
        print_json(name=name, role=role, weight=weight, token=token, inbox=str(inbox))
        return
    click.echo(f"Registered {name} ({role}). Bundles go into {inbox}")
    click.echo(f"Token, shown this once: {token}")
    click.echo("Hand it over safely; with it: dopq-client login")


@user.command("list")
@CONFIG
@AS_JSON
@in_words
def user_list(config_file: Path, as_json: bool) -> None:
    """List the users."""
    everybody = [
        {"name": u.name, "role": u.role, "weight": u.weight, "uid": u.uid, "created_at": time_to_wire(u.created_at)}
        for u in _users(config_file)[0].all()
    ]
    if as_json:
        print_json(users=everybody)
    for one in [] if as_json else everybody:
        click.echo(f"{one['name']:<32} {one['role']:<6} weight {one['weight']:g}")


@user.command("remove")
@click.argument("name")
@CONFIG
@in_words
def user_remove(name: str, config_file: Path) -> None:
    """Forget a user and their token. Their jobs and folders stay."""
    _users(config_file)[0].remove(name)
    click.echo(f"Removed {name}.")


@user.command("passwd")
@click.argument("name")
@CONFIG
@AS_JSON
@in_words
def user_passwd(name: str, config_file: Path, as_json: bool) -> None:
    """Give a user a new token; the old one is dead at once."""
    token = _users(config_file)[0].new_token(name)
    if as_json:
        print_json(name=name, token=token)
    else:
        click.echo(f"New token of {name}, shown this once: {token}")


@user.command("weight")
@click.argument("name")
@click.argument("weight", type=float)
@CONFIG
@in_words
def user_weight(name: str, weight: float, config_file: Path) -> None:
    """Change a user's share."""
    _users(config_file)[0].set_weight(name, weight)
    click.echo(f"{name} has weight {weight:g} now.")


@user.command("role")
@click.argument("name")
@click.argument("role", type=click.Choice(["user", "admin"]))
@CONFIG
@in_words
def user_role(name: str, role: str, config_file: Path) -> None:
    """Make a user an admin, or an ordinary user."""
    from dopq.users import Role

    _users(config_file)[0].set_role(name, Role(role))
    click.echo(f"{name} is {role} now.")
