"""`dopq-client nodes`: what people and programs are told of the lab's nodes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from dopq.peers.record import Specs
from dopq_client import cli
from dopq_client.session import Session
from tests.in_memory_node import InMemoryNode
from tests.neighbours import certificate, key, record

SPECS: dict[str, Any] = {
    "hostname": "gpu2.lab", "platform": "Linux", "cpu_model": "EPYC", "cpus": 64, "memory_mib": 512 * 1024, "disk_mib": 1000,
    "disk_free_mib": 500, "driver": "560.1", "free_gpus": 1, "queue_length": 3, "expected_wait_s": 7200,
    "gpus": [{"model": "H200", "memory_mib": 143_000, "temperature_c": 41, "free": True}, {"model": "H200", "free": False}],
}  # fmt: skip


@pytest.fixture
def node(tmp_path: Path) -> Iterator[InMemoryNode]:
    node = InMemoryNode(tmp_path)
    ours = node.controller.nodes
    ours.neighbourhood.hear([record(1), record(2, specs=Specs(**SPECS), metadata={"lab": "west"})])
    ours.neighbourhood.meet(record(2, specs=Specs(**SPECS), metadata={"lab": "west"}), "gpu2", certificate(2))
    ours.measures.latency(key(2).node_id, 0.0042, ours.now())
    yield node
    node.close()


@pytest.fixture
def run(node: InMemoryNode, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("DOPQ_HOST", "gpu1:9090")
    monkeypatch.setenv("DOPQ_TOKEN", node.tokens["anna"])

    def run(*words: str) -> Result:
        session = Session(open=lambda _: node.link(node.tokens["anna"]))
        return CliRunner(env={"COLUMNS": "120"}).invoke(cli.main, ["nodes", *words], obj=session)

    return run


def test_the_nearest_node_comes_first_after_this_one(run: Any) -> None:
    lines = run().stdout.splitlines()
    assert [line.split()[0] for line in lines] == ["NODE", "gpu0", "gpu2", "gpu1"]
    assert lines[2].split("  ")[0] == "gpu2"
    for told in ("alive", "4.2 ms", "2 x H200", "2 h"):
        assert told in lines[2]


def test_programs_are_told_the_same(run: Any) -> None:
    nodes = json.loads(run("--json").stdout)["nodes"]
    assert [node["name"] for node in nodes] == ["gpu0", "gpu2", "gpu1"]
    assert nodes[0]["is_self"]
    assert nodes[0]["nameserver"] == "127.0.0.1:9090"
    assert nodes[1]["nameserver"] == "192.0.2.2:9090"
    assert nodes[1]["specs"]["gpus"][0]["temperature_c"] == 41
    assert {"node_id", "name", "version", "nameserver", "incarnation", "sequence"} <= set(nodes[2])


@pytest.mark.parametrize("reference", ["gpu2", key(2).node_id, key(2).node_id[:6]])
def test_one_node_is_shown_by_name_or_id(run: Any, reference: str) -> None:
    shown = run("show", reference).stdout
    for told in (
        "gpu2.lab",
        "64 x EPYC",
        "512.0 GiB",
        "560.1",
        "41 °C",
        "west",
        "not measured",
        "a new one would wait 2 h",
    ):
        assert told in shown


def test_an_unknown_node_is_not_found(run: Any) -> None:
    assert run("show", "gpu9").exit_code == 3
    assert run("speed", "gpu9").exit_code == 3


def test_two_nodes_of_one_name_are_told_apart_by_their_ids(node: InMemoryNode, run: Any) -> None:
    node.controller.nodes.neighbourhood.hear([record(3, name="gpu2")])
    assert run("show", "gpu2").exit_code == 2
    assert run("show", key(3).node_id).exit_code == 0


def test_a_node_without_network_has_nobody_to_ask(run: Any) -> None:
    refreshed = run("refresh", "--hops", "2")
    assert refreshed.exit_code == 0
    assert "Asked 0" in refreshed.stderr
    assert run("speed", "gpu2").exit_code == 4


def test_the_addresses_of_the_node_are_shown(run: Any) -> None:
    assert run("interfaces").stdout == "192.0.2.0\n"
