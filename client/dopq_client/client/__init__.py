"""DopqClient: the service's verbs as Python methods.

    with DopqClient.connect("gpu1:9090", token) as dopq:
        job = dopq.submit("my-training")
        [job] = dopq.wait([job["id"]])
        dopq.fetch(job["id"], "results")

A job is meant by its number, by a name of which there is one, by `@` (my newest) or `@~N` (N before that). Every method
raises errors of `dopq.errors` only: `NotLoggedIn`, `NotAllowed`, `NotFound`, `WrongState`, `ServiceUnreachable`, …
Its rooms are those of the service's controller.
"""

from __future__ import annotations

from pathlib import Path
from types import TracebackType
from typing import Self

from dopq_client import settings
from dopq_client.client.desk import Progress, Reference
from dopq_client.client.front_door import FrontDoor
from dopq_client.client.handing_in import HandingIn
from dopq_client.client.jobs import Jobs
from dopq_client.client.node import Node
from dopq_client.client.outcome import Outcome
from dopq_client.link import PyroLink
from dopq_client.waiting import WaitTimedOut
from dopq_client.ways import way_to

__all__ = ["DopqClient", "Progress", "Reference", "WaitTimedOut"]


class DopqClient(FrontDoor, Jobs, HandingIn, Outcome, Node):
    """One service, as one user. Use it in a `with` block, from as many threads as you like."""

    @classmethod
    def connect(
        cls,
        address: str | None = None,
        token: str | None = None,
        fingerprint: str | None = None,
        ca: str | Path | None = None,
    ) -> Self:
        """A client of the service at `address` (`HOST:PORT`); by default that of `dopq-client`, with your login.

        Nothing is sent before the first call.

        Args:
            token: None leaves you anonymous at that address.
            fingerprint: SHA-256 that the certificate there must have.
            ca: file with the certificate of the CA that must have signed it. With neither of the two it is what a login
                from here has confirmed; an address on this machine needs none, if the service there does without TLS.

        Raises:
            NotLoggedIn: no address is given and none is stored.
            UserError: the address or the fingerprint is malformed.
            BadConfig: the stored account is, or others may read it.
        """
        account = settings.at(address, token, fingerprint, Path(ca) if ca else None) if address else settings.load()
        return cls(PyroLink(way_to(account), account.token))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Hang up."""
        self._link.close()
