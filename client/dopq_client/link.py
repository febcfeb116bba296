"""The wire to a node: the only module of the client that speaks Pyro5.

Importing it is cheap; Pyro5 itself is loaded with the first call. A Pyro proxy belongs to the thread that made it, so
every thread that calls gets its own.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from functools import cache
from typing import Any, Protocol

from dopq.errors import DopqError, OperatorError, ServiceUnreachable
from dopq.wire import CONTROLLER, ERROR_CLASS, error_from_wire

CONNECT_S = 4.0
"""How long a node may take to take a connection."""

CALL_S = 30.0
"""How long a node may take to answer; no call of its controller waits for more than 5 s."""

REPEATABLE = frozenset({"hello", "whoami", "wait_for_change", "begin_upload", "send_chunk", "submit", "rerun_job"})
"""What may be asked again when its answer got lost, besides all that reads: these carry a key or change nothing.

Cancelling is not among them: the first call may have been done, and a name (or `@`) could mean another job by now.
"""


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
    """A link to the node whose nameserver listens on `host` and `port`. Thread-safe."""

    def __init__(self, host: str, port: int, token: str | None) -> None:
        self.host = host
        self.port = port
        self._token = token
        self._mine = threading.local()

    def call(self, method: str, *arguments: object) -> Any:
        """See `Link.call`. What is safe to repeat is asked once more when the connection was cut."""
        from Pyro5.errors import ConnectionClosedError

        if not may_repeat(method) and self._connected():
            self.call("hello")  # finds out whether the connection of old still stands, before anything depends on it
        try:
            return self._once(method, arguments)
        except ServiceUnreachable as error:
            self.close()  # the node may come back on another port: the next call looks it up anew
            if not (may_repeat(method) and isinstance(error.__cause__, ConnectionClosedError)):
                raise
            return self._once(method, arguments)

    def _connected(self) -> bool:
        return getattr(self._mine, "proxy", None) is not None

    def close(self) -> None:
        """See `Link.close`. Hangs up for the calling thread; those of others end with their threads."""
        proxy = getattr(self._mine, "proxy", None)
        if proxy is not None:
            proxy._pyroRelease()
            self._mine.proxy = None

    def _once(self, method: str, arguments: tuple[object, ...]) -> Any:
        from Pyro5.errors import CommunicationError, NamingError

        try:
            return getattr(self._proxy(), method)(*arguments)
        except DopqError:
            raise
        except NamingError as error:
            raise self._unreachable("A nameserver answers there, but it knows of no DoPQ node.") from error
        except CommunicationError as error:
            raise self._unreachable(f"{_first_line(error)}.") from error
        except AttributeError as error:
            raise OperatorError(
                f"The service at {self.host}:{self.port} does not know the call {method}.",
                "Client and service are of different versions: update the older one.",
            ) from error
        except Exception as error:
            raise self._unreachable(f"It failed in a way it should not: {_first_line(error)}.") from error

    def _proxy(self) -> Any:
        proxy = getattr(self._mine, "proxy", None)
        if proxy is None:
            nameserver = _bound(f"PYRO:Pyro.NameServer@{_bracketed(self.host)}:{self.port}", "hello")
            with nameserver:
                address = nameserver.lookup(CONTROLLER)
            proxy = self._mine.proxy = _bound(address, {"token": self._token})
        return proxy

    def _unreachable(self, why: str) -> ServiceUnreachable:
        return ServiceUnreachable(
            f"The DoPQ service at {self.host}:{self.port} cannot be reached. {why}",
            "Check the address (`dopq-client login HOST:PORT`), that `dopq serve` runs there, and the network between.",
            host=self.host,
            port=self.port,
        )


def may_repeat(method: str) -> bool:
    """Whether asking twice does no more than asking once."""
    return method in REPEATABLE or method.startswith(("get_", "list_", "read_"))


def _bound(address: object, handshake: object) -> Any:
    """A connected proxy. Connecting has to be quick; what is asked then may take longer."""
    from Pyro5.client import Proxy

    _prepare_pyro()
    proxy = Proxy(address)
    proxy._pyroSerializer = "msgpack"
    proxy._pyroHandshake = handshake
    proxy._pyroTimeout = CONNECT_S  # by default Pyro5 waits for ever
    proxy._pyroBind()
    proxy._pyroTimeout = CALL_S
    return proxy


@cache
def _prepare_pyro() -> None:
    """Settings of Pyro5 that hold for the whole process; done once."""
    import Pyro5
    from Pyro5.serializers import SerializerBase

    Pyro5.config.reset(use_environment=False)  # somebody's PYRO_* variables must not change what we speak
    SerializerBase.register_dict_to_class(ERROR_CLASS, _error_from_wire)


def _error_from_wire(_tag: str, data: Mapping[str, Any]) -> DopqError:
    return error_from_wire(data)


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0].rstrip(".") if lines else type(error).__name__
