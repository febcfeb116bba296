"""Going on across a restart of the node, for those who are waiting anyway."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

from dopq.errors import ServiceUnreachable
from dopq_client.link import Link, may_repeat

PATIENCE_S = 60.0
"""How long a node that has answered before may be away: its jobs go on, so waiting for them should, too."""

PAUSE_S = 0.5


@dataclass(frozen=True, slots=True)
class PatientLink:
    """A link that asks again what may be asked again, until the node answers or `patience_s` seconds have passed.

    Attributes:
        deadline: on the monotonic clock; patience ends there at the latest. None for no such end.
    """

    link: Link
    deadline: float | None = None
    patience_s: float = PATIENCE_S

    def call(self, method: str, *arguments: object) -> Any:
        """See `Link.call`."""
        end = time.monotonic() + self.patience_s
        if self.deadline is not None:
            end = min(end, self.deadline)
        while True:
            try:
                return self.link.call(method, *arguments)
            except ServiceUnreachable:
                if not may_repeat(method) or time.monotonic() + PAUSE_S > end:
                    raise
            time.sleep(PAUSE_S)

    def close(self) -> None:
        """See `Link.close`."""
        self.link.close()
