"""Who may be connected, and who gives way when there are too many.

Nobody holds more than a share of the places: no address before it has said who it is, no user after that. A newcomer
takes the place of a stranger who has sat there longest, so that silent connections shut nobody out; where there are no
strangers, one of the user who has the most, so that a few users together do not either.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol


class Guest(Protocol):
    """A connection, as far as its place goes."""

    def cut(self) -> None:
        """End it, from any thread, without waiting for its end."""
        ...


@dataclass(slots=True)
class _Seat:
    source: str
    user: str | None = None


class Places:
    """At most `most` guests, and `most_per_source` strangers of one address, or guests of one user. Thread-safe."""

    def __init__(self, most: int, most_per_source: int) -> None:
        self._most = most
        self._most_per_source = most_per_source
        self._seats: dict[Guest, _Seat] = {}  # the longest there first
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._seats)

    def __iter__(self) -> Iterator[Guest]:
        with self._lock:
            return iter(list(self._seats))

    def take(self, guest: Guest, source: str) -> None:
        """Give a guest from `source` a place, if need be another one's."""
        with self._lock:
            strangers = [g for g, seat in self._seats.items() if seat.user is None]
            ours = [g for g in strangers if self._seats[g].source == source]
            if len(ours) >= self._most_per_source:
                self._give_way(ours[0])
            elif len(self._seats) >= self._most:
                self._give_way(strangers[0] if strangers else self._of_whom_has_most())
            self._seats[guest] = _Seat(source)

    def know(self, guest: Guest, user: str) -> bool:
        """The guest is `user`; False where that one has too many places already, or the guest has lost its own."""
        with self._lock:
            theirs = sum(seat.user == user for seat in self._seats.values())
            if guest not in self._seats or theirs >= self._most_per_source:
                return False
            self._seats[guest].user = user
            return True

    def leave(self, guest: Guest) -> None:
        """The guest has gone; to leave twice is fine."""
        with self._lock:
            self._seats.pop(guest, None)

    def _of_whom_has_most(self) -> Guest:
        """The longest there of the user with the most places; every place is a user's."""
        [(user, _)] = Counter(seat.user for seat in self._seats.values()).most_common(1)
        return next(guest for guest, seat in self._seats.items() if seat.user == user)

    def _give_way(self, guest: Guest) -> None:
        del self._seats[guest]
        guest.cut()
