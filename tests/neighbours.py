"""Nodes that know each other, without a network: their records, and what each knows."""

from __future__ import annotations

import hashlib
import threading
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from dopq.peers.addresses import Reach
from dopq.peers.choices import ChoicesFile
from dopq.peers.liveness import Patience
from dopq.peers.measures import Measures
from dopq.peers.neighbourhood import Known, Neighbourhood
from dopq.peers.node_key import NodeKey
from dopq.peers.peers import Peers
from dopq.peers.record import Facts, NodeRecord, signed

START = 1_800_000_000.0
PORT = 9090


class Hands:
    """A clock, in seconds since 1970, whose hands are turned."""

    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> float:
        return self.now


def key(number: int) -> NodeKey:
    """The key of the node with that number, always the same."""
    return NodeKey(hashlib.sha256(f"node {number}".encode()).digest())


def certificate(number: int) -> str:
    """The fingerprint of its certificate."""
    return hashlib.sha256(f"certificate {number}".encode()).digest().hex(":").upper()


def address(number: int) -> str:
    """Its address."""
    return str(ip_address("192.0.2.0") + number)


def facts(number: int, **changed: Any) -> Facts:
    """What it says of itself."""
    said: dict[str, Any] = {
        "key": key(number).public.hex(),
        "name": f"gpu{number}",
        "version": "2.0.0",
        "addresses": [address(number)],
        "port": PORT,
        "certificate": certificate(number),
        "incarnation": 1,
        "sequence": 0,
        "issued_at": int(START),
    }
    return Facts(**(said | changed))


def record(number: int, **changed: Any) -> NodeRecord:
    """Its record."""
    return signed(facts(number, **changed), key(number))


def neighbourhood(number: int, now: Hands, kept: Known | None = None, **patience: float) -> Neighbourhood:
    """What it knows: itself, and what was kept."""
    return Neighbourhood(key(number), facts(number), Reach(port=PORT), Patience(**patience), now, kept)


def lone(folder: Path) -> Peers:
    """The peers of a node that has none."""
    now = Hands()
    choices = ChoicesFile(folder / "choices.json")
    return Peers(neighbourhood(0, now), choices, Measures(), None, now, lambda: "127.0.0.1:9090", threading.Lock())
