"""A job as its user sees it in the share, without any client: `status.json`, the logs, the outputs."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Collection
from datetime import datetime
from pathlib import Path
from typing import Any

from dopq.job import FINAL
from environment import SetupError

LOOK_EVERY_S = 0.05
LIMIT_S = 1800.0


class WatchedJob:
    """The next job to appear in an outbox.

    Args:
        outbox: the user's outbox.
        known: folders of jobs that were there before.
        tell: gets every change of state, and every line of the build's and the job's log.
    """

    def __init__(self, outbox: Path, known: Collection[Path], tell: Callable[[str], None]) -> None:
        self._outbox = outbox
        self._known = frozenset(known)
        self._tell = tell
        self._read = {"build.log": 0, "job.log": 0}

    @property
    def folder(self) -> Path:
        """The job's folder; its name changes once, when the job's own name has been read."""
        return max(set(self._outbox.glob("*")) - self._known, key=lambda path: path.stat().st_mtime)

    def follow(self) -> dict[str, Any]:
        """Tell what happens until the job has ended; its last status.

        Raises:
            SetupError: it did not end within half an hour.
        """
        deadline, state = time.monotonic() + LIMIT_S, ""
        while time.monotonic() < deadline:
            status = self._status()
            if status is not None and status["state"] in FINAL:
                self._tell_logs()
                self._tell(f"[{status['id']}] {status['state']}")
                return status
            if status is not None and status["state"] != state:
                state = status["state"]
                self._tell(f"[{status['id']}] {state}")
            self._tell_logs()
            time.sleep(LOOK_EVERY_S)
        raise SetupError(
            f"The job is still {state or 'unseen'} after {LIMIT_S:.0f} s. Look at .dopq/quickstart/node.log."
        )

    def output_files(self) -> list[Path]:
        """All files that the job wrote."""
        return sorted(path for path in (self.folder / "output").rglob("*") if path.is_file())

    @staticmethod
    def seconds(status: dict[str, Any]) -> dict[str, float]:
        """How long it was built, waited and ran, by its own account; only what came to pass."""
        names = ("submitted_at", "queued_at", "started_at", "finished_at")
        times = [datetime.fromisoformat(status[name]) if status[name] else None for name in names]
        phases = zip(("build", "wait", "run"), times, times[1:], strict=False)
        return {name: round((end - begin).total_seconds(), 2) for name, begin, end in phases if begin and end}

    def _status(self) -> dict[str, Any] | None:
        try:
            status: dict[str, Any] = json.loads((self.folder / "status.json").read_text())["job"]
        except (FileNotFoundError, ValueError):  # ValueError also from `max`: no folder yet
            return None
        return status

    def _tell_logs(self) -> None:
        for name, position in self._read.items():
            try:
                with (self.folder / name).open("rb") as log:
                    log.seek(position)
                    news = log.read()
            except (FileNotFoundError, ValueError):
                continue
            whole = news[: news.rfind(b"\n") + 1]
            self._read[name] += len(whole)
            for line in whole.decode(errors="replace").splitlines():
                self._tell(f"  {name.partition('.')[0]:>5} | {line}")
