"""The key of a node (Ed25519, RFC 8032): what its id is made of, and with what it signs what it says of itself."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import NewType

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from dopq.errors import OperatorError
from dopq.utils.files import write_atomic

NodeId = NewType("NodeId", str)
"""Who a node is, whatever its name and address: 32 hexadecimal digits, the first half of SHA-256 of its public key."""

KEY_BYTES, SIGNATURE_BYTES = 32, 64

_PURPOSE = b"DoPQ node record 1\n"
"""Signed along, so that nothing else which this key may sign one day is taken for a record."""


class NodeKey:
    """The private key of one node.

    Attributes:
        public: the public key, 32 bytes.
        node_id: the id of the node that has it.
    """

    def __init__(self, secret: bytes) -> None:
        """`secret`: 32 random bytes (RFC 8032, 5.1.5)."""
        self._key = Ed25519PrivateKey.from_private_bytes(secret)
        self.public = self._key.public_key().public_bytes_raw()
        self.node_id = id_of(self.public)

    @classmethod
    def generate(cls) -> NodeKey:
        """A new one, kept nowhere."""
        return cls(Ed25519PrivateKey.generate().private_bytes_raw())

    @classmethod
    def kept_in(cls, file: Path) -> NodeKey:
        """The key in `file`, which is made with a new one where there is none.

        Raises:
            OperatorError: it cannot be read or written, or holds something else.
        """
        try:
            if not file.exists():
                write_atomic(file, Ed25519PrivateKey.generate().private_bytes_raw(), 0o600)
            return cls(file.read_bytes())
        except (OSError, ValueError) as error:
            raise OperatorError(
                f"The key of this node, {file}, cannot be used: {error}.",
                "Restore it from a backup. Without it, remove the file: other nodes then meet this one as a new node.",
            ) from error

    def sign(self, body: bytes) -> bytes:
        """The signature of a record's body, 64 bytes; the same body has the same one."""
        return self._key.sign(_PURPOSE + body)


def is_signed(public: bytes, body: bytes, signature: bytes) -> bool:
    """Whether whoever has the key of `public` signed that body."""
    try:
        Ed25519PublicKey.from_public_bytes(public).verify(signature, _PURPOSE + body)
    except (InvalidSignature, ValueError):
        return False
    return True


def id_of(public: bytes) -> NodeId:
    """The id of the node that has that public key."""
    return NodeId(hashlib.sha256(public).hexdigest()[:32])
