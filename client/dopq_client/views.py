"""Tables and cards for people. Each takes plain data and gives something that rich can draw; none prints."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

from rich.console import Group, OverflowMethod, RenderableType
from rich.table import Table
from rich.text import Text

from dopq.clean import clean
from dopq.errors import DopqError
from dopq.job import StateName
from dopq_client.shapes import Explanation, JobInfo, UserStatistics, is_told_in_full
from dopq_client.words import NOTHING, at_the_latest, elapsed, local, outcome, reason, since, size, span, start

NARROW = 79
"""Characters in a line of the narrowest terminal that we think of."""

_STYLES: dict[str, str] = {
    StateName.BUILDING: "cyan",
    StateName.HELD: "magenta",
    StateName.QUEUED: "yellow",
    StateName.STARTING: "green",
    StateName.RUNNING: "green",
    StateName.STOPPING: "yellow",
    StateName.SUCCEEDED: "bold green",
    StateName.CANCELLED: "dim",
}


def state_text(state: str) -> Text:
    """A state in its colour; whatever ended badly is red."""
    return Text(clean(state), _STYLES.get(state, "bold red"))


def jobs_table(jobs: Sequence[JobInfo], now: datetime, nothing: str = "No jobs wait or run.") -> RenderableType:
    """Jobs, one a line."""
    if not jobs:
        return Text(nothing)
    table = _table()
    for heading, options in {
        "JOB": {"justify": "right", "no_wrap": True},
        "NAME": {"no_wrap": True, "max_width": 18},
        "USER": {"no_wrap": True, "max_width": 12},
        "STATE": {"no_wrap": True, "min_width": 9},
        "GPUS": {"justify": "right", "no_wrap": True},
        "FOR": {"justify": "right", "no_wrap": True},
        "WHY": {},
    }.items():
        table.add_column(heading, overflow="ellipsis", **options)  # type: ignore[arg-type] # each is as rich names it
    for job in jobs:
        gpus = NOTHING if job["num_gpus"] is None else str(job["num_gpus"])
        table.add_row(
            str(job["id"]),
            clean(job["name"]),
            clean(job["user"]),
            state_text(job["state"]),
            gpus,
            elapsed(since(job), now),
            # The only column that may shrink, so that the others stay whole; still one line a job.
            Text(_why(job), no_wrap=True, overflow="ellipsis"),
        )
    return table


def job_cards(jobs: Sequence[JobInfo], now: datetime) -> RenderableType:
    """Each job's card, with a line between two."""
    cards = [part for job in jobs for part in (Text(), _job_card(job, now))]
    return Group(*cards[1:])


def _job_card(job: JobInfo, now: datetime) -> RenderableType:
    """All that is worth knowing of one job."""
    held = ", ".join(clean(gpu) for gpu in job["gpus"])
    rows: list[tuple[str, str | Text]] = [
        ("job", f"{job['id']} {clean(job['name'])}"),
        ("user", clean(job["user"])),
        ("state", state_text(job["state"])),
        ("why", reason(job)),
        ("place in queue", str(job["position"] or "")),
        ("starts", start(job)),
        ("exit code", "" if job["exit_code"] is None else str(job["exit_code"])),
        ("GPUs", ("" if job["num_gpus"] is None else str(job["num_gpus"])) + (f": {held}" if held else "")),
        ("memory limit", size(job["memory_bytes"]) if job["memory_bytes"] else ""),
        ("submitted", local(job["submitted_at"], now)),
        ("queued", local(job["queued_at"], now)),
        ("started", local(job["started_at"], now)),
        ("ended", local(job["finished_at"], now)),
        ("GPU time", span(job["gpu_seconds"]) if job["gpu_seconds"] else ""),
        ("bundle", clean(job["bundle"] or "")),
        ("image", clean(job["image"] or "")),
        ("the rest", "" if is_told_in_full(job) else "is told to its user and to admins"),
    ]
    card = _facts([(label, value) for label, value in rows if value and value != NOTHING])
    problems = job.get("problems")
    return Group(card, Text(), problems_table(problems)) if problems else card


def explanations(told: Sequence[Explanation], now: datetime, *, with_terms: bool) -> RenderableType:
    """Each job's reason, with a line between two."""
    parts = [part for each in told for part in (Text(), _explanation(each, now, with_terms=with_terms))]
    return Group(*parts[1:])


