"""`dopq simulate`: what a policy would have made of a trace of jobs."""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import rich_click as click

from dopq.clean import clean
from dopq.cli_answers import in_words, print_json
from dopq.cli_options import AS_JSON, seconds
from dopq.errors import UserError
from dopq.order import Policy

if TYPE_CHECKING:
    from rich.console import Console

    from dopq.simulation.measures import Measures
    from dopq.simulation.replay import Run, Setting
    from dopq.simulation.trace import TracedJob


def _policies(_context: click.Context, _option: click.Parameter, values: tuple[str, ...]) -> list[Policy]:
    """Each policy that is named, once, in that order; several may stand between commas."""
    names = [name.strip() for value in values for name in (Policy if value == "all" else value.split(","))]
    unknown = [name for name in names if name not in set(Policy)]
    if unknown:
        raise click.BadParameter(f"There is no policy {unknown[0]!r}, only {', '.join(Policy)}, and all.")
    return [Policy(name) for name in dict.fromkeys(names)]


@click.command()
@click.argument("trace", type=click.Path(path_type=Path))
@click.option("--gpus", type=click.IntRange(min=1), required=True, help="GPUs of the node.")
@click.option(
    "--policy",
    "policies",
    metavar=f"[{'|'.join(Policy)}|all]",
    callback=_policies,
    multiple=True,
    default=("fairshare",),
    show_default=True,
    help="What the order goes by; may be repeated.",
)
@click.option(
    "--half-life",
    metavar="DURATION",
    callback=seconds,
    default="7d",
    show_default=True,
    help="queue.half_life_s, as 7d or 12h.",
)
@click.option(
    "--limits",
    type=click.Choice(["true", "none", "history"]),
    default="true",
    show_default=True,
    help="What the queue knows of a job's length: the truth, nothing, or what earlier jobs of its user took.",
)
@click.option("--max-limit", metavar="DURATION", callback=seconds, help="Stop jobs that run for longer.")
@click.option(
    "--overdue",
    metavar="DURATION",
    callback=seconds,
    default="14d",
    show_default=True,
    help="When a job goes first for its age.",
)
@click.option("--schedule", type=click.Path(path_type=Path), help="Write when each job ran, as CSV; for one policy.")
@click.option("--plot", "plot_file", type=click.Path(path_type=Path), help="Write a picture of it, as PNG.")
@AS_JSON
@in_words
def simulate(
    trace: Path,
    gpus: int,
    policies: list[Policy],
    half_life: float,
    limits: str,
    max_limit: float | None,
    overdue: float,
    schedule: Path | None,
    plot_file: Path | None,
    as_json: bool,
) -> None:
    """Replay a TRACE of jobs (CSV or SWF) through the node's own queue, and tell how long who would have waited."""
    from dopq.simulation.measures import measure
    from dopq.simulation.plot import plot, require_matplotlib
    from dopq.simulation.replay import Limits, Setting
    from dopq.simulation.schedule import write_schedule
    from dopq.simulation.trace import read_trace

    if schedule and len(policies) > 1:
        raise click.UsageError("--schedule writes one schedule: name one --policy.")
    if plot_file:
        require_matplotlib()  # before the work, not after it
    setting = Setting(gpus, policies[0], half_life, Limits(limits), max_limit or math.inf, overdue)
    jobs = read_trace(trace)
    schedules = _replayed(jobs, setting, policies)
    if schedule:
        write_schedule(schedule, schedules[policies[0]])
    if plot_file:
        plot(plot_file, schedules)
    measured = {policy: measure(runs, gpus) for policy, runs in schedules.items()}
    (_print_data if as_json else _print_tables)(trace, jobs, setting, measured)


def _replayed(jobs: Sequence[TracedJob], setting: Setting, policies: Sequence[Policy]) -> dict[Policy, list[Run]]:
    """The schedule of each policy, with a bar on stderr where that is a terminal."""
    from rich.progress import Progress

    from dopq.simulation.replay import fits, replay

    fitting = sum(fits(job, setting) for job in jobs)
    if not fitting:
        raise UserError(f"Every job of the trace asks for more than {setting.gpus} GPUs.", "Give a higher --gpus.")
    with Progress(console=_console(stderr=True), transient=True, disable=not sys.stderr.isatty()) as progress:

        def replayed(policy: Policy) -> list[Run]:
            task = progress.add_task(policy, total=fitting)
            return replay(jobs, replace(setting, policy=policy), lambda ended: progress.update(task, completed=ended))

        return {policy: replayed(policy) for policy in policies}


def _print_data(trace: Path, jobs: Sequence[TracedJob], setting: Setting, measured: Mapping[Policy, Measures]) -> None:
    from dopq.simulation.replay import fits, is_cut
    from dopq.simulation.tables import as_data

    fitting = [job for job in jobs if fits(job, setting)]
    print_json(
        trace=str(trace),
        gpus=setting.gpus,
        half_life_s=setting.half_life_s,
        limits=setting.limits,
        max_limit_s=setting.max_limit_s if math.isfinite(setting.max_limit_s) else None,
        overdue_s=setting.overdue_s,
        jobs=len(fitting),
        left_out=len(jobs) - len(fitting),
        cut=sum(is_cut(job, setting) for job in fitting),
        policies=[as_data(policy, it) for policy, it in measured.items()],
    )


def _print_tables(
    trace: Path, jobs: Sequence[TracedJob], setting: Setting, measured: Mapping[Policy, Measures]
) -> None:
    from dopq.simulation.replay import fits, is_cut
    from dopq.simulation.tables import comparison, waits_by_user

    fitting = [job for job in jobs if fits(job, setting)]
    left_out, cut = len(jobs) - len(fitting), sum(is_cut(job, setting) for job in fitting)
    console = _console()
    console.print(f"{len(fitting)} jobs of {clean(trace)} on {setting.gpus} GPUs; waits in hours.", soft_wrap=True)
    if left_out:
        console.print(f"Left out: {left_out}, which ask for more GPUs than there are.", soft_wrap=True)
    if cut:
        console.print(f"Cut: {cut}, which ran for longer than --max-limit.", soft_wrap=True)
    for table in (comparison(measured), waits_by_user(measured)):
        console.print()
        console.print(table)


def _console(*, stderr: bool = False) -> Console:
    """A console that takes names of users as they are, and puts no colours into a pipe."""
    from rich.console import Console

    return Console(stderr=stderr, markup=False, emoji=False, highlight=False)
