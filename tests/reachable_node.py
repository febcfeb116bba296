"""The node in memory behind a real boundary: what a client in a process of its own can reach, lose and reach again."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from dopq.boundary import Boundary
from dopq.boundary.identity import identify_by
from dopq.config import RemoteSettings
from tests.in_memory_node import InMemoryNode


@dataclass
class ReachableNode:
    """A node, and the door that is open or not; `called`: how often each call was made."""

    node: InMemoryNode
    port: int = 0
    _boundary: Boundary | None = None
    called: list[str] = field(default_factory=list)

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def open(self) -> None:
        """Answer, at the same address as before."""
        assert self._boundary is None
        self._boundary = Boundary(
            self.node.controller,
            RemoteSettings(port=self.port),
            identify=identify_by(self.node.users, self.node.logins),
            audit=lambda *_: None,
        )
        self._boundary.start()
        self.port = int(self._boundary.address.rpartition(":")[2])

    def close(self) -> None:
        """Answer nobody any more."""
        if self._boundary:
            self._boundary.stop(5.0)
            self._boundary = None

    def environment(self, user: str) -> dict[str, str]:
        """What makes `dopq-client` speak to it."""
        return {"DOPQ_HOST": self.address, "DOPQ_TOKEN": self.node.tokens[user]}


@contextmanager
def reachable_node(folder: Path) -> Iterator[ReachableNode]:
    """A node that answers, for as long as the body runs."""
    folder.mkdir(exist_ok=True)
    node = InMemoryNode(folder)
    reachable = ReachableNode(node)
    reachable.open()
    try:
        yield reachable
    finally:
        reachable.close()
        node.close()
