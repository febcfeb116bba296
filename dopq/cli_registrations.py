"""`dopq user pending|approve|reject|invite`: how people who ask from outside become users."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import rich_click as click

from dopq.cli_answers import in_words, print_json, say
from dopq.cli_changes import changing
from dopq.cli_options import AS_JSON, CONFIG
from dopq.wire import time_to_wire

if TYPE_CHECKING:
    from dopq.registrations import Registrations

ROLE = click.option("--role", type=click.Choice(["user", "admin"]), default="user", show_default=True)
WEIGHT = click.option("--weight", type=float, default=1.0, show_default=True, help="Share relative to other users.")


def registrations(config_file: Path) -> Registrations:
    """The registrations of a node."""
    from dopq.config import load
    from dopq.database import Database
    from dopq.registrations import Registrations

    _, paths = load(config_file)
    paths.make()
    return Registrations(Database(paths.journal))


@click.command("pending")
@CONFIG
@AS_JSON
@in_words
def user_pending(config_file: Path, as_json: bool) -> None:
    """Who has asked to be registered: what they say of themselves, and where they asked from."""
    waiting = [
        {
            "number": each.number,
            "name": each.request.name,
            "email": each.request.email,
            "wished_uid": each.request.wished_uid,
            "ssh_key": each.request.ssh_key,
            "address": each.request.address,
            "asked_at": time_to_wire(each.asked_at),
        }
        for each in registrations(config_file).all()
    ]
    if as_json:
        print_json(pending=waiting)
        return
    for one in waiting:
        wish = "" if one["wished_uid"] is None else f" says uid {one['wished_uid']}"
        say(f"{one['number']:>4} {one['name']:<32} {one['email']} from {one['address']} {one['asked_at']}{wish}")


@click.command("approve")
@click.argument("which", metavar="NAME|NUMBER")
@ROLE
@WEIGHT
@click.option("--uid", type=int, help="Their account on this machine: only what you say here counts.")
@CONFIG
@in_words
def user_approve(which: str, role: str, weight: float, uid: int | None, config_file: Path) -> None:
    """Make a user of somebody who has asked, and make their folders in the share."""
    from dopq.config import load
    from dopq.share import make_user_folders, require_share
    from dopq.users import Role
    from dopq.utils.clock import SystemClock

    _, paths = load(config_file)
    asked = registrations(config_file)
    request = asked.find(which).request
    require_share(paths)
    with changing(paths, "dopq user approve", name=request.name, role=role, weight=weight, uid=uid):
        approved = asked.approve(which, role=Role(role), weight=weight, uid=uid, now=SystemClock().now())
        inbox = make_user_folders(paths, approved.name, uid)
    say(f"Registered {approved.name} ({role}). Bundles go into {inbox}")
    if uid is None and (wish := request.wished_uid) is not None:
        say(f"They say that uid {wish} is theirs. If that is so: dopq user uid {approved.name} {wish}")


@click.command("reject")
@click.argument("which", metavar="NAME|NUMBER")
@CONFIG
@in_words
def user_reject(which: str, config_file: Path) -> None:
    """Turn away somebody who has asked."""
    from dopq.config import load

    _, paths = load(config_file)
    asked = registrations(config_file)
    request = asked.find(which).request
    with changing(paths, "dopq user reject", name=request.name):
        asked.remove(which)
    say(f"{request.name} ({request.email}) waits no more.")


@click.command("invite")
@ROLE
@WEIGHT
@click.option("--days", type=click.IntRange(1, 365), default=7, show_default=True, help="How long it holds.")
@CONFIG
@AS_JSON
@in_words
def user_invite(role: str, weight: float, days: int, config_file: Path, as_json: bool) -> None:
    """Make an invite: with its code one person registers without waiting for you."""
    from dopq.config import load
    from dopq.database import Database
    from dopq.invites import Invites
    from dopq.users import Role
    from dopq.utils.clock import SystemClock

    _, paths = load(config_file)
    paths.make()
    invites = Invites(Database(paths.journal))
    with changing(paths, "dopq user invite", role=role, weight=weight):
        invite = invites.make(role=Role(role), weight=weight, days=days, now=SystemClock().now())
    if as_json:
        print_json(invite=invite.code, role=role, weight=weight, expires_at=time_to_wire(invite.expires_at))
        return
    say(f"Invite for one {role}, shown this once: {invite.code}")
    say(f"It holds until {invite.expires_at:%Y-%m-%d %H:%M} UTC. Hand it over safely.")


REGISTRATION_VERBS = (user_pending, user_approve, user_reject, user_invite)
