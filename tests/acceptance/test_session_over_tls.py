"""A whole session over TLS between two machines: the node in one network namespace, a user's commands in another.

Needs root and iproute2 (`ip`); the namespaces and the cable between them are made here, and removed.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tomllib
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.acceptance.conftest import MakeBundle
from tests.node_process import MakeNode, NodeProcess
from tests.terminal import Terminal

HERE, THERE = "192.0.2.1", "192.0.2.2"  # TEST-NET-1, RFC 5737: nobody's
PASSWORD = "correct horse battery"


def ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True, timeout=30)


@dataclass(frozen=True)
class Machine:
    """A network namespace: a machine of its own, as far as its network goes."""

    namespace: str

    @property
    def prefix(self) -> tuple[str, ...]:
        return ("ip", "netns", "exec", self.namespace)


@pytest.fixture
def machines() -> Iterator[tuple[Machine, Machine]]:
    """Two machines with a cable between them: that of the node (HERE), and a user's (THERE)."""
    unique = uuid.uuid4().hex[:6]
    names = [f"dopq-{unique}-{end}" for end in ("node", "user")]
    made: list[str] = []
    try:
        for name in names:
            ip("netns", "add", name)
            made.append(name)
        cable = (f"dq{unique}a", f"dq{unique}b")
        ip("link", "add", cable[0], "netns", names[0], "type", "veth", "peer", "name", cable[1], "netns", names[1])
        for name, end, address in zip(names, cable, (HERE, THERE), strict=True):
            ip("-n", name, "addr", "add", f"{address}/24", "dev", end)
            ip("-n", name, "link", "set", end, "up")
            ip("-n", name, "link", "set", "lo", "up")
        yield Machine(names[0]), Machine(names[1])
    finally:
        for name in made:
            ip("netns", "del", name)


@pytest.fixture
def tls_node(make_node: MakeNode, machines: tuple[Machine, Machine]) -> NodeProcess:
    node = make_node(f"remote.host={HERE}", "remote.tls=true", "remote.socket=off", prefix=machines[0].prefix)
    made = node.dopq("cert", "init", "--host", HERE)
    assert made.returncode == 0, made.stderr
    node.start()
    return node


@dataclass(frozen=True)
class Desk:
    """A user's machine: `dopq-client` with settings of its own."""

    machine: Machine
    folder: Path

    @property
    def environment(self) -> dict[str, str]:
        nothing = dict.fromkeys(("DOPQ_HOST", "DOPQ_TOKEN", "DOPQ_SOCKET", "DOPQ_PROFILE"), "")
        return {"XDG_CONFIG_HOME": str(self.folder), "NO_COLOR": "1", **nothing}

    def __call__(self, *words: str, stdin: str = "", **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*self.machine.prefix, sys.executable, "-m", "dopq_client.cli", *words],
            input=stdin,
            env=os.environ | self.environment | environment,
            capture_output=True,
            text=True,
            timeout=90,
            check=False,
        )

    def done(self, *words: str, stdin: str = "") -> str:
        """Run a command that has to succeed; its stdout."""
        result = self(*words, stdin=stdin)
        assert result.returncode == 0, result.stdout + result.stderr
        return result.stdout

    def at_terminal(self, *words: str) -> Terminal:
        return Terminal(*words, environment=self.environment, prefix=self.machine.prefix)


def fingerprint_of(node: NodeProcess) -> str:
    """As the admin reads it off the node."""
    told = json.loads(node.dopq("cert", "show", "--json").stdout)
    return str(next(each["fingerprint"] for each in told["certificates"] if not each["is_authority"]))