def _explanation(told: Explanation, now: datetime, *, with_terms: bool) -> RenderableType:
    """Why a job waits, in sentences; with what the order of the users is made of, if asked for."""
    job = told["job"]
    place = f" It is number {job['position']} in the queue." if job["position"] else ""
    parts: list[RenderableType] = [Text(outcome(job) + place)]
    if told["until"]:
        parts.append(Text(f"That is over {at_the_latest(told['until'], now)} at the latest."))
    if start(job):
        parts.append(Text(f"It starts {start(job)}."))
    if with_terms:
        parts += [
            Text(),
            Text(f"Policy: {clean(told['policy'])}. The smallest expected penalty goes first."),
            _terms(told),
        ]
    return Group(*parts)


def _terms(told: Explanation) -> RenderableType:
    table = _table()
    table.add_column("USER", no_wrap=True, overflow="ellipsis", max_width=24)
    for heading in ("USED GPU-H", "COMMITTED GPU-H", "WEIGHT", "PENALTY", "EXPECTED"):
        table.add_column(heading, justify="right", no_wrap=True)
    for term in told["terms"]:
        table.add_row(
            clean(term["user"]),
            f"{term['usage_gpu_seconds'] / 3600:.1f}",
            f"{term['committed_gpu_seconds'] / 3600:.1f}",
            f"{term['weight']:g}",
            f"{term['penalty'] / 3600:.1f}",
            f"{term['expected_penalty'] / 3600:.1f}",
        )
    return table


def problems_table(problems: Sequence[Mapping[str, object]]) -> RenderableType:
    """Everything that is wrong with a bundle."""
    table = _table()
    for heading in ("WHERE", "WHAT IS WRONG", "INSTEAD"):
        table.add_column(heading, overflow="fold")
    for problem in problems:
        table.add_row(*(clean(problem.get(key, "")) for key in ("where", "what", "instead")))
    return table


def checked(
    bundle: str, job: Mapping[str, object] | None, problems: Sequence[Mapping[str, object]], told: str
) -> RenderableType:
    """What the gate says of a bundle, and by which limits."""
    by = Text(clean(told), style="dim")
    if job is None:
        return Group(Text(f"{clean(bundle)} would be refused:"), Text(), problems_table(problems), Text(), by)
    template = f", by the template {clean(job['template'])}" if job["template"] else ""
    return Group(Text(f"{clean(bundle)} is fine: job {clean(job['name'])}{template}."), by)


def users_table(users: Sequence[UserStatistics]) -> RenderableType:
    """Who has used what, the one who goes next first."""
    table = _table()
    table.add_column("USER", no_wrap=True, overflow="ellipsis", max_width=24)
    for heading in ("WEIGHT", "USED GPU-H", "PENALTY", "GPUS NOW", "RUNNING", "WAITING", "ENDED"):
        table.add_column(heading, justify="right", no_wrap=True)
    for user in sorted(users, key=lambda user: (user["penalty"], user["user"])):
        running, waiting, ended = counts(user["jobs"])
        table.add_row(
            clean(user["user"]),
            f"{user['weight']:g}",
            f"{user['usage_gpu_seconds'] / 3600:.1f}",
            f"{user['penalty'] / 3600:.1f}",
            str(user["gpus_held"]),
            str(running),
            str(waiting),
            str(ended),
        )
    return table


def error_text(error: DopqError) -> RenderableType:
    """What happened, why, and what to do about it."""
    lines = [Text.assemble(("Error: ", "bold red"), clean(error.message), overflow=_overflow(error.message))]
    if error.hint:
        lines.append(Text(clean(error.hint), overflow=_overflow(error.hint)))
    problems = error.details.get("problems")
    if isinstance(problems, list) and all(isinstance(problem, Mapping) for problem in problems):
        return Group(*lines, problems_table(problems))
    return Group(*lines)


def _overflow(text: str) -> OverflowMethod:
    """What is longer than a line, such as a fingerprint, is left to the terminal to break, so that it can be copied."""
    return "ignore" if max(map(len, text.split()), default=0) > NARROW else "fold"


def _why(job: JobInfo) -> str:
    return f"#{job['position']} {reason(job)}" if job["position"] else reason(job)


def counts(jobs: Mapping[str, int]) -> tuple[int, int, int]:
    """How many run, wait and have ended."""
    running = sum(jobs.get(state, 0) for state in (StateName.STARTING, StateName.RUNNING, StateName.STOPPING))
    waiting = sum(jobs.get(state, 0) for state in (StateName.BUILDING, StateName.HELD, StateName.QUEUED))
    return running, waiting, sum(jobs.values()) - running - waiting


def _table() -> Table:
    return Table(box=None, pad_edge=False, header_style="bold")


def _facts(rows: Sequence[tuple[str, str | Text]]) -> Table:
    facts = Table.grid(padding=(0, 2))
    facts.add_column(style="dim", no_wrap=True)
    facts.add_column(overflow="fold")
    for label, value in rows:
        facts.add_row(label, value)
    return facts
