"""How many rounds until all nodes of a lab agree, and how many bytes that takes: the node's own pure code, simulated.

    .venv/bin/python benchmarks/peers.py          # 20, 100 and 1,000 nodes; some minutes
    .venv/bin/python benchmarks/peers.py 20 100   # these alone; --json for programs

A message that is lost ends its exchange there. In one round every node begins its exchanges, in random order.
"""

from __future__ import annotations

import argparse
import hashlib
import math
import random
import statistics
import sys
from collections.abc import Callable
from ipaddress import ip_address
from typing import Any

from table import Row, show

from dopq.peers.addresses import Reach
from dopq.peers.exchange import differences, ids_to_wire, records_to_wire
from dopq.peers.liveness import Contact, Liveness, Patience
from dopq.peers.neighbourhood import Known, Neighbourhood
from dopq.peers.node_key import NodeKey
from dopq.peers.record import Facts, GpuSpecs, NodeRecord, Specs, signed
from dopq.peers.rounds import PARTNERS
from dopq.peers.table import summary, table_of
from dopq.protocol.frames import HEADER_BYTES
from dopq.protocol.plain import pack

START, ROUND_S, PORT = 1_800_000_000.0, 5.0, 9090
MOST_ROUNDS = 200
MOST_WITH_HEARTBEATS = 100
"""With more nodes, the signatures of all their heartbeats take this simulation hours."""
GPU = GpuSpecs(
    model="NVIDIA H200", memory_mib=143_771, memory_used_mib=0, utilisation_percent=0, temperature_c=41, free=True
)
SPECS = Specs(
    hostname="gpu.lab", platform="Linux-6.1-x86_64", cpu_model="EPYC 9654", cpus=192, memory_mib=1 << 20, gpus=[GPU] * 8
)
"""A large machine: its record is larger than most."""


class Lab:
    """Nodes that know each other, and the lines between them."""

    def __init__(self, count: int, loss: float, seed: int) -> None:
        self.now = START
        self.random = random.Random(seed)
        self.loss = loss
        self.bytes = 0
        self.dead: set[str] = set()
        self.keys = [NodeKey(hashlib.sha256(f"{seed} {number}".encode()).digest()) for number in range(count)]
        records = [signed(facts(number, self.keys[number]), self.keys[number]) for number in range(count)]
        table = table_of(records)
        contacts = {node: Contact(START, vouched=True) for node in table}
        self.nodes = [
            Neighbourhood(key, record.facts, Reach(port=PORT), Patience(), lambda: self.now, Known(table, contacts))
            for key, record in zip(self.keys, records, strict=True)
        ]
        self.by_id = {node.me: node for node in self.nodes}
        newest = [node.own for node in self.nodes]  # each is in its next life
        for node in self.nodes:
            node.hear(newest)

    def round(self) -> None:
        """One round of all nodes."""
        self.now += ROUND_S
        for node in self.random.sample(self.nodes, len(self.nodes)):
            if node.me not in self.dead:
                node.renew(node.own.facts)
                for partner in node.partners(PARTNERS, self.random):
                    self.exchange(node, partner)

    def exchange(self, caller: Neighbourhood, partner: NodeRecord) -> None:
        """What `dopq.peers.calling` and `dopq.controller.peers` do, without the wire."""
        called = self.by_id[partner.node_id]
        if partner.node_id in self.dead:
            caller.failed(partner.node_id)
            return
        own, told = caller.own, summary(caller.digest())
        if not self.arrives(records_to_wire([own]), told):
            caller.failed(partner.node_id)
            return
        called.meet(own, own.facts.name, own.facts.certificate)
        digest = called.compared(told)
        if not self.arrives(records_to_wire([called.own]), digest):
            caller.failed(partner.node_id)
            return
        caller.meet(called.own, called.own.facts.name, called.own.facts.certificate)
        found = differences(caller.table, digest)
        if not found:
            return
        ids = ids_to_wire(found.want)
        if self.arrives(records_to_wire(found.give), ids):
            called.hear(found.give)
            news = called.wanted(ids)
            if self.arrives(records_to_wire(news)):
                caller.hear(news)

    def arrives(self, *message: Any) -> bool:
        """Send a message; whether it arrives."""
        self.bytes += len(pack(list(message))) + HEADER_BYTES
        return self.random.random() >= self.loss

    def until(self, done: Callable[[], bool]) -> tuple[int, float]:
        """Rounds until it is so, and bytes a node and round."""
        self.bytes = 0
        for rounds in range(1, MOST_ROUNDS + 1):
            self.round()
            if done():
                return rounds, self.bytes / rounds / len(self.nodes)
        raise AssertionError("they never agreed")


