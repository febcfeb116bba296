"""Verbs about the node: users and system for everybody, the others for admins."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import click

from dopq.clean import clean
from dopq.wire import Plain
from dopq_client.exits import Exit
from dopq_client.options import json_option
from dopq_client.session import Session

if TYPE_CHECKING:
    from datetime import datetime


@click.command()
@json_option
@click.pass_obj
def users(session: Session) -> None:
    """Show what everybody used; who has the smallest penalty goes next."""
    from dopq_client.views import users_table

    everybody = session.client().users()
    session.answer({"users": everybody}, lambda _now: users_table(everybody))


@click.command()
@json_option
@click.pass_obj
def system(session: Session) -> None:
    """Show the node: machine, GPUs, engine, queue, lock, warnings."""
    from dopq_client.system_view import system_view

    state = session.client().system()
    session.answer({"system": state}, lambda now: system_view(state, now))


@click.command()
@click.option("--reason", default="", help="Shown to everybody who waits.")
@click.option("--minutes", type=click.FloatRange(0, 7 * 24 * 60, min_open=True), default=60.0, show_default=True)
@json_option
@click.pass_obj
def lock(session: Session, reason: str, minutes: float) -> None:
    """Start nothing new for a while. What runs goes on."""
    _tell(session, session.client().lock(reason, minutes), _lock_in_words)


@click.command()
@json_option
@click.pass_obj
def unlock(session: Session) -> None:
    """Start jobs again."""
    _tell(session, session.client().unlock(), _lock_in_words)


@click.command()
@click.option("--reason", default="", help="Shown to everybody who waits.")
@json_option
@click.pass_obj
def drain(session: Session, reason: str) -> None:
    """Start nothing new until `undrain`, also after a restart. What runs goes on."""
    _tell(session, session.client().drain(reason), _drain_in_words)


@click.command()
@json_option
@click.pass_obj
def undrain(session: Session) -> None:
    """Start jobs again after a drain."""
    _tell(session, session.client().undrain(), lambda queue, now: f"Jobs start again. {_lock_in_words(queue, now)}")


@click.command("clear-history")
@json_option
@click.pass_obj
def clear_history(session: Session) -> None:
    """Take all ended jobs out of the history."""
    from dopq_client.words import counted

    cleared = session.client().clear_history()
    session.answer({"cleared": cleared}, lambda _now: f"The history is clear: it held {counted(cleared, 'job')}.")


@click.command("shutdown_queue")
@click.option("--yes", is_flag=True, help="Do not ask.")
@json_option
@click.pass_context
def shutdown_queue(context: click.Context, yes: bool) -> None:
    """Stop the service. Running jobs go on in their containers and are found again at its next start."""
    session: Session = context.obj
    if not yes and not click.confirm("Stop the DoPQ service for everybody?", err=True):
        session.note("Nothing was done.")
        context.exit(Exit.REFUSED)
    queue = session.client().shutdown_queue()
    _tell(session, queue, lambda *_: "The service stops. Start it again with `dopq serve` on its machine.")


def _tell(session: Session, queue: Plain, in_words: Callable[[Plain, datetime], str]) -> None:
    """How the queue is after a change."""
    session.answer({"queue": queue}, lambda now: in_words(queue, now))


def _drain_in_words(queue: Plain, _now: datetime) -> str:
    from dopq_client.words import counted

    running = sum(queue["jobs"].get(state, 0) for state in ("starting", "running", "stopping"))
    return f"Nothing new starts until `dopq-client undrain`; {counted(running, 'job')} still to end."


def _lock_in_words(status: Plain, now: datetime) -> str:
    from dopq_client.words import local

    lease = status["lock"]
    if not lease:
        return "The queue is not locked."
    until = local(lease["until"], now)
    return f"The queue is locked by {clean(lease['owner'])} until {until}: {clean(lease['reason'])}"
