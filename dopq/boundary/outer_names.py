"""Our name at somebody else's nameserver, a stock one. What it answers is a hint: who we are, our certificate says."""

from __future__ import annotations

import socket

from dopq.errors import DopqError, OperatorError
from dopq.protocol.channel import Channel
from dopq.protocol.stream import Stream
from dopq.wire import ALIAS, CONTROLLER

TIMEOUT_S = 5.0


def register_outside(nameserver: str, address: str) -> None:
    """Register our names at `nameserver` (`HOST:PORT`) as leading to `address`.

    Raises:
        OperatorError: it does not answer, or refuses.
    """
    host, _, port = nameserver.rpartition(":")
    try:
        connected = socket.create_connection((host.strip("[]"), int(port)), TIMEOUT_S)
        channel = Channel(Stream(connected), "Pyro.NameServer", {}, TIMEOUT_S)
        try:
            for name in (CONTROLLER, ALIAS):
                channel.call("register", [name, f"PYRO:{CONTROLLER}@{address}"], {}, TIMEOUT_S)
        finally:
            channel.close()
    except (OSError, DopqError) as error:
        raise OperatorError(
            f"The external nameserver at {nameserver} does not take our name: {error}",
            'Start it, with msgpack installed beside its Pyro5, or set remote.nameserver = "".',
        ) from error
