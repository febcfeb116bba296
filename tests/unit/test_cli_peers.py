"""`dopq peer`: what the owner says of other nodes, and the table of P2PRC."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from dopq.cli import main
from dopq.config import NodeSettings, Paths
from dopq.errors import UserError
from dopq.peers.choices import ChoicesFile
from dopq.peers.p2prc import seeds_of
from dopq.peers.table_file import load, save
from tests.neighbours import Hands, certificate, neighbourhood, record


@pytest.fixture
def paths(tmp_path: Path) -> Paths:
    (tmp_path / "config.toml").write_text('[peers]\nseeds = ["gpu0"]\n')
    made = Paths(tmp_path, NodeSettings())
    made.make()
    return made


def dopq(paths: Paths, *words: str, stdin: str | None = None) -> Result:
    return CliRunner().invoke(main, ["peer", *words, "--config", str(paths.root / "config.toml")], input=stdin)


def choices(paths: Paths) -> ChoicesFile:
    return ChoicesFile(paths.peers / "choices.json")


def test_seeds_are_added_once_and_removed(paths: Paths) -> None:
    assert dopq(paths, "add", "gpu1", "[2001:db8::7]:9090", "gpu1").exit_code == 0
    assert dopq(paths, "add", "gpu1").exit_code == 0
    assert choices(paths).read().seeds == ["gpu1", "[2001:db8::7]:9090"]
    assert dopq(paths, "remove", "gpu1").exit_code == 0
    assert json.loads(dopq(paths, "list", "--json").stdout)["seeds"] == ["gpu0", "[2001:db8::7]:9090"]
    assert dopq(paths, "remove", "gpu1").exit_code == 3


@pytest.mark.parametrize("address", ["", "a b", "unix:/run/x", "http://gpu1", "gpu1:port", "gpu1\n"])
def test_what_is_no_address_is_not_added(paths: Paths, address: str) -> None:
    assert dopq(paths, "add", address).exit_code == 2
    assert choices(paths).read().seeds == []


def test_only_a_certificate_that_was_shown_can_be_trusted_by_name(paths: Paths) -> None:
    ours = neighbourhood(0, Hands())
    ours.hear([record(1)])
    save(paths.peers / "table.json", ours.known)
    assert dopq(paths, "trust", "gpu1").exit_code == 3, "that is hearsay"
    ours.meet(record(1), "gpu1", certificate(1))
    save(paths.peers / "table.json", ours.known)
    assert dopq(paths, "trust", "gpu1", stdin="n\n").exit_code == 1
    assert choices(paths).read().trusted == {}
    said = dopq(paths, "trust", "gpu1", stdin="y\n")
    assert certificate(1) in said.output
    assert choices(paths).read().trusted == {certificate(1): "gpu1"}
    assert "trusted" in dopq(paths, "list").stdout
    assert dopq(paths, "untrust", "gpu1").exit_code == 0
    assert choices(paths).read().trusted == {}
    assert dopq(paths, "untrust", "gpu1").exit_code == 3


def test_a_fingerprint_can_be_trusted_before_its_node_is_known(paths: Paths) -> None:
    assert dopq(paths, "trust", "gpu1", "--fingerprint", certificate(1).lower()).exit_code == 0
    assert choices(paths).read().trusted == {certificate(1): "gpu1"}
    assert "no node shows that certificate" in dopq(paths, "list").stdout
    assert dopq(paths, "trust", "gpu1", "--fingerprint", "AB:CD").exit_code == 2


def test_metadata_is_said_and_taken_back(paths: Paths) -> None:
    assert dopq(paths, "metadata", "lab=west", "rack=3").stdout == "lab=west\nrack=3\n"
    assert dopq(paths, "metadata", "rack=").stdout == "lab=west\n"
    for wrong in ("lab", "Lab=x", "lab=\x1b[2J", f"lab={'x' * 129}", "lab=\u202ex"):
        assert dopq(paths, "metadata", wrong).exit_code == 2
    assert choices(paths).read().metadata == {"lab": "west"}


def test_a_damaged_file_trusts_nobody_and_says_so(paths: Paths) -> None:
    (paths.peers / "choices.json").write_text('{"trusted": 5}')
    said = dopq(paths, "list")
    assert said.exit_code == 2
    assert "cannot be read" in said.output


def test_the_table_outlives_a_restart_and_a_damaged_one_is_passed_over(paths: Paths) -> None:
    ours = neighbourhood(0, Hands())
    ours.hear([record(1), record(2)])
    ours.remove(record(2).node_id)
    file = paths.peers / "table.json"
    save(file, ours.known)
    assert load(file) == ours.known
    for damage in ("", "[]", "{", '{"records": [["{}", "00"]], "contacts": {}, "tombstones": {}}'):
        file.write_text(damage)
        assert load(file).table == {}
    forged = json.loads(
        json.dumps({"records": [[record(1).body.decode(), bytes(64).hex()]], "contacts": {}, "tombstones": {}})
    )
    file.write_text(json.dumps(forged))
    assert load(file).table == {}


OLD = {"ip_address": [{"ipv4": "192.0.2.9", "latency": 139109233, "download": 6.3, "upload": 896786.5}]}
NEW = {
    "ip_address": [
        {"Name": "x", "IPV4": "192.0.2.8", "IPV6": "2001:db8::8", "Latency": 1, "ServerPort": "8088", "NAT": False},
        {"Name": "y", "IPV4": "0.0.0.0", "IPV6": "", "ServerPort": "8088"},
        {"IPV4": "127.0.0.1"},
        {"IPV4": "192.0.2.8"},
    ]
}


def test_a_table_of_p2prc_tells_whom_to_ask(paths: Paths, tmp_path: Path) -> None:
    assert seeds_of(json.dumps(OLD).encode()) == (["192.0.2.9"], [])
    seeds, refused = seeds_of(json.dumps(NEW).encode())
    assert seeds == ["2001:db8::8", "192.0.2.8"]
    assert len(refused) == 2
    file = tmp_path / "ip_table.json"
    file.write_text(json.dumps(NEW))
    assert dopq(paths, "import", str(file)).exit_code == 0
    assert choices(paths).read().seeds == seeds


@pytest.mark.parametrize("table", [b"", b"[]", b"{}", b'{"ip_address": 5}', b'{"ip_address": [5]}', b"[" * 100_000])
def test_what_is_no_table_of_p2prc_is_said_to_be_none(table: bytes) -> None:
    with pytest.raises(UserError, match="no ip_table"):
        seeds_of(table)
