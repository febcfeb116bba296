"""Which drops stand still, so that they may be taken: whoever copies says nowhere that the copy is complete."""

from __future__ import annotations

from collections.abc import Mapping

from dopq.intake import Drop
from dopq.stamp import Stamp


class Settling:
    """Tells from look to look which drops stand still. Pure but for what it remembers."""

    def __init__(self, settle_s: float) -> None:
        self._settle_s = settle_s
        self._since: dict[Drop, tuple[Stamp, float]] = {}

    def look(self, seen: Mapping[Drop, Stamp], now_s: float) -> dict[Drop, float]:
        """The drops that have stood still since an earlier look, with the seconds for which they have.

        `now_s` is monotonic. A drop that was not in the last look begins anew.
        """
        before, self._since = self._since, {}
        still: dict[Drop, float] = {}
        for drop, stamp in seen.items():
            known, since = before.get(drop, (None, now_s))
            self._since[drop] = (stamp, since if known == stamp else now_s)
            if known == stamp and now_s - since >= self._settle_s:
                still[drop] = now_s - since
        return still
