"""The nameserver: which names there are, whose they are, and where they lead.

Pyro5's clients find it as `Pyro.NameServer`. The node's own names are fixed; whoever is known may add some, which are
theirs until they remove them or the node restarts. It is asked and told names, never patterns, and announces nothing.
"""

from __future__ import annotations

import re
import threading
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import Field

from dopq.access import Access, remote
from dopq.caller import Caller
from dopq.config import HOST_NAME, IPV6
from dopq.errors import NotAllowed, NotFound, UserError
from dopq.users import Role, User
from dopq.wire import ALIAS, CONTROLLER, Plain

NAMESERVER = "Pyro.NameServer"
OWN_NAMES = {NAMESERVER: NAMESERVER, CONTROLLER: CONTROLLER, ALIAS: CONTROLLER}
"""The node's own names, and the object that each means."""

MOST_NAMES, MOST_OF_ONE = 1_000, 20

Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}$")]
_URI = re.compile(rf"PYRO:(?P<object>[A-Za-z0-9_.-]{{1,100}})@(?P<host>{HOST_NAME}|\[{IPV6}\]):(?P<port>[0-9]{{1,5}})")


@dataclass(frozen=True, slots=True)
class _Entry:
    uri: str
    owner: str


class Names:
    """The names of one node. Names of methods and their arguments are those of Pyro5's own nameserver. Thread-safe."""

    def __init__(self, host: str) -> None:
        """`host` is where others reach the node, `HOST:PORT`, for callers whose connection does not tell."""
        self._host = host
        self._entries: dict[str, _Entry] = {}
        self._lock = threading.Lock()

    @remote(Access.ANYBODY)
    def ping(self, caller: Caller) -> None:
        """Whether a nameserver answers."""

    @remote(Access.ANYBODY)
    def lookup(self, caller: Caller, name: Name, return_metadata: bool | float | None = False) -> Plain | list[Any]:
        """Where a name leads. Raises `NotFound`.

        `return_metadata`: there is none, but Pyro5's clients want a pair then; 5.17 passes a 0.0 (its `core.resolve`).
        """
        with self._lock:
            entry = self._entries.get(name)
        if target := OWN_NAMES.get(name):
            uri = f"PYRO:{target}@{caller.reached or self._host}"
        elif entry:
            uri = entry.uri
        else:
            raise NotFound(f"There is no name {name!r} here.", f"The service's own is {CONTROLLER}.")
        return [_uri_to_wire(uri), []] if return_metadata else _uri_to_wire(uri)

    @remote(Access.USER)
    def list(self, caller: User, prefix: Annotated[str, Field(max_length=100)] | None = None) -> dict[str, str]:  # noqa: ARG002 - all may see it
        """Names and where they lead; `prefix`: only those that begin with it."""
        with self._lock:
            uris = {name: entry.uri for name, entry in self._entries.items()}
        uris |= {name: f"PYRO:{target}@{self._host}" for name, target in OWN_NAMES.items()}
        return {name: uri for name, uri in sorted(uris.items()) if name.startswith(prefix or "")}

    @remote(Access.USER)
    def count(self, caller: User) -> int:  # noqa: ARG002 - as `list`
        """How many names there are."""
        return len(self._entries) + len(OWN_NAMES)

    @remote(Access.USER, changes=True)
    def register(self, caller: User, name: Name, uri: str | Plain, safe: bool = False, metadata: None = None) -> None:  # noqa: ARG002 - Pyro5's
        """Add a name, or change where one's own leads; `safe`: only a new one.

        Raises:
            NotAllowed: the name is the node's, or somebody else's, or there are too many.
            UserError: `uri` is no `PYRO:object@host:port`.
        """
        text = uri if isinstance(uri, str) else _uri_from_wire(uri)
        match = _URI.fullmatch(text)
        if match is None or not 0 < int(match["port"]) < 65536:
            raise UserError("That is no address of an object.", "It is written PYRO:object@host:port.")
        with self._lock:
            known = self._entries.get(name)
            if name in OWN_NAMES or (known and (safe or known.owner != caller.name)):
                raise NotAllowed(f"The name {name} is taken.", "Choose another one.")
            ours = sum(entry.owner == caller.name for entry in self._entries.values())
            if known is None and (ours >= MOST_OF_ONE or len(self._entries) >= MOST_NAMES):
                raise NotAllowed("There are too many names already.", "Remove one first.")
            self._entries[name] = _Entry(text, caller.name)

    @remote(Access.USER, changes=True)
    def remove(self, caller: User, name: Name) -> int:
        """Remove one of your own names; how many were removed. Raises `NotAllowed` for those of others."""
        with self._lock:
            known = self._entries.get(name)
            if name in OWN_NAMES or (known and known.owner != caller.name and caller.role is not Role.ADMIN):
                raise NotAllowed(f"The name {name} is not yours.", "Ask its owner, or an admin.")
            return 0 if self._entries.pop(name, None) is None else 1


def _uri_to_wire(uri: str) -> Plain:
    """As Pyro5's clients want it: tagged, so that they make an address of it and nothing else."""
    match = _URI.fullmatch(uri)
    assert match
    return {
        "__class__": "Pyro5.core.URI",
        "state": ["PYRO", match["object"], None, match["host"].strip("[]"), int(match["port"])],
    }


def _uri_from_wire(data: Plain) -> str:
    match data:
        case {"__class__": "Pyro5.core.URI", "state": ["PYRO", str(target), None, str(host), int(port)]}:
            return f"PYRO:{target}@[{host}]:{port}" if ":" in host else f"PYRO:{target}@{host}:{port}"
    return ""
