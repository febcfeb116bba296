"""A screenful: the lines of one view with what is above and below them. Pure: facts, a choice and a moment go in."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from rich.console import Console, RenderableType
from rich.text import Text

from dopq.clean import clean
from dopq.errors import DopqError, ServiceUnreachable
from dopq.wire import Plain
from dopq_client.top import enqueued, history, running, system, users
from dopq_client.top.choice import VIEWS, Choice, chosen, marked
from dopq_client.top.facts import JOBS, Facts, View
from dopq_client.top.moment import Moment
from dopq_client.top.table import Column, draw
from dopq_client.views import counts
from dopq_client.words import counted, elapsed

NOTHING_THERE: dict[View, str] = {
    View.RUNNING: "Nothing runs.",
    View.ENQUEUED: "Nothing waits.",
    View.HISTORY: "No job has ended yet.",
    View.USERS: "There are no users.",
    View.SYSTEM: "",
}


@dataclass(frozen=True, slots=True)
class Picture:
    """What is to be seen of one view, below the tabs and above the keys.

    Attributes:
        heading: stays where it is while the lines scroll; None for a view that is no table.
        keys: what each line is about, by which a line is found again; a job's number, a user's name, or a number.
        selectable: whether one of the lines is the selected one.
        note: what is to be said of the rows as a whole.
    """

    lines: list[Text]
    keys: list[object]
    heading: Text | None = None
    selectable: bool = False
    note: str = ""


def picture(facts: Facts, choice: Choice, moment: Moment, width: int) -> Picture:
    """The lines of the chosen view, none wider than `width` characters of the screen."""
    rows = getattr(facts, choice.view)
    if rows is None:
        return Picture([Text("…")], [0])
    if choice.view is View.SYSTEM:
        lines = rendered(system.page(rows, moment, width), width)
        return Picture(lines, list(range(len(lines))))
    columns = columns_of(facts, choice.view, moment)
    return _table(rows, columns, choice, facts.me, width)


def columns_of(facts: Facts, view: View, moment: Moment) -> Sequence[Column[Any]]:
    """The columns of a view; none of one that is no table."""
    match view:
        case View.RUNNING:
            return running.columns(moment)
        case View.ENQUEUED:
            return enqueued.columns(moment)
        case View.HISTORY:
            return history.columns(moment)
        case View.USERS:
            return users.columns(facts.users or [])
        case View.SYSTEM:
            return ()


def detail(facts: Facts, choice: Choice, key: object, moment: Moment, width: int) -> list[Text]:
    """What is said below the lines of the selected one, wrapped to `width`."""
    job = facts.job(key) if isinstance(key, int) else None
    if job is None:
        return []
    tell: dict[View, Callable[[], list[Text]]] = {
        View.RUNNING: lambda: running.detail(job, moment, width),
        View.ENQUEUED: lambda: enqueued.detail(job, moment),
        View.HISTORY: lambda: history.detail(job, moment),
    }
    return [line for text in tell[choice.view]() for line in rendered(text, width)] if choice.view in tell else []


def title(facts: Facts, moment: Moment) -> Text:
    """Which node, as whom, and what holds for everybody."""
    told: Plain = facts.system or {}
    line = Text.assemble(
        (clean(told.get("node", "")) or "dopq", "bold"), f"  {clean(facts.me)} at {clean(facts.asked)}"
    )
    if said := system.notices(told, moment.now):
        line.append("  ")
        line.append_text(said[0])
        if len(said) > 1:
            line.append(f" (and {counted(len(said) - 1, 'more warning')})", "yellow")
    return line


def no_answer(trouble: DopqError, seen_at: datetime | None, now: datetime) -> Text:
    """What is said instead while the node tells nothing; what is on the screen is from `seen_at`."""
    told = clean(trouble)
    if isinstance(trouble, ServiceUnreachable):
        silent = f" for {elapsed(seen_at.isoformat(), now)}" if seen_at else ""
        of = f"; this is of {seen_at:%H:%M:%S}" if seen_at else ""
        told = f"No answer{silent}, asking again{of}. {clean(trouble.message)}"
    return Text(told, "bold red")


def below(choice: Choice, seen: Picture, place: str, width: int) -> Text:
    """The rule below the lines: where one is, and what is left out of them."""
    said = [
        place,
        seen.note,
        "only mine" if choice.mine else "",
        f"with {clean(choice.wanted)!r}" if choice.wanted else "",
        f"by {choice.sorted_by[choice.view]}" if choice.sorted_by.get(choice.view) else "",
    ]
    line = Text(f"── {', '.join(part for part in said if part)} ", no_wrap=True)
    line.append("─" * max(0, width - line.cell_len))
    line.truncate(width)
    return line


def tabs(facts: Facts, choice: Choice) -> Text:
    """The five views with their keys and how many there are of what they show."""
    line = Text()
    for number, view in enumerate(VIEWS, 1):
        how_many = _how_many(facts, view)
        name = f" {number} {view}{'' if how_many is None else f' {how_many}'} "
        line.append(name, "reverse bold" if view is choice.view else "")
        line.append(" ")
    return line


def rendered(renderable: RenderableType, width: int) -> list[Text]:
    """What rich draws, line by line, in its styles."""
    console = Console(
        file=io.StringIO(),
        width=width,
        markup=False,
        emoji=False,
        highlight=False,
        force_terminal=True,
        legacy_windows=False,
    )
    lines = console.render_lines(renderable, pad=False)
    return [Text.assemble(*((part.text, part.style or "") for part in line), no_wrap=True) for line in lines]


def _table(rows: Sequence[Any], columns: Sequence[Column[Any]], choice: Choice, me: str, width: int) -> Picture:
    def user_of(row: Any) -> str:
        return str(row["user"])

    in_order = users.in_turn(rows) if choice.view is View.USERS else rows
    kept = chosen(in_order, choice, columns, user_of, me)
    keys: list[object] = [row["user"] if choice.view is View.USERS else row["id"] for row in kept]
    if not kept:
        nothing = (
            "Nothing like that: Escape ends the filter, m shows everybody's." if rows else NOTHING_THERE[choice.view]
        )
        return Picture([Text(nothing, "dim")], [0])
    heading, lines = draw(marked(columns, choice), kept, width)
    first = choice.view in {View.ENQUEUED, View.HISTORY} and len(rows) >= JOBS
    return Picture(lines, keys, heading, selectable=True, note=f"the first {JOBS}" if first else "")


def _how_many(facts: Facts, view: View) -> int | None:
    """How many run or wait, as the node says of its queue: the lists may be cut, or older."""
    queue = (facts.system or {}).get("queue")
    if not queue or view not in {View.RUNNING, View.ENQUEUED}:
        return None
    run, wait, _ = counts(queue["jobs"])
    return run if view is View.RUNNING else wait
