"""The link to a node's controller: the only module of the client that speaks over the wire.

A connection belongs to the thread that made it, so every thread that calls gets its own. Every wait has an end, and
every change a key, so that a cut connection neither loses nor doubles it.
"""

from __future__ import annotations

import threading
import time
import uuid
from typing import Any, Protocol

from dopq.errors import DopqError, NotLoggedIn, OperatorError, ServiceUnreachable, SlowDown, UnknownCall
from dopq.protocol.channel import Channel, CutOff, Refused
from dopq.protocol.stream import StreamClosed, deadline
from dopq.wire import CONTROLLER
from dopq_client.ways import UnixWay, Way

CONNECT_S = 4.0
"""How long a node may take to take a connection and to answer its handshake."""

CALL_S = 30.0
"""How long a node may take to answer; no call of its controller waits for more than 5 s."""

PATIENCE_S = 5.0
"""How long we wait for our turn, where the service says that we call too often."""

SHORTEST_WAIT_S = 0.1
"""Whatever the service says: we ask for no turn more often."""

UNREACHABLE_HINT = (
    "Check the address (`dopq-client login HOST:PORT`), that `dopq serve` runs there, and the network between."
)

KEYED = frozenset({"begin_upload", "send_chunk", "submit", "rerun_job"})
"""Changes whose arguments have a key of their own."""

READING = frozenset({"hello", "whoami", "wait_for_change", "refresh_nodes"})
"""What changes nothing, besides all that is called get, list or read."""


class Link(Protocol):
    """The way to a node's controller."""

    def call(self, method: str, *arguments: object) -> Any:
        """Call a method of the controller.

        Raises:
            ServiceUnreachable: no answer came. Something that changes the node may or may not have happened.
            DopqError: whatever the node answered.
        """
        ...

    def close(self) -> None:
        """Hang up; a later call connects again."""
        ...


class PyroLink:
    """A link to the node at the end of `way`. Thread-safe."""

    def __init__(self, way: Way, token: str | None) -> None:
        self.way = way
        self._token = token
        self._mine = threading.local()

    def call(self, method: str, *arguments: object) -> Any:
        """See `Link.call`. What got no answer because the connection was cut is asked once more."""
        named = {} if changes_nothing(method) or method in KEYED else {"key": uuid.uuid4().hex}
        try:
            return self._at_most_twice(method, list(arguments), named)
        except NotLoggedIn as error:
            raise self._refused(error) from error
        except UnknownCall as error:
            raise OperatorError(
                f"The service at {self.way} does not know the call {method}.",
                "Client and service are of different versions: update the older one.",
            ) from error
        except ServiceUnreachable as error:
            raise unreachable(self.way, error) from error

    def close(self) -> None:
        """See `Link.close`. Hangs up for the calling thread; those of others end with their threads."""
        channel: Channel | None = getattr(self._mine, "channel", None)
        if channel is not None:
            channel.close()
            self._mine.channel = None

    def _at_most_twice(self, method: str, arguments: list[object], named: dict[str, str]) -> Any:
        try:
            return self._in_turn(method, arguments, named)
        except CutOff as error:
            if not isinstance(error.__cause__, StreamClosed):  # no answer in time: whoever asks decides what then
                raise
        return self._in_turn(method, arguments, named)

    def _in_turn(self, method: str, arguments: list[object], named: dict[str, str]) -> Any:
        until = time.monotonic() + PATIENCE_S
        while True:
            try:
                return self._once(method, arguments, named)
            except SlowDown as error:
                wait_s = error.details.get("wait_s")
                if not isinstance(wait_s, int | float) or time.monotonic() + max(SHORTEST_WAIT_S, wait_s) > until:
                    raise
                time.sleep(max(SHORTEST_WAIT_S, wait_s))

    def _once(self, method: str, arguments: list[object], named: dict[str, str]) -> Any:
        channel = getattr(self._mine, "channel", None)
        if channel is None:
            channel = self._mine.channel = self._connected()
        try:
            return channel.call(method, arguments, named, CALL_S)
        except CutOff:
            self._mine.channel = None
            raise

    def _connected(self) -> Channel:
        handshake = {"token": self._token}
        until = deadline(CONNECT_S)
        stream = self.way.connect(CONNECT_S)
        try:
            return Channel(stream, CONTROLLER, handshake, until - time.monotonic())
        except CutOff as silence:
            doubts = self.way.doubts() if isinstance(silence.__cause__, StreamClosed) else ""
            if doubts:
                raise ServiceUnreachable("It gave no answer.", doubts) from silence
            raise
        except Refused as refusal:
            try:
                way = self._looked_up()
            except DopqError:
                raise refusal from None
            return Channel(way.connect(CONNECT_S), CONTROLLER, handshake, CONNECT_S)

    def _looked_up(self) -> Way:
        """The node that a stock nameserver knows of: a hint, which the node's certificate has to confirm."""
        nameserver = Channel(self.way.connect(CONNECT_S), "Pyro.NameServer", {}, CONNECT_S)
        try:
            match nameserver.call("lookup", [CONTROLLER], {}, CONNECT_S):
                case {"state": [_, _, _, str(host), int(port)]} if 0 < port < 65536:
                    return self.way.elsewhere(host, port)
        finally:
            nameserver.close()
        raise ServiceUnreachable("A nameserver answers there, but not as one should.")

    def _refused(self, error: NotLoggedIn) -> NotLoggedIn:
        if error.code != NotLoggedIn.code:  # a wrong password, for example
            return error
        if self._token is None and isinstance(self.way, UnixWay):
            return NotLoggedIn(
                f"The service at {self.way} does not know your account on this machine.",
                "Ask its admin to say that it is yours (dopq user uid), or log in: dopq-client login HOST:PORT",
            )
        if self._token is None:
            return error
        return NotLoggedIn(
            f"The service at {self.way} does not know your token: it has expired, was ended, or is another service's.",
            "Log in again: dopq-client login",
        )


def unreachable(way: Way, error: ServiceUnreachable) -> ServiceUnreachable:
    """What went wrong on the way, with where it led and what to check."""
    return ServiceUnreachable(
        f"The DoPQ service at {way} cannot be reached. {error.message}",
        error.hint or UNREACHABLE_HINT,
        address=str(way),
    )


def may_repeat(method: str) -> bool:
    """Whether asking twice does no more than asking once, also of a node that has restarted in between."""
    return changes_nothing(method) or method in KEYED


def changes_nothing(method: str) -> bool:
    """Whether a method only reads."""
    return method in READING or method.startswith(("get_", "list_", "read_"))
