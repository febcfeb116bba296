"""Proof that a container is this node's: a MAC in a label, with a key that never leaves the state folder.

Names can be guessed and labels are inherited from images, so neither proves anything.
"""

from __future__ import annotations

import hmac
import secrets
from pathlib import Path

from dopq.container_handler.engine import ContainerEngine, ContainerName, Origin
from dopq.job import ImageId
from dopq.utils.files import write_atomic

MAC_LABEL = "dopq.mac"

AHEAD_MAC_LABEL = "dopq.ahead-mac"
"""The same of the first name of a container that is made ahead of its lease, and renamed when that begins."""

_KEY_BYTES = 32


def node_key(path: Path) -> bytes:
    """The node's key, made where there is none.

    A node whose key is lost takes its own containers for somebody else's.
    """
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(path, secrets.token_bytes(_KEY_BYTES), mode=0o600)
    return path.read_bytes()


class Proof:
    """Marks containers that the node makes, and tells them from all others."""

    def __init__(self, engine: ContainerEngine, key: bytes) -> None:
        self._engine = engine
        self._key = key

    def mac(self, name: ContainerName, image: ImageId) -> str:
        """What `MAC_LABEL` says on a container of ours; its name says which node, job and attempt it is for."""
        return hmac.new(self._key, f"{name} {image}".encode(), "sha256").hexdigest()

    def is_ours(self, name: ContainerName) -> bool:
        """Whether there is a container of that name and the node itself made it, of the image that it has."""
        origin = self._engine.origin(name)
        return origin is not None and self._fits(name, origin)

    def is_somebody_elses(self, name: ContainerName) -> bool:
        """Whether there is a container of that name that the node has not made."""
        origin = self._engine.origin(name)
        return origin is not None and not self._fits(name, origin)

    def _fits(self, name: ContainerName, origin: Origin) -> bool:
        right = self.mac(name, origin.image).encode()
        said = (origin.labels.get(label, "") for label in (MAC_LABEL, AHEAD_MAC_LABEL))
        return any(hmac.compare_digest(each.encode(), right) for each in said)
