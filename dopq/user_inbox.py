"""One user's inbox: what of it stands still, what is taken, and what is left for now and why."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from dopq.handover import Accepted, Deferred, Refused, Taken, Verdict
from dopq.identity import Origin
from dopq.intake import (
    Drop,
    bundle_name,
    copy_to_spool,
    look_into,
    remove_drop,
    remove_leftovers,
)
from dopq.job import Problem, UserName
from dopq.refused_drop import put_aside
from dopq.settling import Settling
from dopq.stamp import Stamp
from dopq.utils import log as logs
from dopq.utils.clock import Clock
from dopq.utils.crash_points import step

log = logs.logger(__name__)

FILES_A_LOOK = 200
"""What is seen of the files at a time; the rest comes into view when these have gone."""

ARRIVING_S = 2.0
"""A file that has been seen for longer without being taken is shown as deferred."""

INCOMPLETE_S = 5.0
"""An archive without its end is probably still being copied: it has to stand still for so long to be judged."""

ASK_AGAIN_S = 30.0
"""How long to leave a drop alone whose user is not registered; perhaps they are by then."""

TRY_AGAIN_S = 5.0
"""How long to leave a drop alone that could not be copied or removed."""

_TEMPORARY = "it has the name of a temporary file; rename it when it is complete"
_GROWING = "it is still changing"
_NO_END = "the end of the archive is missing; probably it is still being copied"

IsWhole = Callable[[Path], bool]
"""Whether a file has the end that its kind of archive has, which half a copy has not."""

NoRoom = Callable[[int], str | None]
"""Why a file of so many bytes is not to be copied now; None where it may be."""


@dataclass(frozen=True, slots=True)
class _Later:
    """A drop that is left alone until then."""

    until_s: float
    why: str


class UserInbox:
    """`look` and `answered` belong to one thread. `copy` may run in another; nobody looks while it does.

    Args:
        shelf: where what is refused goes.
        flattened: why the owners of files in the share are not real; empty where they are.

    Attributes:
        deferred: the files that are left for now, for any thread to read.
        trouble: why a drop that was taken could not be removed.
    """

    def __init__(
        self,
        folder: Path,
        spool: Path,
        shelf: Path,
        settle_s: float,
        say: Callable[[Taken], None],
        is_whole: IsWhole,
        no_room: NoRoom,
        flattened: Callable[[], str],
        clock: Clock,
    ) -> None:
        self._folder = folder
        self._user = UserName(folder.name)
        self._spool = spool
        self._shelf = shelf
        self._settling = Settling(settle_s)
        self._say = say
        self._is_whole = is_whole
        self._no_room = no_room
        self._flattened = flattened
        self._clock = clock
        self._in_hand: dict[str, tuple[Drop, Stamp]] = {}  # by key: being copied, or asked about
        self._accepted: set[str] = set()  # keys of drops that the share has not let go of yet
        self._later: dict[Drop, _Later] = {}
        self._first_seen: dict[Drop, datetime] = {}
        self._arriving = False
        self._has_looked = False
        self.deferred: tuple[Deferred, ...] = ()
        self.trouble: str | None = None

    @property
    def busy(self) -> bool:
        """Whether something is arriving: look again soon."""
        return bool(self._in_hand) or self._arriving

    def look(self) -> list[tuple[Drop, Stamp]]:
        """Look once; the drops that are to be copied now, by name.

        Raises:
            OSError: the folder cannot be read.
        """
        if not self._has_looked:
            remove_leftovers(self._folder)
            self._has_looked = True
        now_s = self._clock.monotonic()
        self._later = {drop: later for drop, later in self._later.items() if later.until_s > now_s}
        seen = look_into(self._folder, self._user, self._later, FILES_A_LOOK)
        still = self._settling.look(seen.drops, now_s)
        waiting, ready = dict.fromkeys(seen.temporary, _TEMPORARY), list[tuple[Drop, Stamp]]()
        for drop, stamp in seen.drops.items():
            key = drop.key(stamp)
            if key in self._in_hand:
                continue
            if key in self._accepted:
                self._remove(key, drop, stamp)
            elif why := self._obstacle(drop, stamp, still.get(drop)):
                waiting[drop] = why
            else:
                ready.append((drop, stamp))
        self._arriving = len(waiting) > len(seen.temporary)
        self._note({**seen.drops, **seen.temporary}, waiting)
        self._in_hand.update((drop.key(stamp), (drop, stamp)) for drop, stamp in ready)
        return ready

    def copy(self, ready: Sequence[tuple[Drop, Stamp]]) -> None:
        """Copy drops to the spool, one after the other, and ask the node about each."""
        for drop, stamp in ready:
            key = drop.key(stamp)
            try:
                copied = copy_to_spool(drop, stamp, self._spool)
                origin = Origin(self._folder.lstat().st_uid, stamp.owners, self._flattened())
            except OSError as error:
                self._put_off(drop, TRY_AGAIN_S, f"it could not be copied: {error.strerror}")
                self._in_hand.pop(key, None)
                continue
            if copied:
                self._say(Taken(key, self._user, bundle_name(drop, stamp), origin))
            else:
                self._in_hand.pop(key, None)

    def answered(self, verdict: Verdict) -> None:
        """The node's answer to what was asked; one to an earlier life's question is passed over."""
        key = verdict.key
        if key not in self._in_hand:
            return
        drop, stamp = self._in_hand.pop(key)
        if isinstance(verdict, Accepted):
            self._remove(key, drop, stamp)
            return
        (self._spool / key).unlink(missing_ok=True)
        if isinstance(verdict, Refused):
            self._refuse(drop, stamp, verdict.problem)
        else:
            self._put_off(drop, ASK_AGAIN_S, verdict.why)

    def _obstacle(self, drop: Drop, stamp: Stamp, still_s: float | None) -> str | None:
        if still_s is None:
            return _GROWING
        if stamp.obstacle:
            return stamp.obstacle
        if still_s < INCOMPLETE_S and not stamp.tree and not self._is_whole(drop.path):
            return _NO_END
        return self._no_room(stamp.size)

    def _remove(self, key: str, drop: Drop, stamp: Stamp) -> None:
        try:
            with step("drop remove"):
                remove_drop(drop, stamp)
        except OSError as error:
            self._accepted.add(key)
            self._put_off(drop, TRY_AGAIN_S, f"it was taken, but cannot be removed: {error.strerror}")
            # Everybody is told: whose folder it is, and not how another's file is called.
            self.trouble = f"The share does not let go of a drop in {drop.path.parent}: {error.strerror}."
        else:
            self._accepted.discard(key)
            self.trouble = None

    def _refuse(self, drop: Drop, stamp: Stamp, problem: Problem) -> None:
        try:
            put_aside(drop, stamp, self._shelf, problem)
        except OSError as error:
            self._put_off(drop, ASK_AGAIN_S, f"{problem.what}. It could not be put into invalid/: {error.strerror}")

    def _put_off(self, drop: Drop, seconds: float, why: str) -> None:
        self._later[drop] = _Later(self._clock.monotonic() + seconds, why)

    def _note(self, seen: Mapping[Drop, Stamp], waiting: Mapping[Drop, str]) -> None:
        """Remember which files are deferred, and say so of each once."""
        now = self._clock.now()
        known = {(file.name, file.why) for file in self.deferred}
        reasons = {**waiting, **{drop: later.why for drop, later in self._later.items()}}
        self._first_seen = {drop: self._first_seen.get(drop, now) for drop in reasons}
        self.deferred = tuple(
            Deferred(self._user, drop.name, seen[drop].size if drop in seen else None, since, reasons[drop])
            for drop, since in self._first_seen.items()
            if (now - since).total_seconds() >= ARRIVING_S
        )
        for file in self.deferred:
            if (file.name, file.why) not in known:
                log.info("drop_deferred", user=file.user, file=file.name, cause=file.why)
