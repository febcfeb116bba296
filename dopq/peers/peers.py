"""The neighbourhood of a node as its controller sees it: what users are told of it, and what they may ask for."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass

from dopq.errors import DopqError, NotAllowed, NotFound, TryAgain, UserError
from dopq.peers.addresses import in_order
from dopq.peers.calling import Calling
from dopq.peers.choices import ChoicesFile
from dopq.peers.measures import Measured, Measures, speed_from, speed_to
from dopq.peers.neighbourhood import Neighbourhood, Now
from dopq.peers.record import NodeRecord
from dopq.peers.walk import walk
from dopq.utils.attempt import Attempt
from dopq.utils.log import logger
from dopq.wire import Plain

log = logger(__name__)

WALK_S = 4.0
"""A walk ends after so long: whoever asked for it waits."""


@dataclass(frozen=True, slots=True)
class Peers:
    """What a node knows of others, and how it asks them.

    `calling` is None on a node that listens on its own machine alone: it has no peers.
    """

    neighbourhood: Neighbourhood
    choices: ChoicesFile
    measures: Measures
    calling: Calling | None
    now: Now
    nameserver: Callable[[], str]
    measuring: threading.Lock

    def to_wire(self) -> list[Plain]:
        """Every node that is known, itself first, then the nearest first."""
        trusted = self.choices.read().trusted
        told = [self._node(record, trusted) for record in self.neighbourhood.table.values()]
        return sorted(told, key=_by_distance)

    def refresh(self, hops: int) -> Plain:
        """Ask all who are known, and whom they know, for so many hops: `asked`, `answered`, `nodes` known then."""
        ours = self.neighbourhood
        if self.calling is None:
            return {"asked": 0, "answered": 0, "nodes": len(ours.table)}
        walked = walk(lambda: ours.table, ours.me, self.calling.exchange, hops, WALK_S)
        return {"asked": walked.asked, "answered": walked.answered, "nodes": len(ours.table)}

    def begin_speed_test(self, reference: str) -> Plain:
        """Begin to measure the speed to and from a trusted node; its entry tells the result, within 15 s.

        Raises:
            NotFound: no such node is known.
            NotAllowed: it is not trusted here.
            TryAgain: another speed is being measured.
        """
        record = self.find(reference)
        if self.calling is None:
            raise _alone()
        if not self.trusts(record.facts.certificate):
            raise NotAllowed(
                f"{record.facts.name} is not trusted here.", f"The admin decides: dopq peer trust {record.facts.name}"
            )
        if not self.measuring.acquire(blocking=False):
            raise TryAgain("The speed to another node is being measured.", "Ask again in 15 seconds.")
        Attempt(lambda: self._measure_speed(record), f"speed-{record.facts.name}")
        return self._node(record, self.choices.read().trusted)

    def find(self, reference: str) -> NodeRecord:
        """The node that is meant, by name or by the beginning of its id.

        Raises:
            NotFound: there is none.
            UserError: there are several.
        """
        table = self.neighbourhood.table
        named = [record for record in table.values() if record.facts.name == reference]
        by_id = [record for node, record in table.items() if len(reference) >= 4 and node.startswith(reference)]
        match named or by_id:
            case [record]:
                return record
            case []:
                raise NotFound(f"No node {reference!r} is known.", "See all: dopq-client nodes")
            case several:
                ids = ", ".join(record.node_id[:8] for record in several)
                raise UserError(f"Several nodes are called {reference!r}: {ids}.", "Give the beginning of the id.")

    def trusts(self, certificate: str) -> bool:
        """Whether the node with that certificate may use this one."""
        return certificate in self.choices.read().trusted

    def _measure_speed(self, record: NodeRecord) -> None:
        try:
            assert self.calling
            with self.calling.talk(record) as conversation:
                there, back = speed_to(conversation), speed_from(conversation)
            self.measures.speed(record.node_id, there, back, self.now())
        except DopqError as error:
            log.warning("speed_not_measured", peer=record.facts.name, cause=str(error))
        finally:
            self.measuring.release()

    def _node(self, record: NodeRecord, trusted: dict[str, str]) -> Plain:
        facts, ours = record.facts, self.neighbourhood
        is_self = record.node_id == ours.me
        measured = Measured() if is_self else self.measures.of(record.node_id)
        addresses = list(in_order(facts.addresses))
        now = self.now()
        return {
            "node_id": str(record.node_id),
            "name": facts.name,
            "version": facts.version,
            "nameserver": self.nameserver() if is_self else _address(addresses, facts.port),
            "incarnation": facts.incarnation,
            "sequence": facts.sequence,
            "is_self": is_self,
            "state": str(ours.liveness(record.node_id)),
            "addresses": addresses,
            "port": facts.port,
            "certificate": facts.certificate,
            "is_trusted": facts.certificate in trusted,
            "heard_s": None if is_self else _age(ours.contact(record.node_id).heard_at or None, now),
            "latency_s": 0.0 if is_self else measured.latency_s,
            "latency_age_s": _age(measured.latency_at, now),
            "to_bytes_per_s": measured.to_bytes_per_s,
            "from_bytes_per_s": measured.from_bytes_per_s,
            "speed_age_s": _age(measured.speed_at, now),
            "metadata": facts.metadata,
            "specs": facts.specs.model_dump(mode="json"),
        }


def _by_distance(node: Plain) -> tuple[bool, bool, float, str]:
    latency_s = node["latency_s"]
    return not node["is_self"], latency_s is None, latency_s or 0.0, node["name"]


def _address(addresses: list[str], port: int) -> str | None:
    if not addresses:
        return None
    return f"[{addresses[0]}]:{port}" if ":" in addresses[0] else f"{addresses[0]}:{port}"


def _age(at: float | None, now: float) -> float | None:
    return None if at is None else max(0.0, now - at)


def _alone() -> NotAllowed:
    return NotAllowed(
        "This node listens on its own machine alone, so that it has no neighbours.",
        "Its admin can change that: remote.host and remote.tls in the settings.",
    )
