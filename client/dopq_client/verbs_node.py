"""Verbs about the node: users and system for everybody, the others for admins."""

from __future__ import annotations

from datetime import UTC, datetime

import click

from dopq.clean import clean
from dopq.wire import Plain
from dopq_client.exits import Exit
from dopq_client.options import json_option
from dopq_client.session import Session


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
@click.pass_obj
def lock(session: Session, reason: str, minutes: float) -> None:
    """Start nothing new for a while. What runs goes on."""
    session.say(_lock_in_words(session.client().lock(reason, minutes)))


@click.command()
@click.pass_obj
def unlock(session: Session) -> None:
    """Start jobs again."""
    session.say(_lock_in_words(session.client().unlock()))


@click.command()
@click.option("--reason", default="", help="Shown to everybody who waits.")
@click.pass_obj
def drain(session: Session, reason: str) -> None:
    """Start nothing new until `undrain`, also after a restart. What runs goes on."""
    from dopq_client.words import counted

    jobs = session.client().drain(reason)["jobs"]
    running = sum(jobs.get(state, 0) for state in ("starting", "running", "stopping"))
    session.say(f"Nothing new starts until `dopq-client undrain`; {counted(running, 'job')} still to end.")


@click.command()
@click.pass_obj
def undrain(session: Session) -> None:
    """Start jobs again after a drain."""
    session.say(f"Jobs start again. {_lock_in_words(session.client().undrain())}")


@click.command("clear-history")
@click.pass_obj
def clear_history(session: Session) -> None:
    """Take all ended jobs out of the history."""
    from dopq_client.words import counted

    session.say(f"The history is clear: it held {counted(session.client().clear_history(), 'job')}.")


@click.command("shutdown_queue")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.pass_context
def shutdown_queue(context: click.Context, yes: bool) -> None:
    """Stop the service. Running jobs go on in their containers and are found again at its next start."""
    session: Session = context.obj
    if not yes and not click.confirm("Stop the DoPQ service for everybody?", err=True):
        session.note("Nothing was done.")
        context.exit(Exit.REFUSED)
    session.client().shutdown_queue()
    session.say("The service stops. Start it again with `dopq serve` on its machine.")


def _lock_in_words(status: Plain) -> str:
    from dopq_client.words import local

    lease = status["lock"]
    if not lease:
        return "The queue is not locked."
    until = local(lease["until"], datetime.now(UTC).astimezone())
    return f"The queue is locked by {clean(lease['owner'])} until {until}: {clean(lease['reason'])}"
