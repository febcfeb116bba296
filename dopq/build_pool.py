"""Whose image is made next. Pure: no threads, no clock; whoever makes the images tells it of every begin and end."""

from __future__ import annotations

from collections import Counter, deque

from dopq.handover import Accepted
from dopq.job import JobId, UserName


class BuildPool:
    """`places` images are made at the same time, and users take turns.

    Next is the oldest order of the user who has the fewest images in the making; among equals of the one whose last
    turn is longest ago. So a newcomer's first build waits for at most one of each other user, however many they queued.
    """

    def __init__(self, places: int) -> None:
        self._places = places
        self._waiting: dict[UserName, deque[Accepted]] = {}
        self._making: dict[JobId, UserName] = {}
        self._turns = 0
        self._last_turn: dict[UserName, int] = {}  # by number; a user without orders is forgotten

    @property
    def waiting(self) -> tuple[Accepted, ...]:
        """The orders that have not begun, each user's oldest first."""
        return tuple(order for orders in self._waiting.values() for order in orders)

    def add(self, order: Accepted) -> None:
        """Put an order behind the others of its user. One that waits or is in the making is not added again."""
        if order.job not in self._making and order not in self._waiting.get(order.user, ()):
            self._waiting.setdefault(order.user, deque()).append(order)

    def begin_next(self) -> Accepted | None:
        """The order whose turn it is, from now on in the making; None when all places are taken or nothing waits."""
        if not self._waiting or len(self._making) >= self._places:
            return None
        making = Counter(self._making.values())
        user = min(self._waiting, key=lambda user: (making[user], self._last_turn.get(user, 0)))
        order = self._waiting[user].popleft()
        self._turns += 1
        self._last_turn[user] = self._turns
        self._making[order.job] = user
        self._tidy(user)
        return order

    def drop(self, job: JobId) -> None:
        """Forget an order that has not begun; one that has, or is unknown, is left alone."""
        for user, orders in list(self._waiting.items()):
            self._waiting[user] = deque(order for order in orders if order.job != job)
            self._tidy(user)

    def end(self, job: JobId) -> None:
        """The making of an image is over, however it went; its place is free. Twice is fine."""
        user = self._making.pop(job, None)
        if user:
            self._tidy(user)

    def _tidy(self, user: UserName) -> None:
        if not self._waiting.get(user):
            self._waiting.pop(user, None)
            if user not in self._making.values():
                self._last_turn.pop(user, None)
