"""Proof that a container is this node's: a MAC in a label, with a key that never leaves the state folder.

Names can be guessed and labels are inherited from images, so neither proves anything.
"""

from __future__ import annotations

import hmac
import secrets
from pathlib import Path

from dopq.container_handler.engine import ContainerEngine, ContainerName
from dopq.job import ImageId
from dopq.utils.files import write_atomic

MAC_LABEL = "dopq.mac"

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
        return origin is not None and hmac.compare_digest(
            origin.labels.get(MAC_LABEL, "").encode(), self.mac(name, origin.image).encode()
        )
