"""A latch: what holds a container's command back until the node opens it, once.

It is a folder that the container sees, read-only, with a program (latch_program.py) and a file. The node holds the file
locked. The program waits for that lock, and becomes the command if the file says something then. To open the latch is
to write when that was into the file, and to let go of the lock. Whoever finds the file later knows whether, and when,
the command began; and when a node dies the kernel lets go of its locks, the file is empty, and the program ends.
"""

from __future__ import annotations

import fcntl
import os
from datetime import UTC, datetime
from pathlib import Path

from dopq.container_handler.latch_program import latch_program
from dopq.errors import EngineRefused
from dopq.utils.crash_points import step

TARGET = "/.dopq-latch"
"""Where a container sees the folder."""

_PROGRAM, _FILE = "latch", "opened"


def command_behind_latch(command: tuple[str, ...]) -> tuple[str, ...]:
    """What a container runs whose command is held back."""
    return (f"{TARGET}/{_PROGRAM}", f"{TARGET}/{_FILE}", *command)


class Latch:
    """A latch that is shut, until it is opened or closed for ever. For one thread at a time."""

    def __init__(self, folder: Path) -> None:
        """Make it, in a folder that is not there yet: no latch is used for two containers.

        Raises:
            OSError: our own disk does not take it now.
            EngineRefused: there is no program for this machine.
        """
        program = latch_program(os.uname().machine)
        if program is None:
            raise EngineRefused("There is no program yet that waits at a latch on such a machine.")
        self.folder = folder
        folder.mkdir(parents=True)
        (folder / _PROGRAM).write_bytes(program)
        (folder / _PROGRAM).chmod(0o555)
        self._descriptor = os.open(folder / _FILE, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
        fcntl.flock(self._descriptor, fcntl.LOCK_EX)
        (folder / _FILE).chmod(0o444)  # whoever the job's processes run as
        folder.chmod(0o755)

    def open(self, now: datetime) -> None:
        """Let the command begin."""
        with step("latch open"):
            os.write(self._descriptor, f"{now.astimezone(UTC).isoformat()}\n".encode())
            self.close()

    def close(self) -> None:
        """Hold the lock no more: what stands at a latch that was not opened ends. Twice is fine."""
        if self._descriptor >= 0:
            fcntl.flock(self._descriptor, fcntl.LOCK_UN)  # said, since a child might have the file open by chance
            os.close(self._descriptor)
            self._descriptor = -1


def opened_at(folder: Path) -> datetime | None:
    """When the latch in that folder was opened; None if it was not, or there is none."""
    try:
        said = (folder / _FILE).read_text(encoding="ascii")
    except FileNotFoundError:
        return None
    return datetime.fromisoformat(said.strip()) if said else None