def test_a_whole_session_over_tls_between_two_machines(
    tls_node: NodeProcess, machines: tuple[Machine, Machine], bundle: MakeBundle, tmp_path: Path
) -> None:
    node, address, pin = tls_node, f"{HERE}:{tls_node.port}", fingerprint_of(tls_node)
    user = Desk(machines[1], tmp_path / "desk")
    login = ("login", address, "--user", "anna", "--password-stdin", "--fingerprint")

    # In: nobody is let in before an admin has looked, and nobody is believed to be the node without its certificate.
    asked = user.done(
        "register", address, "--fingerprint", pin, "--user", "anna", "--email", "anna@example.org", "--password-stdin",
        stdin=PASSWORD,
    )  # fmt: skip
    assert "dopq user approve anna" in asked
    assert user(*login, pin, stdin=PASSWORD).returncode == 4
    approved = node.dopq("user", "approve", "anna")
    assert approved.returncode == 0, approved.stderr
    imposter = user(*login, pin[:-2] + ("00" if pin[-2:] != "00" else "11"), stdin=PASSWORD)
    assert imposter.returncode == 2
    assert "Nothing was sent" in imposter.stderr
    assert f"Logged in as anna at {address}" in user.done(*login, pin, stdin=PASSWORD)
    assert "over TLS" in user.done("whoami")

    [own] = json.loads(user.done("nodes", "--json"))["nodes"]
    assert (own["name"], own["addresses"], own["certificate"]) == ("lab1", [HERE], pin)
    assert own["specs"]["cpus"]
    assert own["incarnation"] == 1

    # In the clear, nothing leaves the machine.
    stranger = Desk(machines[1], tmp_path / "stranger")
    refused = stranger("whoami", DOPQ_HOST=address, DOPQ_TOKEN="secret")
    assert refused.returncode == 2
    assert "on another machine" in refused.stderr

    # A job, from its bundle to its results.
    script = "n=0; while test $n -lt 20; do echo line $n; n=$((n+1)); sleep 0.1; done; echo 42 > /output/answer.txt"
    made = bundle("train.zip", script, {"input/noise.bin": os.urandom(3_000_000)}, name="training")
    with user.at_terminal("submit", str(made)) as terminal:
        terminal.expect("Sending train.zip")
        assert terminal.end(60) == 0, terminal.shown
        assert "was taken" in terminal.shown
    log = user.done("logs", "-f", "@")
    assert log.splitlines() == [f"line {n}" for n in range(20)]
    user.done("wait", "@", "--timeout", "60")
    results = tmp_path / "results"
    user.done("fetch", "@", "-o", str(results))
    assert (results / "output" / "answer.txt").read_text() == "42\n"

    # Out: the token is dead, also for whoever has kept it.
    token = tomllib.loads((user.folder / "dopq" / "client.toml").read_text())["token"]
    thief = {"DOPQ_HOST": address, "DOPQ_FINGERPRINT": pin, "DOPQ_TOKEN": token}
    assert stranger("whoami", **thief).returncode == 0
    assert user.done("logout") == "Logged out.\n"
    dead = stranger("whoami", **thief)
    assert dead.returncode == 4
    assert "was ended" in dead.stderr
    assert user("status").returncode == 4

    assert node.stop() == 0, node.log
    assert token not in node.log
    assert PASSWORD not in node.log
    assert "Traceback" not in node.log


def test_a_node_that_listens_on_ipv6_is_reached_there(
    make_node: MakeNode, machines: tuple[Machine, Machine], tmp_path: Path
) -> None:
    here, there = machines
    for machine, address in ((here, "2001:db8::1"), (there, "2001:db8::2")):  # RFC 3849
        links = json.loads(
            subprocess.run(
                ["ip", "-n", machine.namespace, "-j", "link", "show", "type", "veth"],
                check=True, capture_output=True, timeout=30,
            ).stdout
        )  # fmt: skip
        ip("-n", machine.namespace, "addr", "add", f"{address}/64", "dev", links[0]["ifname"], "nodad")
    node = make_node("remote.host=2001:db8::1", "remote.tls=true", "remote.socket=off", prefix=here.prefix)
    assert node.dopq("cert", "init", "--host", "2001:db8::1").returncode == 0
    ca = node.state / "certificates" / "ca.pem"
    node.start()
    added = node.dopq("user", "add", "bert", "--json")
    user = Desk(there, tmp_path / "desk")
    address = f"[2001:db8::1]:{node.port}"
    user.done("login", address, "--token-stdin", "--ca", str(ca), stdin=json.loads(added.stdout)["token"])
    assert f"bert (user, weight 1) at {address}, over TLS" in user.done("whoami")
    assert node.stop() == 0, node.log
