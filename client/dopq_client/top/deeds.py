"""What one can do with the selected job. No key waits for the node: every question to it has a thread of its own."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from functools import partial
from typing import TypeVar

from rich.console import RenderableType
from rich.text import Text
from textual.screen import Screen

from dopq.clean import clean
from dopq.errors import DopqError
from dopq.job import StateName
from dopq_client.client import DopqClient
from dopq_client.link import Link
from dopq_client.shapes import Explanation, JobInfo
from dopq_client.top.deeds_words import cancel_question, hold_question
from dopq_client.top.log_screen import LogScreen
from dopq_client.top.picture import rendered
from dopq_client.top.question import Question
from dopq_client.top.reading import Reading
from dopq_client.top.told import Told
from dopq_client.views import explanations, job_cards
from dopq_client.words import outcome

Made = TypeVar("Made")


class Deeds:
    """The keys about a job, on one screen."""

    def __init__(self, screen: Screen[None], link: Link, say: Callable[..., None], changed: Callable[[], None]) -> None:
        """`say` shows a sentence; `changed` hears that something on the node is another than before."""
        self._screen = screen
        self._link = link
        self._client = DopqClient(link)
        self._say = say
        self._changed = changed

    def log(self, job: JobInfo) -> None:
        """Show its log; while it has none, that of its build."""
        self._screen.app.push_screen(LogScreen(self._link, job, build=job["state"] == StateName.BUILDING))

    def why(self, job: JobInfo) -> None:
        """Show why it waits, or all about it once it was started."""
        if job["started_at"] or job["finished_at"]:
            self._aside(partial(self._client.job, job["id"]), self._show_card)
        else:
            self._aside(partial(self._client.explain, job["id"]), self._show_explanation)

    def cancel(self, job: JobInfo) -> None:
        """Cancel it, if that is meant."""
        self._ask(cancel_question(job), partial(self._client.cancel, job["id"]))

    def hold(self, job: JobInfo) -> None:
        """Hold it, or release it when it is held, if that is meant."""
        change = self._client.release if job["state"] == StateName.HELD else self._client.hold
        self._ask(hold_question(job), partial(change, job["id"]))

    def _show_card(self, job: JobInfo) -> None:
        self._read(f"Job {job['id']}", lambda now: job_cards([job], now))

    def _show_explanation(self, told: Explanation) -> None:
        self._read(f"Why job {told['job']['id']} waits", lambda now: explanations([told], now, with_terms=True))

    def _read(self, title: str, view: Callable[[datetime], RenderableType]) -> None:
        def lines(width: int) -> Sequence[Text]:
            return rendered(view(datetime.now(UTC).astimezone()), width)

        self._screen.app.push_screen(Reading(Text(title), lines))

    def _ask(self, question: str, change: Callable[[], JobInfo]) -> None:
        def answered(yes: bool | None) -> None:
            if yes:
                self._aside(change, self._after)

        self._screen.app.push_screen(Question(question), answered)

    def _after(self, job: JobInfo) -> None:
        self._say(outcome(job))
        self._changed()

    def _aside(self, work: Callable[[], Made], then: Callable[[Made], None]) -> None:
        """Have the node do something; `then` gets what came of it, an error is said."""

        def run() -> None:
            try:
                made = work()
            except DopqError as error:
                act = partial(self._say, clean(str(error)), "bold red")
            else:
                act = partial(then, made)
            finally:
                self._link.close()
            self._screen.app.post_message(Told(act))

        threading.Thread(target=run, name="top-aside", daemon=True).start()
