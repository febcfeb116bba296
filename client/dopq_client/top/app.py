"""The program behind `dopq-client top`: it owns the terminal, and gives it back however it ends."""

from __future__ import annotations

import asyncio
import signal
import sys
from typing import ClassVar

from textual.app import App
from textual.binding import Binding, BindingType

from dopq_client.exits import Exit
from dopq_client.link import Link
from dopq_client.top.facts import Facts
from dopq_client.top.told import Defect, Told
from dopq_client.top.watch import Watch


class Top(App[int]):
    """The screen; what it returns is an exit code."""

    ENABLE_COMMAND_PALETTE = False
    CSS = "Screen { background: ansi_default; color: ansi_default; }"
    BINDINGS: ClassVar[list[BindingType]] = [Binding("ctrl+c", f"leave({int(Exit.INTERRUPTED)})", priority=True)]

    def __init__(self, link: Link, facts: Facts) -> None:
        # The terminal's own colours: they fit its background, and NO_COLOR leaves none of them.
        super().__init__(ansi_color=True)
        self._link = link
        self._facts = facts
        self.defect: Exception | None = None

    def get_default_screen(self) -> Watch:
        """The five views."""
        return Watch(self._link, self._facts)

    def on_mount(self) -> None:
        """Leave the terminal clean whoever ends us."""
        if sys.platform != "win32":  # which has no such signals
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                asyncio.get_running_loop().add_signal_handler(number, self.exit, 128 + number)

    def on_told(self, told: Told) -> None:
        """Do what another thread has asked for."""
        try:
            told.act()
        except Exception as error:  # noqa: BLE001 - as in `Watch.draw`
            self.on_defect(Defect(error))

    def on_defect(self, defect: Defect) -> None:
        """End; `run` raises it when the terminal is itself again."""
        self.defect = defect.error
        self.exit()

    def action_leave(self, code: int) -> None:
        """Quit. Jobs go on."""
        self.exit(code)


def run(link: Link, facts: Facts) -> int:
    """Show the node at the end of `link` until somebody quits; an exit code. Raises what was a defect of ours."""
    top = Top(link, facts)
    code = top.run(mouse=False)  # the terminal's own mouse goes on marking text
    if top.defect:
        raise top.defect
    return int(Exit.DEFECT) if code is None else code
