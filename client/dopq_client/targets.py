"""Which jobs a verb is about: those that are named, or those that fit what is said of them."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import wraps
from typing import TYPE_CHECKING, Any, TypeVar, cast

import click

from dopq_client.options import JOB, completed
from dopq_client.session import Session

if TYPE_CHECKING:
    from dopq_client.client import DopqClient
    from dopq_client.shapes import JobInfo

HANDFUL = 5
"""How many jobs that were not named may be changed without a question."""

MOST = 10_000
"""How many jobs one answer of the service has at most."""

STATES = (
    *("building", "held", "queued", "starting", "running", "stopping"),
    *("succeeded", "failed", "cancelled", "timed_out", "lost", "invalid", "build_failed"),
)
"""Every state, the final ones last. Written once more, since `--help` does not wait for dopq.job to load."""

LIVE, ENDED = STATES[:6], STATES[6:]

Verb = TypeVar("Verb", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True)
class Targets:
    """What the command line says of the jobs that are meant.

    Attributes:
        jobs: references, as they were given.
        mine: all of one's own that the verb can be about.
        states: of one's own those in one of these.
    """

    jobs: tuple[str, ...]
    mine: bool
    states: tuple[str, ...]

    @property
    def by_filter(self) -> bool:
        """Whether no job is named."""
        return not self.jobs

    def references(self, client: DopqClient, among: Sequence[str]) -> list[str]:
        """The jobs that are meant; of those that are not named such as are `among` these states, when none is said.

        Raises:
            click.UsageError: jobs are named and described, or neither.
        """
        if self.jobs:
            if self.mine or self.states:
                raise click.UsageError(f"Either {JOB}s, or --mine and --state.")
            return list(self.jobs)
        if not self.mine and not self.states:
            raise click.UsageError(f"Say which jobs: {JOB}..., --mine, or --state STATE.")
        return [str(job["id"]) for job in own(client, self.states or among)]


def own(client: DopqClient, states: Sequence[str]) -> Iterator[JobInfo]:
    """One's own jobs in these states: what runs, the queue in its order, then what has ended, the last to end first."""
    live = [state for state in states if state in LIVE]
    ended = [state for state in states if state in ENDED]
    if live:
        yield from client.page(limit=MOST, mine=True, states=live)["jobs"]
    if ended:
        yield from client.history(limit=MOST, mine=True, states=ended)


def agreed(session: Session, targets: Targets, references: Sequence[str], does: str, *, yes: bool) -> bool:
    """Whether the jobs may be changed: those that are named, a handful, or what somebody has said yes to.

    Raises:
        UserError: it takes a yes, and nobody is there to say it.
    """
    if yes or not targets.by_filter or len(references) <= HANDFUL:
        return True
    question = f"{does.capitalize()} {len(references)} jobs: {_few(references)}?"
    if not sys.stdin.isatty():
        from dopq.errors import UserError

        raise UserError(f"This would {does} {len(references)} jobs: {_few(references)}.", "Say so with --yes.")
    if click.confirm(question, err=True):
        return True
    session.note("Nothing was done.")
    return False


def _few(references: Sequence[str]) -> str:
    shown = ", ".join(references[:HANDFUL])
    return f"{shown} and {len(references) - HANDFUL} more" if len(references) > HANDFUL else shown


def targets_options(verb: Verb) -> Verb:
    """`JOB... --mine --state STATE`: as `targets`."""

    @wraps(verb)
    def gathered(*arguments: Any, jobs: tuple[str, ...], mine: bool, state: tuple[str, ...], **more: Any) -> Any:
        return verb(*arguments, targets=Targets(jobs, mine, state), **more)

    return cast("Verb", _jobs(_mine(_state(gathered))))


def yes_option(verb: Verb) -> Verb:
    """`--yes`."""
    return click.option("--yes", is_flag=True, help="Do not ask, however many jobs it is.")(verb)


_jobs = click.argument("jobs", metavar=f"[{JOB}...]", nargs=-1, shell_complete=completed)
_mine = click.option("--mine", is_flag=True, help="All of my own that it can be about.")
_state = click.option(
    "--state", multiple=True, metavar="STATE", type=click.Choice(STATES), help="My own in this state; may be repeated."
)
