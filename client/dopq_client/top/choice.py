"""What the person at the screen has chosen: the view, and of its rows which, and in which order. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

from dopq_client.top.facts import View
from dopq_client.top.table import Column

Fact = TypeVar("Fact")

VIEWS = tuple(View)


@dataclass(frozen=True, slots=True)
class Choice:
    """One choice; `sorted_by`: the heading of a column, by view."""

    view: View = View.RUNNING
    wanted: str = ""
    mine: bool = False
    sorted_by: Mapping[View, str] = field(default_factory=dict)

    def turned(self, by: int) -> Choice:
        """The view so many further on, round and round."""
        return replace(self, view=VIEWS[(VIEWS.index(self.view) + by) % len(VIEWS)])

    def resorted(self, columns: Sequence[Column[Any]]) -> Choice:
        """The next order: by each column that can be sorted by, then as it came."""
        headings = ["", *(column.heading for column in columns if column.by)]
        now = self.sorted_by.get(self.view, "")
        then = headings[(headings.index(now) + 1) % len(headings)] if now in headings else ""
        return replace(self, sorted_by={**self.sorted_by, self.view: then})


def chosen(
    facts: Sequence[Fact], choice: Choice, columns: Sequence[Column[Fact]], user_of: Callable[[Fact], str], me: str
) -> list[Fact]:
    """The rows that are wanted, in the order that is wanted.

    A text is looked for in all cells, whatever its case.
    """
    wanted = choice.wanted.casefold()
    kept = [fact for fact in facts if not choice.mine or user_of(fact) == me]
    if wanted:
        kept = [fact for fact in kept if any(wanted in str(column.show(fact)).casefold() for column in columns)]
    by = next((it.by for it in columns if it.heading == choice.sorted_by.get(choice.view)), None)
    return sorted(kept, key=by) if by else kept


def marked(columns: Sequence[Column[Fact]], choice: Choice) -> list[Column[Fact]]:
    """The columns, the one that they are sorted by marked."""
    by = choice.sorted_by.get(choice.view)
    return [
        replace(column, heading=f"{column.heading}▾") if by and column.heading == by else column for column in columns
    ]
