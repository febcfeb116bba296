"""The five calls behind the five views, and what they have answered."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any

from dopq.wire import Plain
from dopq_client.link import Link
from dopq_client.shapes import JobInfo, UserStatistics

JOBS = 200
"""The most jobs that a list shows: many screenfuls, and a short answer also where there are 100,000."""


class View(StrEnum):
    """One of the five; the names are those of the screen."""

    RUNNING = "running"
    ENQUEUED = "enqueued"
    HISTORY = "history"
    USERS = "users"
    SYSTEM = "system"


CALLS: Mapping[View, tuple[Any, ...]] = {
    View.RUNNING: ("get_running_containers_info",),
    View.ENQUEUED: ("get_enqueued_containers_info", JOBS),
    View.HISTORY: ("get_containers_history_info", JOBS),
    View.USERS: ("get_dopq_user_statistics",),
    View.SYSTEM: ("get_dopq_system_status",),
}
"""The call that answers each view, with its arguments."""


@dataclass(frozen=True, slots=True)
class Facts:
    """The newest answers, as they came; None for a view that nobody has asked for yet."""

    running: list[JobInfo] | None = None
    enqueued: list[JobInfo] | None = None
    history: list[JobInfo] | None = None
    users: list[UserStatistics] | None = None
    system: Plain | None = None
    me: str = ""
    asked: str = field(default="", compare=False)
    """At which address."""

    def with_answer(self, view: View, answer: Any) -> Facts:
        """The same with a newer answer of one view."""
        answers: dict[str, Any] = {str(view): answer}
        return replace(self, **answers)

    def job(self, number: int) -> JobInfo | None:
        """The job of that number, if one of the lists has it."""
        lists = (self.running, self.enqueued, self.history)
        return next((job for jobs in lists for job in jobs or () if job["id"] == number), None)


def ask(link: Link, view: View) -> Any:
    """The facts of one view as they are now. Raises as `Link.call` does."""
    return link.call(*CALLS[view])
