"""Looks at things which may never answer, side by side: no engine and no share keeps the check waiting."""

from __future__ import annotations

import time
from collections.abc import Mapping

from dopq.doctor.finding import Finding, Look, error
from dopq.utils.attempt import Attempt

LONGEST_S = 30.0
"""How long all looks together may take."""


class _Looking:
    """One look, in a thread of its own."""

    def __init__(self, what: str, look: Look) -> None:
        self._what = what
        self._look = look
        self._found: list[Finding] = []
        self._attempt = Attempt(self._collect, f"check-{what}")

    def _collect(self) -> None:
        self._found = list(self._look())

    def findings(self, within_s: float) -> list[Finding]:
        if not self._attempt.is_over(max(0.0, within_s)):
            fix = "Look whether its disk, its server or its daemon hangs; then check again."
            return [error(self._what, "It does not answer.", fix)]
        if trouble := self._attempt.error:
            return [error(self._what, f"It cannot be looked at: {trouble}", "Mend that; then check again.")]
        return self._found


def look_at(looks: Mapping[str, Look], longest_s: float = LONGEST_S) -> list[Finding]:
    """What all looks found, in their order. One that has not come back after `longest_s` is an error of its own."""
    until_s = time.monotonic() + longest_s
    under_way = [_Looking(what, look) for what, look in looks.items()]
    return [finding for looking in under_way for finding in looking.findings(until_s - time.monotonic())]
