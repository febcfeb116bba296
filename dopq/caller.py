"""Who calls, as the boundary has found out, and from where."""

from __future__ import annotations

from dataclasses import dataclass

from dopq.users import User

LOCAL = "local"
"""The address of callers on this machine's own socket, where the kernel says who they are."""


@dataclass(frozen=True, slots=True)
class Caller:
    """Somebody at the other end of a connection.

    Attributes:
        user: whom their token or, on the local socket, their uid belongs to; None: nobody that is known.
        address: their IP address, or `LOCAL`; what throttles count by, and what the audit log names.
        peer: the name in their client certificate, if the lab's own CA signed one.
        certificate: the fingerprint of that certificate; "" without one.
        token: the token that came with the connection, for `logout` alone.
        reached: our own address as this caller has it, `HOST:PORT`; "" on the local socket.
    """

    user: User | None
    address: str
    peer: str | None = None
    token: str | None = None
    reached: str = ""
    certificate: str = ""

    @property
    def principal(self) -> str | None:
        """Who they are, for counting: a peer that has a user's name is another one. None of nobody that is known."""
        if self.user:
            return f"user {self.user.name}"
        return f"peer {self.peer}" if self.peer else None
