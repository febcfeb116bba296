"""How often somebody may try: token buckets that refill with time. Pure: whoever asks says what time it is.

A bucket is kept as the one moment at which it will be full again. A full bucket is as good as none, so it is forgotten,
and no other ever is: to make us forget by bringing many keys wins nobody a try.
"""

from __future__ import annotations

import math
from collections.abc import Hashable
from dataclasses import dataclass

CAPACITY = 8
"""Tries in a row."""
REFILL_S = 10.0
"""After so many seconds there is one more."""
MOST_KEYS = 10_000
"""Buckets that are not full. While there are so many, a new key has to wait for one of them to be full again."""


@dataclass(frozen=True, slots=True)
class Try:
    """A try that was taken from the buckets of `keys`, at a moment of the clock."""

    keys: tuple[Hashable, ...]
    at_s: float


class Throttle:
    """Buckets, by key. In any `t` seconds a key gets at most `CAPACITY + t / REFILL_S` tries, those given back apart.

    Not thread-safe: its one owner has a lock.
    """

    def __init__(self, most_keys: int = MOST_KEYS) -> None:
        self._full_at: dict[Hashable, float] = {}
        self._most_keys = most_keys
        self._none_full_before_s = -math.inf

    def __len__(self) -> int:
        return len(self._full_at)

    def wait_s(self, now_s: float, *keys: Hashable) -> float:
        """Seconds until all of these buckets have a try left; 0: they have one now."""
        if len(self._full_at) + len(keys) > self._most_keys:
            self._forget_full(now_s)
        waits = [self._full_at.get(key, now_s) - now_s - (CAPACITY - 1) * REFILL_S for key in keys]
        if len(self._full_at.keys() | set(keys)) > self._most_keys:
            waits.append(self._none_full_before_s - now_s)
        return max([0.0, *waits])

    def take(self, now_s: float, *keys: Hashable) -> Try:
        """Take a try from each of these buckets; only after `wait_s` has said 0 for the same moment."""
        for key in keys:
            self._full_at[key] = max(self._full_at.get(key, now_s), now_s) + REFILL_S
        return Try(keys, now_s)

    def give_back(self, now_s: float, taken: Try, *keys: Hashable) -> None:
        """Undo a try in some of its buckets.

        What has been refilled since is not given twice: a bucket is never fuller than it would be without the try.
        """
        left_s = max(0.0, REFILL_S - (now_s - taken.at_s))
        for key in keys:
            if key in self._full_at:
                self._full_at[key] -= left_s

    def _forget_full(self, now_s: float) -> None:
        if now_s < self._none_full_before_s:  # a look at all of them would find none
            return
        self._full_at = {key: full_at for key, full_at in self._full_at.items() if full_at > now_s}
        self._none_full_before_s = min(self._full_at.values(), default=now_s)
