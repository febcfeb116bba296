"""Nodes that know each other, each a process in a network namespace of its own, over TLS and a switch between them.

Needs root and iproute2 (`ip`); namespaces, cables and the switch are made here, and removed.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from dopq import certificate_folder
from dopq.config import NodeSettings, Paths
from tests.waiting import wait_until

ROUND_S = 1.0
PORT = 9090


def ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True, timeout=30)


@dataclass
class Machine:
    """A node, and the network namespace that is its machine."""

    name: str
    address: str
    cable: str
    folder: Path
    process: subprocess.Popen[str] | None = None

    def start(self) -> None:
        with (self.folder / "log").open("a") as log:
            self.process = subprocess.Popen(
                ["ip", "netns", "exec", self.name, sys.executable, "-m", "tests.peer_process", str(self.folder)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                cwd=Path(__file__).parents[2],
            )
        assert "node_id" in self._line(), (self.folder / "log").read_text()

    def ask(self, *words: str) -> Any:
        assert self.process
        assert self.process.stdin
        self.process.stdin.write(" ".join(words) + "\n")
        self.process.stdin.flush()
        return json.loads(self._line())

    def _line(self) -> str:
        assert self.process
        assert self.process.stdout
        return self.process.stdout.readline()

    def versions(self) -> dict[str, tuple[int, int]]:
        return {node["name"]: (node["incarnation"], node["sequence"]) for node in self.ask("nodes")}

    def metadata(self, key: str) -> dict[str, str]:
        return {node["name"]: node["metadata"][key] for node in self.ask("nodes") if key in node["metadata"]}

    def states(self) -> dict[str, str]:
        return {node["name"]: node["state"] for node in self.ask("nodes")}

    def end(self) -> None:
        if self.process and self.process.poll() is None:
            os.kill(self.process.pid, signal.SIGCONT)
            self.process.kill()
        if self.process:
            self.process.wait(10)
            for pipe in (self.process.stdin, self.process.stdout):
                if pipe:
                    pipe.close()


MakeMachines = Callable[..., list[Machine]]


@pytest.fixture
def machines(tmp_path: Path) -> Iterator[MakeMachines]:
    """Makes so many machines on one switch; the first is the seed of all others."""
    unique = uuid.uuid4().hex[:5]
    switch = f"dq{unique}sw"
    ip("netns", "add", switch)
    namespaces, made = [switch], list[Machine]()
    ip("-n", switch, "link", "add", "sw", "type", "bridge")
    ip("-n", switch, "link", "set", "sw", "up")
    lab = Paths(tmp_path / "lab", NodeSettings())
    now = datetime.now(UTC)
    certificate_folder.begin(lab, "lab", ["192.0.2.250"], now)

    def make(count: int, *settings: str) -> list[Machine]:
        for number in range(1, count + 1):
            name, address = f"dq{unique}n{number}", f"192.0.2.{number}"
            ip("netns", "add", name)
            namespaces.append(name)
            ip("link", "add", "eth0", "netns", name, "type", "veth", "peer", "name", f"port{number}", "netns", switch)
            ip("-n", switch, "link", "set", f"port{number}", "master", "sw", "up")
            ip("-n", name, "addr", "add", f"{address}/24", "dev", "eth0")
            ip("-n", name, "link", "set", "eth0", "up")
            ip("-n", name, "link", "set", "lo", "up")
            folder = tmp_path / f"gpu{number}"
            folder.mkdir()
            seeds = '["192.0.2.1"]' if number > 1 else "[]"
            (folder / "config.toml").write_text(
                f'[node]\nname = "gpu{number}"\n[remote]\nhost = "{address}"\nport = {PORT}\ntls = true\n'
                f"[peers]\nseeds = {seeds}\nround_s = {ROUND_S}\nheartbeat_s = 5\n" + "\n".join(settings)
            )
            pem = certificate_folder.issue(lab, f"gpu{number}", [address], now)
            certificate_folder.install(Paths(folder, NodeSettings()), pem, "gpu.pem", now)
            made.append(Machine(name, address, f"port{number}", folder))
        return made

    yield make
    for machine in made:
        machine.end()
    for namespace in namespaces:
        ip("netns", "del", namespace)


def agree(nodes: list[Machine]) -> bool:
    """Whether all know all, and the same of each but for a heartbeat that is under way."""
    tables = [node.versions() for node in nodes]
    return all(table == tables[0] for table in tables) and len(tables[0]) == len(nodes)


def told(nodes: list[Machine], key: str, value: str) -> bool:
    return all(value in node.metadata(key).values() for node in nodes)


def test_five_nodes_learn_of_each_other_from_one_seed_and_what_one_says_reaches_all(machines: MakeMachines) -> None:
    nodes = machines(5)
    for node in nodes:
        node.start()
    wait_until(lambda: all(len(node.versions()) == 5 for node in nodes), 30.0)
    wait_until(lambda: agree(nodes), 30.0)
    nodes[3].ask("say", "lab", "west")
    wait_until(lambda: told(nodes, "lab", "west"), 15.0)
    wait_until(lambda: all(it["latency_s"] is not None for it in nodes[0].ask("nodes")), 15.0)
    assert {it["name"]: it["state"] for it in nodes[0].ask("nodes")} == {f"gpu{n}": "alive" for n in range(1, 6)}
    assert nodes[4].ask("refresh", "2") == {"asked": 4, "answered": 4, "nodes": 5}


def test_a_partition_heals_within_three_rounds(machines: MakeMachines) -> None:
    nodes = machines(5)
    switch = nodes[0].name.split("n")[0] + "sw"
    for node in nodes:
        node.start()
    wait_until(lambda: all(len(node.versions()) == 5 for node in nodes), 30.0)
    ip("-n", switch, "link", "add", "sw2", "type", "bridge")
    ip("-n", switch, "link", "set", "sw2", "up")
    for node in nodes[3:]:
        ip("-n", switch, "link", "set", node.cable, "master", "sw2")
    nodes[0].ask("say", "side", "three")
    nodes[4].ask("say", "side", "two")
    wait_until(lambda: told(nodes[:3], "side", "three") and told(nodes[3:], "side", "two"), 20.0)
    wait_until(lambda: nodes[0].states()["gpu5"] != "alive" and nodes[4].states()["gpu1"] != "alive", 30.0)
    assert not told(nodes[3:], "side", "three")
    for node in nodes[3:]:
        ip("-n", switch, "link", "set", node.cable, "master", "sw")
    begun = time.monotonic()
    wait_until(lambda: told(nodes, "side", "three") and told(nodes, "side", "two"), 20.0)
    healed_s = time.monotonic() - begun
    # A round takes at most its period, the pause after it, and a call that hangs since before (3 s).
    assert healed_s < 3 * (ROUND_S + 1.0) + 3.0, healed_s


def test_a_node_that_hangs_delays_nobody(machines: MakeMachines) -> None:
    nodes = machines(4)
    for node in nodes:
        node.start()
    wait_until(lambda: all(len(node.versions()) == 4 for node in nodes), 30.0)
    hung = nodes[3].process
    assert hung
    os.kill(hung.pid, signal.SIGSTOP)
    begun = time.monotonic()
    nodes[0].ask("say", "lab", "west")
    wait_until(lambda: told(nodes[:3], "lab", "west"), 15.0)
    assert time.monotonic() - begun < 4.0, "no longer than without it"
    walked = nodes[1].ask("refresh", "1")
    assert (walked["asked"], walked["answered"]) == (3, 2)
    wait_until(lambda: nodes[0].states()["gpu4"] != "alive", 30.0)


def test_speed_is_measured_with_trusted_nodes_alone_and_trust_is_one_way(machines: MakeMachines) -> None:
    one, two = machines(2)
    for node in (one, two):
        node.start()
    wait_until(lambda: all(len(node.versions()) == 2 for node in (one, two)), 30.0)
    fingerprints = {it["name"]: it["certificate"] for it in one.ask("nodes")}
    assert one.ask("speed", "gpu2")["error"] == "not_allowed"
    one.ask("trust", fingerprints["gpu2"])
    one.ask("speed", "gpu2")
    wait_until(lambda: "does not trust gpu1" in (one.folder / "log").read_text(), 10.0)
    two.ask("trust", fingerprints["gpu1"])
    wait_until(lambda: "error" not in one.ask("speed", "gpu2"), 10.0)
    wait_until(lambda: one.ask("nodes")[1]["to_bytes_per_s"] is not None, 20.0)
    assert one.ask("nodes")[1]["from_bytes_per_s"] > 1e6


def test_a_node_with_a_certificate_of_another_lab_is_no_peer(machines: MakeMachines, tmp_path: Path) -> None:
    one, two = machines(2)
    other, now = Paths(tmp_path / "other", NodeSettings()), datetime.now(UTC)
    certificate_folder.begin(other, "gpu2", [two.address], now)
    theirs = Paths(two.folder, NodeSettings()).certificates
    for file in ("node.pem", "node.key", "ca.pem"):
        (theirs / file).write_bytes((other.certificates / file).read_bytes())
    one.start()
    two.start()
    assert two.ask("refresh", "1")["nodes"] == 1
    time_up = time.monotonic() + 4
    wait_until(lambda: time.monotonic() > time_up, 10.0)
    assert set(one.versions()) == {"gpu1"}
    assert set(two.versions()) == {"gpu2"}
