"""How quick the boundary is: calls over a Unix socket, TCP and TLS, beside plain Pyro5 and the serializer alone.

    .venv/bin/python benchmarks/boundary.py [--json] [--rounds 5]

Needs neither an engine nor root. Each server runs in a process of its own; the same caller (this process) asks them in
turns, one connection each. Plain Pyro5 is as it comes (a thread pool, msgpack, TCP_NODELAY on), and guards nothing.
"""

# ruff: noqa: E402 - what of the checkout is not installed is found by the path that is set first

from __future__ import annotations

import argparse
import json
import multiprocessing
import socket
import ssl
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from statistics import median, quantiles
from typing import Any

import msgpack

CHECKOUT = Path(__file__).resolve().parents[1]
sys.path[:1] = [str(CHECKOUT)]  # instead of this folder, whose queue.py is not the library's

from dopq import certificate_folder
from dopq.access import Access, remote
from dopq.boundary import Boundary
from dopq.boundary.doors import Tls
from dopq.caller import Caller
from dopq.config import NodeSettings, Paths, RemoteSettings
from dopq.protocol.channel import MAX_REPLY_ITEMS, MAX_REPLY_LENGTH, Channel
from dopq.protocol.plain import pack, unpack
from dopq.protocol.stream import Stream
from dopq.tls import peer_name, server_context
from dopq.users import Role, User
from dopq.wire import CONTROLLER

JOB: dict[str, Any] = {
    "id": 4711, "name": "resnet-cifar", "user": "anna", "state": "queued", "kind": "batch", "node": "lab1",
    "num_gpus": 1, "num_slots": 1, "gpus": [], "memory_bytes": 17179869184, "submitted_at": "2026-03-01T12:00:00.000Z",
    "queued_at": "2026-03-01T12:00:05.000Z", "started_at": None, "finished_at": None, "exit_code": None,
    "reason": {"code": "gpus", "sentence": "needs 1 GPU, 0 free"}, "position": 17,
    "eta": {"p10": 1200.0, "p50": 3400.0, "p90": 9100.0}, "penalty": 123456.789, "gpu_seconds": 0.0,
    "image": "sha256:" + "0" * 64, "group": None, "problems": [], "bundle": "resnet.zip", "seq": 99182,
}  # fmt: skip
SIZES = {"a greeting": 0, "a list of 100 jobs": 100, "a list of 10,000 jobs": 10_000}
CALLS = {0: 400, 100: 100, 10_000: 4}
"""How many calls a round makes."""
WAYS = ("unix", "tcp", "tls")
TIMEOUT_S = 30.0


class Desk:
    """What both kinds of server serve."""

    @remote(Access.USER)
    def jobs(self, caller: User, count: int) -> list[dict[str, Any]]:  # noqa: ARG002 - all may
        """So many jobs."""
        return [JOB] * count


def ours(folder: Path, lab: Path, ready: Any) -> None:
    """A guarded boundary on all three ways, until killed."""
    user = User("anna", Role.USER, 1.0, None, datetime.now(UTC))  # type: ignore[arg-type, call-arg]
    paths = Paths(lab, NodeSettings())
    boundaries = [
        Boundary(
            Desk(),  # type: ignore[arg-type]
            RemoteSettings(port=0, calls_per_s=1e9),
            identify=lambda evidence, _token: Caller(user, evidence.address),
            audit=lambda *_: None,
            tls=Tls(server_context(paths), peer_name) if tls else None,
            socket=None if tls else folder / "ours",
        )
        for tls in (False, True)
    ]
    for boundary in boundaries:
        boundary.start()
    ready.put({"unix": str(folder / "ours"), "tcp": boundaries[0].address, "tls": boundaries[1].address})
    time.sleep(3600)


def plain_pyro5(folder: Path, lab: Path, ready: Any, way: str) -> None:
    """Pyro5's own daemon on one way, until killed."""
    import Pyro5.api

    Pyro5.config.SERIALIZER = "msgpack"
    Pyro5.config.SERVERTYPE = "thread"
    if way == "tls":
        Pyro5.config.SSL = True
        Pyro5.config.SSL_SERVERCERT = str(lab / "state/certificates/node.pem")
        Pyro5.config.SSL_SERVERKEY = str(lab / "state/certificates/node.key")

    @Pyro5.api.expose
    class Plain:
        def jobs(self, count: int) -> list[dict[str, Any]]:
            """So many jobs."""
            return [JOB] * count

    unix = str(folder / "pyro5") if way == "unix" else None
    daemon = Pyro5.api.Daemon(host=None if unix else "127.0.0.1", unixsocket=unix)
    daemon.register(Plain(), CONTROLLER)
    ready.put(unix or daemon.locationStr)
    daemon.requestLoop()