def facts(number: int, key: NodeKey) -> Facts:
    """A node's facts."""
    return Facts(
        key=key.public.hex(),
        name=f"gpu{number}",
        version="2.0.0",
        addresses=[str(ip_address("10.0.0.1") + number)],
        port=PORT,
        certificate=hashlib.sha256(key.public).digest().hex(":").upper(),
        incarnation=1,
        sequence=0,
        issued_at=int(START),
        specs=SPECS,
    )


def joins(count: int, loss: float, seed: int) -> tuple[int, float]:
    """A node that knows one other comes into a lab of `count - 1`."""
    lab = Lab(count - 1, loss, seed)
    key = NodeKey(hashlib.sha256(f"{seed} new".encode()).digest())
    known = Known({lab.nodes[0].me: lab.nodes[0].own}, {lab.nodes[0].me: Contact(START)})
    new = Neighbourhood(key, facts(count, key), Reach(port=PORT), Patience(), lambda: lab.now, known)
    lab.nodes.append(new)
    lab.by_id[new.me] = new
    return lab.until(lambda: all(len(node.table) == count for node in lab.nodes))


def changes(count: int, loss: float, seed: int) -> tuple[int, float]:
    """One node has something new to say."""
    lab = Lab(count, loss, seed)
    one = lab.nodes[0]
    one.renew(one.own.facts.model_copy(update={"metadata": {"lab": "west"}}))
    return lab.until(lambda: all(node.table[one.me].facts.metadata for node in lab.nodes))


def dies(count: int, loss: float, seed: int) -> tuple[int, float]:
    """One node is gone: until nobody takes it for alive any more. Heartbeats go on, spread over their minute."""
    lab = Lab(count, loss, seed)
    for _ in range(12):  # until each has a heartbeat of its own
        for node in lab.random.sample(lab.nodes, max(1, count // 12)):
            node.begin_life(1)
        lab.round()
    gone = lab.nodes[0].me
    lab.dead.add(gone)
    rest = lab.nodes[1:]
    return lab.until(lambda: all(node.liveness(gone) is not Liveness.ALIVE for node in rest))


def main() -> int:
    """Print the table; the goal is what theory says of push-pull gossip, log2 n + ln n (Karp et al., 2000)."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("counts", nargs="*", type=int, default=[20, 100, 1000])
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    rows: list[Row] = []
    for count in options.counts:
        theory = math.log2(count) + math.log(count)
        for what in (joins, changes, *([dies] if count <= MOST_WITH_HEARTBEATS else [])):
            for loss in (0.0, 0.2):
                got = [what(count, loss, seed) for seed in range(max(1, 200 // count))]
                rounds = [number for number, _ in got]
                label = f"{count} nodes, one {what.__name__}, {loss:.0%} loss"
                size = statistics.fmean(size for _, size in got) / 1024
                note = f"{size:.1f} KiB a node and round; {len(got)} times"
                goal = None if what is dies else round(theory, 1)
                rows.append(Row(label, "rounds", statistics.median(rounds), max(rounds), goal, note))
    return show(rows, as_json=options.json)


if __name__ == "__main__":
    sys.exit(main())
