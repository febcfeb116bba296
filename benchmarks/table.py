"""What a benchmark found out: one row a figure, printed for people or as JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from statistics import median, quantiles


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table.

    Attributes:
        goal: an upper limit of the median in the same unit; None where there is none.
        p90: nine of ten are no longer; None where too few were taken to say.
    """

    what: str
    unit: str
    median: float
    worst: float
    goal: float | None = None
    note: str = ""
    p90: float | None = None

    @property
    def missed(self) -> bool:
        """Whether there is a goal and the median is above it."""
        return self.goal is not None and self.median > self.goal


def row_of(what: str, seconds: Sequence[float], goal: float | None = None) -> Row:
    """The row of repeated timings."""
    p90 = quantiles(seconds, n=10, method="inclusive")[-1]
    return Row(what, "s", median(seconds), max(seconds), goal, f"{len(seconds)} times", p90)


def single(what: str, unit: str, value: float, note: str = "") -> Row:
    """The row of a figure that was taken once."""
    return Row(what, unit, value, value, note=note)


def show(rows: Sequence[Row], *, as_json: bool) -> int:
    """Print the rows; exit code 1 when a goal was missed, else 0."""
    if as_json:
        print(json.dumps({"schema_version": 1, "rows": [asdict(row) for row in rows]}, indent=2))
    else:
        print(f"{'':46}{'median':>10}{'p90':>10}{'worst':>10}  {'unit':<11}{'goal':<12}note")
        for row in rows:
            goal = "" if row.goal is None else f"{row.goal:g} {'missed' if row.missed else 'met'}"
            p90 = "" if row.p90 is None else f"{row.p90:.2f}"
            figures = f"{row.median:10.2f}{p90:>10}{row.worst:10.2f}"
            print(f"{row.what:46}{figures}  {row.unit:<11}{goal:<12}{row.note}".rstrip())
    return int(any(row.missed for row in rows))
