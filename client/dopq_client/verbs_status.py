"""Verbs that list jobs: status, history."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, TypeVar

import click

from dopq_client.exits import Exit
from dopq_client.failures import each
from dopq_client.options import json_option, since_option
from dopq_client.screen import clear, local_now
from dopq_client.session import Session
from dopq_client.targets import ENDED, MOST, Targets, targets_options

if TYPE_CHECKING:
    from datetime import datetime

    from dopq_client.client import DopqClient
    from dopq_client.screen import Shown
    from dopq_client.shapes import JobInfo, JobsPage

Seen = TypeVar("Seen", bound=Mapping[str, object])

_RESTLESS = frozenset({"eta", "gpu_seconds", "penalty"})
"""What of a job is another at every look: no reason to draw it anew."""


@click.command()
@targets_options
@click.option("--user", metavar="NAME", help="Only of that user.")
@click.option("--limit", type=click.IntRange(1, MOST), default=50, show_default=True, help="At most so many.")
@click.option("--skip", type=click.IntRange(0), default=0, help="After the first so many.")
@click.option("-w", "--watch", is_flag=True, help="Go on, and show it anew when something has changed.")
@json_option
@click.pass_context
def status(context: click.Context, targets: Targets, user: str | None, limit: int, skip: int, watch: bool) -> None:
    """Show what runs and waits, or all about the given jobs.

    Those that run come first, then the queue in its order. --state and --mine say which of them, of all users here.
    """
    session: Session = context.obj
    client = session.client()
    if targets.jobs:
        context.exit(_watch_cards(session, client, targets.jobs) if watch else _cards(session, client, targets.jobs))
    if any(state in ENDED for state in targets.states):
        raise click.UsageError("What has ended is in the history: dopq-client history --state STATE.")
    words = _again(targets, user, limit)

    def look(client: DopqClient) -> JobsPage:
        return client.page(limit=limit, skip=skip, mine=targets.mine, user=user, states=targets.states)

    def view(page: JobsPage, now: datetime) -> Shown:
        from dopq_client.jobs_table import JobsPageView

        return JobsPageView(page, skip, now, words)

    if not watch:
        page = look(client)
        session.answer(page, lambda now: view(page, now))
        return
    context.exit(_follow(session, client.watch(look), view))


@click.command()
@click.option("--mine", is_flag=True, help="Only my own jobs.")
@click.option("--user", metavar="NAME", help="Only of that user.")
@click.option("--state", "states", multiple=True, metavar="STATE", type=click.Choice(ENDED), help="Only in this state.")
@since_option("Ended since then: 2d ago, or a date.")
@click.option("--limit", type=click.IntRange(1, MOST), default=20, show_default=True, help="At most so many.")
@click.option("--csv", "as_csv", is_flag=True, help="As CSV, for spreadsheets.")
@json_option
@click.pass_obj
def history(
    session: Session,
    mine: bool,
    user: str | None,
    states: tuple[str, ...],
    since: datetime | None,
    limit: int,
    as_csv: bool,
) -> None:
    """Show jobs that have ended, the last to end first."""
    if as_csv and session.as_json:
        raise click.UsageError("Either --csv or --json.")
    jobs = session.client().history(mine=mine, user=user, states=states, since=since, limit=limit)
    if as_csv:
        from dopq_client.sheet import write

        write(jobs)
        return

    def view(now: datetime) -> Shown:
        from dopq_client.jobs_table import JobsTable

        return JobsTable(
            jobs, now, "No such job has ended." if mine or user or states or since else "No job has ended yet."
        )

    session.answer({"jobs": jobs}, view)


def _cards(session: Session, client: DopqClient, references: tuple[str, ...]) -> int:
    from dopq_client.failure import explain_failures
    from dopq_client.views import job_cards

    asked, errors, code = each(session, references, client.job)
    if asked or session.as_json:
        session.answer({"jobs": asked, "errors": errors}, lambda now: job_cards(asked, now))
    if not session.as_json:
        # A card has the problems of a refused bundle already.
        explain_failures(session, client, [job for job in asked if not job.get("problems")])
    return code


def _watch_cards(session: Session, client: DopqClient, references: tuple[str, ...]) -> int:
    from dopq_client.views import job_cards

    numbers = [client.job(reference)["id"] for reference in references]  # `@` may mean another job before long

    def look(client: DopqClient) -> dict[str, list[JobInfo]]:
        return {"jobs": [client.job(number) for number in numbers]}

    return _follow(session, client.watch(look), lambda seen, now: job_cards(seen["jobs"], now))


def _follow(session: Session, seen: Iterator[Seen], view: Callable[[Seen, datetime], Shown]) -> int:
    """Show what is seen whenever it has changed, until somebody has seen enough."""
    before: object = None
    try:
        for one in seen:
            calm = {key: _calm(value) for key, value in one.items()}
            if calm == before:
                continue
            before = calm
            if session.as_json:
                session.json_out(one)
                session.flush()
            else:
                clear()
                session.say(view(one, local_now()))
    except KeyboardInterrupt:
        return Exit.INTERRUPTED
    return Exit.DONE


def _calm(value: object) -> object:
    if not isinstance(value, list):
        return value
    return [{field: told for field, told in job.items() if field not in _RESTLESS} for job in value]


def _again(targets: Targets, user: str | None, limit: int) -> str:
    """The command that was given, for the next page."""
    words = ["dopq-client status", *(["--mine"] if targets.mine else []), *(f"--state {it}" for it in targets.states)]
    return " ".join([*words, *([f"--user {user}"] if user else []), *([f"--limit {limit}"] if limit != 50 else [])])
