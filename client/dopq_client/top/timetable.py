"""When which view is asked for again. Pure; times are monotonic seconds, handed in."""

from __future__ import annotations

from dataclasses import dataclass, field

from dopq_client.top.facts import View

LIVE_S = 2.0
"""How old live figures get while they are looked at and anything runs."""

CALM_S = 10.0
"""How old anything else gets that changes without an entry in the journal: forecasts, usage, GPUs, load."""

NEWS_S = 1.0
"""The shortest time between two looks at the same, however much happens."""

BEHIND = (View.RUNNING, View.SYSTEM)
"""What is asked for in whichever view: for the sparklines, the counts in the tabs, and the warnings."""


@dataclass(slots=True)
class Timetable:
    """What is due; `view` is the one that is looked at."""

    view: View = View.RUNNING
    anything_runs: bool = False
    _asked: dict[View, float] = field(default_factory=dict)
    _has_news: set[View] = field(default_factory=set)

    def show(self, view: View) -> None:
        """Another view is looked at, which is due at once."""
        self.view = view
        self._has_news.add(view)

    def news(self) -> None:
        """Something has changed on the node."""
        self._has_news |= {self.view, *BEHIND}

    def asked(self, view: View, at_s: float) -> None:
        """A view was asked for."""
        self._asked[view] = at_s
        self._has_news.discard(view)

    def next(self) -> tuple[View, float]:
        """What is due next, and when: a time that may have passed."""
        return min(((view, self._due_s(view)) for view in (self.view, *BEHIND)), key=lambda due: due[1])

    def _due_s(self, view: View) -> float:
        if view not in self._asked:
            return float("-inf")
        return self._asked[view] + self._period_s(view)

    def _period_s(self, view: View) -> float:
        if view in self._has_news:
            return NEWS_S
        return LIVE_S if view is self.view is View.RUNNING and self.anything_runs else CALM_S