@contextmanager
def servers(folder: Path, lab: Path) -> Iterator[dict[tuple[str, str], str]]:
    """All servers running: their addresses by (kind, way)."""
    spawn = multiprocessing.get_context("spawn")
    with ExitStack() as stack:

        def started(*arguments: Any) -> Any:
            ready = spawn.Queue()
            function, *rest = arguments
            process = spawn.Process(target=function, args=(folder, lab, ready, *rest), daemon=True)
            process.start()
            stack.callback(process.join)
            stack.callback(process.kill)
            return ready.get(timeout=60)

        addresses = {("ours", way): address for way, address in started(ours).items()}
        addresses |= {("plain Pyro5", way): started(plain_pyro5, way) for way in WAYS}
        yield addresses


def connected(way: str, address: str, trusted: ssl.SSLContext) -> Channel:
    """The same caller for both kinds of server."""
    if way == "unix":
        client = socket.socket(socket.AF_UNIX)
        client.connect(address)
        return Channel(Stream(client), CONTROLLER, {}, TIMEOUT_S)
    host, _, port = address.rpartition(":")
    client = socket.create_connection((host, int(port)), TIMEOUT_S)
    client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    stream = Stream(client)
    if way == "tls":
        stream.secure(trusted, time.monotonic() + TIMEOUT_S, client_of="localhost")
    return Channel(stream, CONTROLLER, {}, TIMEOUT_S)


def timed(work: Callable[[], object], times: int) -> list[float]:
    """How long each of these took, in seconds."""
    taken = []
    for _ in range(times):
        began = time.perf_counter()
        work()
        taken.append(time.perf_counter() - began)
    return taken


Timings = dict[tuple[str, str, str], list[float]]
"""Seconds, by what was done, by whom, over which way."""


def measure(addresses: dict[tuple[str, str], str], trusted: ssl.SSLContext, rounds: int) -> Timings:
    """All timings, taken in turns."""
    taken = Timings()
    channels = {(who, way): connected(way, address, trusted) for (who, way), address in addresses.items()}
    for _ in range(rounds):
        for (who, way), address in addresses.items():
            connect = partial(connected, way, address, trusted)
            taken.setdefault(("connect", who, way), []).extend(timed(lambda connect=connect: connect().close(), 20))
        for what, count in SIZES.items():
            alone = timed(partial(through_the_serializer, pack([JOB] * count), count), CALLS[count])
            taken.setdefault((what, "our serializer alone", ""), []).extend(alone)
            bare = timed(partial(through_msgpack, [JOB] * count), CALLS[count])
            taken.setdefault((what, "msgpack alone", ""), []).extend(bare)
            for (who, way), channel in channels.items():
                calls = timed(partial(channel.call, "jobs", [count], {}, TIMEOUT_S), CALLS[count])
                taken.setdefault((what, who, way), []).extend(calls)
    for channel in channels.values():
        channel.close()
    return taken


def through_the_serializer(answer: bytes, count: int) -> None:
    """What both ends do with an answer at least."""
    pack([JOB] * count)
    unpack(answer, MAX_REPLY_ITEMS, MAX_REPLY_LENGTH)


def through_msgpack(jobs: list[dict[str, Any]]) -> None:
    """The same without any checks."""
    msgpack.unpackb(msgpack.packb(jobs))


def row(what: str, who: str, way: str, seconds: list[float]) -> dict[str, Any]:
    """One line of the table."""
    p50_s, p99_s = median(seconds), quantiles(seconds, n=100)[98]
    return {
        "what": what,
        "who": who,
        "way": way,
        "p50_ms": p50_s * 1e3,
        "p99_ms": p99_s * 1e3,
        "calls_per_s": 1 / p50_s,
    }


def main(arguments: list[str]) -> int:
    """Measure, and print a table or JSON."""
    parser = argparse.ArgumentParser(description="How quick the boundary is.")
    parser.add_argument("--json", action="store_true", help="JSON alone on standard output")
    parser.add_argument("--rounds", type=int, default=5, help="how often each is measured in turn (5)")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="dopq-bench-") as name:
        folder, lab = Path(name), Path(name) / "lab"
        lab.mkdir()
        certificate_folder.begin(Paths(lab, NodeSettings()), "lab1", [], datetime.now(UTC))
        trusted = ssl.create_default_context(cafile=str(lab / "state/certificates/ca.pem"))
        with servers(folder, lab) as addresses:
            taken = measure(addresses, trusted, options.rounds)
    rows = [row(*key, seconds) for key, seconds in taken.items()]
    if options.json:
        print(json.dumps({"rows": rows}))
        return 0
    order = ["connect", *SIZES]
    print(f"{'what':<22} {'who':<21} {'way':<5} {'p50':>10} {'p99':>10} {'calls/s':>9}")
    for line in sorted(rows, key=lambda line: (order.index(line["what"]), line["way"], line["who"])):
        print("{what:<22} {who:<21} {way:<5} {p50_ms:>7.2f} ms {p99_ms:>7.2f} ms {calls_per_s:>9.0f}".format(**line))
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
