"""A call that may never come back, such as one that touches a network file system whose server is gone."""

from __future__ import annotations

import threading
from collections.abc import Callable


class Attempt:
    """A call in a thread of its own, begun at once.

    Attributes:
        error: what it raised; None while it is under way, and when it went well.
    """

    def __init__(self, call: Callable[[], object], name: str) -> None:
        self._call = call
        self._over = threading.Event()
        self.error: Exception | None = None
        threading.Thread(target=self._run, name=name, daemon=True).start()

    def is_over(self, within_s: float) -> bool:
        """Whether the call has returned or raised; waits for that, so many seconds at most."""
        return self._over.wait(within_s)

    def _run(self) -> None:
        try:
            self._call()
        except Exception as error:  # noqa: BLE001 - kept for whoever made the attempt
            self.error = error
        finally:
            self._over.set()
