"""The main screen: one of the five views, with what is above and below it."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.screen import Screen

from dopq.errors import DopqError
from dopq_client.link import Link
from dopq_client.shapes import JobInfo
from dopq_client.top import running, system
from dopq_client.top.choice import VIEWS, Choice
from dopq_client.top.deeds import Deeds
from dopq_client.top.deeds_words import KEYS, help_lines
from dopq_client.top.facts import Facts, View
from dopq_client.top.feed import Feed
from dopq_client.top.filter_box import FilterBox
from dopq_client.top.moment import Moment, present
from dopq_client.top.picture import below, columns_of, detail, no_answer, picture, tabs, title
from dopq_client.top.plain_lines import PlainLines
from dopq_client.top.reading import Reading
from dopq_client.top.sheet_view import SheetView
from dopq_client.top.told import Defect, Told
from dopq_client.top.trends import Trends

TICK_S = 2.0
"""How often times go on and messages go away when nothing else happens."""

MESSAGE_S = 8.0
"""How long what came of a key is to be read, instead of the keys."""


class Watch(Screen[None], inherit_bindings=False):
    """What is known of a node, as one looks at it. Asking is the feed's; no key waits for an answer."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("q", "app.leave(0)"),
        *(Binding(str(number), f"show('{view}')") for number, view in enumerate(VIEWS, 1)),
        Binding("tab,right", "turn_view(1)"),
        Binding("shift+tab,left", "turn_view(-1)"),
        Binding("enter,l", "log"),
        Binding("w", "why"),
        Binding("c", "cancel"),
        Binding("h", "hold"),
        Binding("slash", "filter"),
        Binding("escape", "all"),
        Binding("m", "mine"),
        Binding("s", "sort"),
        Binding("question_mark", "help"),
    ]

    def __init__(self, link: Link, facts: Facts) -> None:
        super().__init__()
        self._facts = facts
        self._feed = Feed(link, facts, lambda heard: self._tell(partial(self._hear, heard)))
        self._deeds = Deeds(self, link, self.say, self._feed.news)
        self._trends = Trends()
        self._choice = Choice()
        self._selected: dict[View, object] = {}
        self._heard: Moment | None = None
        self._trouble: DopqError | None = None
        self._message: tuple[float, Text] = (0.0, Text())

    def compose(self) -> ComposeResult:
        """The lines from top to bottom."""
        for name in ("title", "tabs", "heading"):
            yield PlainLines(id=name)
        yield SheetView(id="sheet")
        for name in ("rule", "detail", "keys"):
            yield PlainLines(id=name)
        yield FilterBox()

    def on_mount(self) -> None:
        """Begin to ask."""
        self.query_one(SheetView).focus()
        self.set_interval(TICK_S, self.draw)
        self._feed.start()

    def on_unmount(self) -> None:
        """Ask no more."""
        self._feed.stop()

    def on_resize(self) -> None:
        """Draw for the new size, when the widgets know theirs."""
        self.call_after_refresh(self.draw)

    def on_screen_resume(self) -> None:
        """Times have gone on while something else was to be seen."""
        self.call_after_refresh(self.draw)

    def on_sheet_view_moved(self) -> None:
        """Another job is the selected one."""
        self._selected[self._choice.view] = self.query_one(SheetView).key
        self.draw()

    # --- what is seen -------------------------------------------------------------------------------------------------

    def draw(self) -> None:
        """Draw what is known now; what is as it was is not drawn again."""
        if self.is_current:
            try:
                self._draw()
            except Exception as error:  # noqa: BLE001 - facts that no node should tell
                self.app.post_message(Defect(error))

    def _draw(self) -> None:
        width, now = self.size.width, present(self._trends)
        moment = self._heard if self._trouble and self._heard else now
        style = "dim" if self._trouble else ""
        view, sheet = self._choice.view, self.query_one(SheetView)
        seen = picture(self._facts, self._choice, moment, width)
        sheet.show(seen, style, key=self._selected.get(view))
        self._selected[view] = sheet.key
        under = detail(self._facts, self._choice, sheet.key, moment, width)
        self._lines("title", [self._title(now)])
        self._lines("tabs", [tabs(self._facts, self._choice)], style)
        self._lines("heading", [seen.heading] if seen.heading else [], style)
        self._lines("rule", [below(self._choice, seen, sheet.place, width)], "dim")
        self._lines("detail", under, style)
        self._lines("keys", [self._message[1] if time.monotonic() < self._message[0] else Text(KEYS, "dim")])
        self._lay_out(has_detail=view not in {View.USERS, View.SYSTEM}, has_heading=seen.heading is not None)

    def _title(self, moment: Moment) -> Text:
        if self._trouble:
            return no_answer(self._trouble, self._heard.now if self._heard else None, moment.now)
        return title(self._facts, moment)

    def _lines(self, name: str, lines: list[Text], style: str = "") -> None:
        self.query_one(f"#{name}", PlainLines).show(lines, style)

    def _lay_out(self, *, has_detail: bool, has_heading: bool) -> None:
        height = max(1, min(8, self.size.height // 4)) if has_detail else 0
        for name, rows in {"detail": height, "heading": int(has_heading)}.items():
            widget = self.query_one(f"#{name}")
            widget.styles.height = rows
            widget.display = rows > 0

    def say(self, text: str, style: str = "bold") -> None:
        """Show for a while what came of a key."""
        self._message = (time.monotonic() + MESSAGE_S, Text(" ".join(text.split()), style))
        self.draw()

    # --- what is heard ------------------------------------------------------------------------------------------------

    def _hear(self, heard: Facts | Exception) -> None:
        if isinstance(heard, DopqError):
            self._trouble = heard
        elif isinstance(heard, Exception):
            self.app.post_message(Defect(heard))
        else:
            moment = present(self._trends)
            self._trouble, self._facts, self._heard = None, heard, moment
            running.note(self._trends, heard.running or (), moment.at_s)
            system.note(self._trends, heard.system or {}, moment.at_s)
            self._trends.forget(moment.at_s)
        self.draw()

    def _tell(self, act: Callable[[], None]) -> None:
        self.app.post_message(Told(act))

    # --- keys that change what is seen --------------------------------------------------------------------------------

    def action_show(self, view: str) -> None:
        """Another view."""
        self._choose(replace(self._choice, view=View(view)))

    def action_turn_view(self, by: int) -> None:
        """The next view, or the one before."""
        self._choose(self._choice.turned(by))

    def action_mine(self) -> None:
        """Only what is mine, or everybody's."""
        self._choose(replace(self._choice, mine=not self._choice.mine))

    def action_sort(self) -> None:
        """By the next column."""
        columns = columns_of(self._facts, self._choice.view, present(self._trends))
        self._choose(self._choice.resorted(columns))

    def action_filter(self) -> None:
        """Type what is looked for."""
        self.query_one("#keys").display = False
        self.query_one(FilterBox).open()

    def action_all(self) -> None:
        """Everything again."""
        self.query_one(FilterBox).value = ""
        self.on_input_submitted()

    def on_input_changed(self, changed: FilterBox.Changed) -> None:
        """Show what has that in it, while it is typed."""
        self._choose(replace(self._choice, wanted=changed.value))

    def on_input_submitted(self) -> None:
        """It stays until Escape."""
        self.query_one(FilterBox).close()
        self.query_one("#keys").display = True
        self.query_one(SheetView).focus()

    def _choose(self, choice: Choice) -> None:
        if choice.view is not self._choice.view:
            self._feed.show(choice.view)
        self._choice = choice
        self.draw()

    # --- keys about the selected job ----------------------------------------------------------------------------------

    def action_log(self) -> None:
        """Its log."""
        self._about(self._deeds.log)

    def action_why(self) -> None:
        """Why it waits, or all about it."""
        self._about(self._deeds.why)

    def action_cancel(self) -> None:
        """Cancel it, if that is meant."""
        self._about(self._deeds.cancel)

    def action_hold(self) -> None:
        """Hold or release it, if that is meant."""
        self._about(self._deeds.hold)

    def action_help(self) -> None:
        """All keys."""
        self.app.push_screen(Reading(Text("dopq-client top"), help_lines))

    def _about(self, deed: Callable[[JobInfo], None]) -> None:
        key = self.query_one(SheetView).key
        job = self._facts.job(key) if isinstance(key, int) else None
        if job:
            deed(job)
