"""How often a password may be tried, or a registration asked for.

Each counts for the pair of user and address. What was not a right password counts for the address besides, whomever it
was for; what an address is: utils/network.py. Nothing counts for a user alone: then anybody could shut them out.
"""

from __future__ import annotations

import math
import threading

from dopq.caller import LOCAL, Caller
from dopq.errors import SlowDown
from dopq.throttle import Throttle, Try
from dopq.user_fields import is_user_name
from dopq.utils.clock import Clock
from dopq.utils.network import network_of


class Tries:
    """The tries of everybody, usable from any thread."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._throttle = Throttle()

    def take(self, caller: Caller, name: str) -> Try:
        """Take a try for that name.

        Free for whom the kernel has said to be that user: nothing from elsewhere can shut out the local socket.

        Raises:
            SlowDown: there is none left; `details["wait_s"]`, in whole seconds.
        """
        place = network_of(caller.address)
        is_known = caller.address == LOCAL and caller.user is not None and caller.user.name == name
        keys = () if is_known else (place, (place, name if is_user_name(name) else ""))
        with self._lock:
            now_s = self._clock.monotonic()
            wait_s = math.ceil(self._throttle.wait_s(now_s, *keys))
            if wait_s == 0:
                return self._throttle.take(now_s, *keys)
        raise SlowDown("Too many tries from your address.", f"Try again in {wait_s} s.", wait_s=wait_s)

    def was_right(self, taken: Try) -> None:
        """Give the try back to its address: the password was right."""
        with self._lock:
            self._throttle.give_back(self._clock.monotonic(), taken, *taken.keys[:1])
