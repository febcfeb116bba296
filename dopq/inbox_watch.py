"""The thread that watches the inboxes, so that nobody's files and no bad share hold up anything else.

Each look is bounded in time and goes through the users in turn; each user's files are copied one after the other, and
beside those of others. A share that is away, empty or failing is waited for.
"""

from __future__ import annotations

import queue
import threading
from bisect import bisect_right
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from dopq.disk import DiskProbe
from dopq.handover import Deferred, Taken, Verdict
from dopq.intake import users_of
from dopq.job import UserName
from dopq.user_inbox import IsWhole, NoRoom, UserInbox
from dopq.utils import log as logs
from dopq.utils.clock import Clock
from dopq.utils.cpu import Disk

log = logs.logger(__name__)

LOOK_S = 0.5
"""How long one look through the users may take; those it does not come to are first in the next one."""

TELL_AGAIN_S = 60.0
"""How often the log says that the share is in trouble, while it is."""

SLOW_S = 10.0
"""A look that takes longer waits for a share that does not answer."""

COPIES = 4
"""How many users' files are copied at the same time."""

SHOWN = 100
"""How many deferred files are told of."""


_NOT_TRIED = "the share took no file with which to try it out"


@dataclass(frozen=True, slots=True)
class WatchSettings:
    """Where to look, and how often."""

    inbox: Path
    spool: Path
    invalid: Path
    settle_s: float
    poll_fast_s: float
    poll_slow_s: float


class InboxWatch:
    """One pair of eyes on all inboxes.

    Args:
        say: tells the node of a bundle that lies in the spool; `answer` takes what the node says to that.
        share_trouble: why the share is not there; None while it is.
        is_whole: whether a file has the end that its kind of archive has.
        no_room: why a file of so many bytes is not to be copied now.
        flattening: why the owners of files in the share are not real; empty where they are.

    Attributes:
        disk: the share's disk, as this thread saw it last; one that looked for itself could wait for ever.
    """

    def __init__(
        self,
        settings: WatchSettings,
        say: Callable[[Taken], None],
        share_trouble: Callable[[], str | None],
        is_whole: IsWhole,
        no_room: NoRoom,
        flattening: Callable[[Path], str],
        clock: Clock,
        probe: DiskProbe,
    ) -> None:
        self._settings = settings
        self._say = say
        self._share_trouble = share_trouble
        self._is_whole = is_whole
        self._no_room = no_room
        self._flattening = flattening
        self._flattened: str | None = None  # not known yet, of the share that is there
        self._clock = clock
        self._probe = probe
        self._answers: queue.SimpleQueue[Verdict] = queue.SimpleQueue()
        self._inboxes: dict[UserName, UserInbox] = {}
        self._copies: dict[UserName, Future[None]] = {}
        self._last_user = UserName("")
        self._trouble: str | None = None
        self._told_at_s = 0.0
        self._began_s: float | None = None  # when the look that is under way began
        self._copiers = ThreadPoolExecutor(COPIES, thread_name_prefix="copy")
        self._stopping = threading.Event()
        self._ending = threading.Lock()  # nothing is given to the copiers once they have been told to end
        self._thread = threading.Thread(target=self._run, name="inbox", daemon=True)
        self.disk: Disk | None = None

    @property
    def trouble(self) -> str | None:
        """What keeps us from taking bundles, for an admin; for any thread to ask."""
        began_s = self._began_s
        if began_s is not None and self._clock.monotonic() - began_s > SLOW_S:
            return f"The share does not answer: a look at {self._settings.inbox} has not come back."
        return self._trouble

    @property
    def deferred(self) -> tuple[Deferred, ...]:
        """The first of the files that are seen but not taken, with the reasons; for any thread to ask."""
        return tuple(file for inbox in list(self._inboxes.values()) for file in inbox.deferred)[:SHOWN]

    def start(self) -> None:
        """Begin to look."""
        self._thread.start()

    def stop(self) -> None:
        """Look no more; a look or a copy that is under way is not waited for, since a dead share never ends it."""
        with self._ending:
            self._stopping.set()
            self._copiers.shutdown(wait=False, cancel_futures=True)

    def answer(self, message: Verdict) -> None:
        """What the node says to a bundle that it was told of; for any thread to call."""
        self._answers.put(message)

    def look(self) -> float:
        """Look once, as far as the time allows; seconds until the next look."""
        self._began_s = self._clock.monotonic()
        try:
            self._pass_on_answers()
            self.disk = self._probe(self._settings.inbox)
            away = self._share_trouble()
            self._flattened = None if away else self._find_out_owners()  # what comes back may be mounted otherwise
            self._set_trouble(away or self._look_in_turn())
        except OSError as error:
            self._set_trouble(f"The share cannot be read: {error.strerror} ({error.filename}).")
        finally:
            self._began_s = None
        arriving = any(inbox.busy for inbox in self._inboxes.values())
        return self._settings.poll_fast_s if arriving else self._settings.poll_slow_s

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                next_s = self.look()
            except Exception:
                log.exception("inbox_defect")
                next_s = self._settings.poll_slow_s
            self._stopping.wait(next_s)

    def _find_out_owners(self) -> str | None:
        if self._flattened is not None:
            return self._flattened
        try:
            return self._flattening(self._settings.inbox)
        except OSError as error:
            log.warning("owners_not_known", path=self._settings.inbox, cause=error.strerror)
            return None

    def _look_in_turn(self) -> str | None:
        """Look into the inboxes, beginning behind the last one that was looked into; what is wrong with one of them."""
        users = users_of(self._settings.inbox)
        self._inboxes = {user: self._inboxes.get(user) or self._new(user) for user in users}
        first = bisect_right(users, self._last_user)
        trouble, until_s = None, self._clock.monotonic() + LOOK_S
        for user in users[first:] + users[:first]:
            self._last_user = user
            trouble = self._look_into(user) or trouble
            if self._clock.monotonic() > until_s:
                break
        return trouble

    def _look_into(self, user: UserName) -> str | None:
        inbox, copying = self._inboxes[user], self._copies.get(user)
        if copying and not copying.done():
            return inbox.trouble
        try:
            ready = inbox.look()
        except OSError as error:
            return f"The inbox of {user} cannot be read: {error.strerror}."
        if ready:
            with self._ending:
                if not self._stopping.is_set():
                    self._copies[user] = self._copiers.submit(inbox.copy, ready)
        return inbox.trouble

    def _new(self, user: UserName) -> UserInbox:
        settings = self._settings
        return UserInbox(
            settings.inbox / user,
            settings.spool,
            settings.invalid / user,
            settings.settle_s,
            self._say,
            self._is_whole,
            self._no_room,
            lambda: _NOT_TRIED if self._flattened is None else self._flattened,
            self._clock,
        )

    def _pass_on_answers(self) -> None:
        while not self._answers.empty():
            message = self._answers.get_nowait()
            for inbox in self._inboxes.values():
                inbox.answered(message)

    def _set_trouble(self, trouble: str | None) -> None:
        now_s = self._clock.monotonic()
        if trouble and (self._trouble is None or now_s - self._told_at_s >= TELL_AGAIN_S):
            log.warning("share_trouble", cause=trouble)
            self._told_at_s = now_s
        if self._trouble and not trouble:
            log.info("share_is_back", path=self._settings.inbox)
        self._trouble = trouble
