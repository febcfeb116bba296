"""The verb wait."""

from __future__ import annotations

import click

from dopq.clean import clean
from dopq_client.exits import Exit, exit_of_jobs
from dopq_client.failures import each
from dopq_client.options import duration_option, json_option
from dopq_client.session import Session
from dopq_client.shapes import JobInfo
from dopq_client.targets import LIVE, Targets, targets_options


@click.command()
@targets_options
@duration_option("--timeout", help="Give up after so long (exit code 6; 8 if every job that goes on is held).")
@click.option("--any", "any_of", is_flag=True, help="Until one of them has ended, not all.")
@click.option("--propagate", is_flag=True, help="Exit with the failed job's own exit code.")
@json_option
@click.pass_context
def wait(context: click.Context, targets: Targets, timeout: int | None, any_of: bool, propagate: bool) -> None:
    """Wait until jobs have ended. Exit code 0: all succeeded, 1: one failed, 7: one was cancelled."""
    from dopq_client.failure import explain_failures
    from dopq_client.words import outcome

    session: Session = context.obj
    client = session.client()
    references = targets.references(client, LIVE)
    found, errors, code = each(session, references, client.job)

    def tell(job: JobInfo) -> None:
        session.note(outcome(job))
        if session.as_json:
            session.json_out({"job": job})
            session.flush()

    try:
        ended = client.wait([job["id"] for job in found], timeout, any_of=any_of, on_change=tell)
    except KeyboardInterrupt:
        again = " ".join(map(clean, references))
        session.note(f"\nNo longer waiting; the jobs go on. `dopq-client wait {again}` waits again.")
        context.exit(Exit.INTERRUPTED)
    if session.as_json:
        session.json_out({"jobs": ended, "errors": errors})
    explain_failures(session, client, ended)
    context.exit(code or exit_of_jobs(ended, propagate=propagate))
