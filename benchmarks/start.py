#!/usr/bin/env python3
"""How quickly a node is back: killed with 8 jobs running, started again with 100,000 waiting in its journal.

    sudo .venv/bin/python benchmarks/start.py [--jobs 100000] [--rounds 5] [--json]

Real node, real engine, real journal. Timed is from the exec of `dopq serve` to the file that says that it answers,
and to the first page of the queue in a client's hands.
"""

# ruff: noqa: E402 - what of the checkout is not installed is found by the path that is set first

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psutil

CHECKOUT = Path(__file__).resolve().parents[1]
sys.path[:1] = [str(CHECKOUT), str(CHECKOUT / "scripts")]  # not this folder, whose `queue` is not the standard one

from benchmarks.bench_node import BASE, USER, resident, until
from benchmarks.table import Row, row_of, show
from dopq.container_handler.docker_engine import DockerEngine
from dopq.database import Database
from dopq.job import ImageId, Job, JobId, JobSpec, Queued, UserName, Work
from dopq.store import Journal
from dopq_client.client import DopqClient
from private_engine import PrivateEngine
from tests.acceptance.conftest import free_port
from tests.bundles import config, zip_of
from tests.conftest import root_with_busybox
from tests.node_process import NodeProcess

RUNNING, USERS = 8, 50
GOAL_S = 2.0
IMAGE = ImageId("sha256:" + "0" * 64)


def main(arguments: list[str]) -> int:
    """Measure everything, print a table or JSON; 1 when a goal was missed."""
    parser = argparse.ArgumentParser(description="How quickly a node is back.")
    parser.add_argument("--jobs", type=int, default=100_000, help="that wait (100000)")
    parser.add_argument("--rounds", type=int, default=5, help="starts (5)")
    parser.add_argument("--json", action="store_true", help="JSON alone on standard output")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="dopq-start-") as folder:
        return show(list(rows(Path(folder), options.jobs, options.rounds)), as_json=options.json)


def rows(folder: Path, jobs: int, rounds: int) -> Iterator[Row]:
    """An empty queue first, for comparison."""
    with ExitStack() as stack:
        engine = stack.enter_context(PrivateEngine(folder / "engine"))
        DockerEngine(engine.url).import_image(root_with_busybox(), reference=BASE, changes=("ENV PATH=/bin",))
        node = NodeProcess(folder, engine.url, free_port(), (f"queue.max_running={RUNNING}",))
        node.write_config()
        node.start()
        stack.callback(node.kill)
        client = stack.enter_context(node.add_user(USER))
        keep_busy(client, folder)
        yield from starts(node, client, rounds, "nothing waiting")
        node.kill()
        fill(node, jobs)
        yield from starts(node, client, rounds, f"{jobs:,} waiting", GOAL_S)


def keep_busy(client: DopqClient, folder: Path) -> None:
    """Have as many jobs running as may."""
    files = {"Dockerfile": f'FROM {BASE}\nCMD ["sleep", "3600"]\n', "container_config.json": config()}
    bundle = zip_of(folder / "busy.zip", files)
    busy = [client.submit(bundle)["id"] for _ in range(RUNNING)]
    until(lambda: {client.job(job)["state"] for job in busy} == {"running"}, 0.1)


def fill(node: NodeProcess, count: int) -> None:
    """Put waiting jobs of 50 users into the journal of a node that is down, five sweeps each."""
    with closing(Database(node.state / "journal.sqlite3")) as database:
        database.rows("PRAGMA synchronous=OFF")  # what is measured is the start after
        journal, since = Journal(database), datetime.now(UTC) - timedelta(days=1)
        for number in range(count):
            name, at = f"sweep{number // USERS % 5}", since + timedelta(seconds=number / 2)
            work = Work(JobSpec(name, cpus=1.0, environment=(("SEED", str(number)),)), IMAGE, at)
            user = UserName(f"user{number % USERS:02}")
            journal.add(Job(JobId(0), user, f"{name}.zip", f"waits-{number}", name, at, Queued(work)), "took it")
        journal.note("published", str(journal.last_seq()))


def starts(node: NodeProcess, client: DopqClient, rounds: int, what: str, goal: float | None = None) -> Iterator[Row]:
    """Kill and start, several times."""
    answering, listed, memory = [], [], 0
    for _ in range(rounds):
        node.kill()
        began = time.monotonic()
        node.spawn()
        until((node.state / "node.json").exists)
        answering.append(time.monotonic() - began)
        assert len(client.jobs()) >= RUNNING
        listed.append(time.monotonic() - began)
        assert node.process is not None
        memory = max(memory, resident(psutil.Process(node.process.pid)))
    yield row_of(f"{what}: start to answering", answering, goal)
    yield row_of(f"{what}: start to the first page", listed)
    yield Row(f"{what}: memory of the node", "MiB", memory / 2**20, memory / 2**20, note="its highest")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
