"""2 GB in 10,000 files, fetched through three kills of the client and one of the node: time and memory of both sides.

The job really runs; the client is `dopq-client` in a process of its own. Exit code 1: a file is wrong, or memory was
more than the goal.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import psutil

from benchmarks.bench_node import BASE, USER, resident
from benchmarks.table import Row, show, single
from dopq.container_handler.docker_engine import DockerEngine
from dopq_client.client import DopqClient
from private_engine import PrivateEngine
from tests.acceptance.conftest import free_port
from tests.bundles import zip_of
from tests.conftest import root_with_busybox
from tests.node_process import NodeProcess
from tests.waiting import wait_until

GOAL_MIB = 100
KILLED_AT = (0.25, 0.5, 0.75)
NODE_KILLED_AT = 0.85
ALL_WITHIN_S = 3600.0

SCRIPT = """
i=0
while [ $i -lt {files} ]; do
  i=$((i+1)); mkdir -p /output/$((i % 100)); head -c {size} /dev/urandom > /output/$((i % 100))/$i
done
"""


def main(arguments: Sequence[str]) -> int:
    """Run the job, fetch what it left with all the kills, and once more without any."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--files", type=int, default=10_000)
    parser.add_argument("--bytes", type=int, default=2 * 10**9, help="of all files together")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="dopq-bench-") as folder, node_in(Path(folder)) as (node, user):
        job, token = left_by_job(node, user, options.files, options.bytes // options.files)
        bench = Bench(node, token, job, Path(folder) / "results")
        rows = [*bench.interrupted(), *bench.at_once(Path(folder) / "again")]
    return show(rows, as_json=options.json)


@contextmanager
def node_in(folder: Path) -> Iterator[tuple[NodeProcess, DopqClient]]:
    """A node and a user of it; it and its engine end with the block."""
    with PrivateEngine(folder / "engine") as engine:
        DockerEngine(engine.url).import_image(root_with_busybox(), reference=BASE, changes=("ENV PATH=/bin",))
        home = folder / "node"
        home.mkdir()
        node = NodeProcess(home, engine.url, free_port())
        node.write_config()
        node.start()
        try:
            with node.add_user(USER) as user:
                yield node, user
        finally:
            node.kill()


def left_by_job(node: NodeProcess, user: DopqClient, files: int, size: int) -> tuple[int, str]:
    """Run a job that leaves so many files of that size; its number, and a token of its user."""
    script = f"#!/bin/sh\n{SCRIPT.format(files=files, size=size)}"
    dockerfile = f'FROM {BASE}\nCOPY run.sh /run.sh\nCMD ["/run.sh"]\n'
    bundle = zip_of(node.folder / "files.zip", {"Dockerfile": dockerfile, "run.sh": script}, executable=("run.sh",))
    [job] = user.wait([user.submit(bundle)["id"]], timeout_s=ALL_WITHIN_S)
    if job["state"] != "succeeded":
        sys.exit(f"The job is {job['state']}: {job['reason']}\n{node.log}")
    token = json.loads(node.dopq("user", "token", USER, "--json").stdout)["token"]
    return int(job["id"]), str(token)


class Peak:
    """The highest resident set of processes that come and go, in bytes."""

    def __init__(self) -> None:
        self.processes: list[psutil.Process] = []
        self.bytes = 0
        self._over = threading.Event()

    def watch(self, pid: int) -> None:
        """Look at this process, too."""
        self.processes.append(psutil.Process(pid))

    @contextmanager
    def looking(self) -> Iterator[None]:
        """Look twenty times a second while the block runs."""
        watcher = threading.Thread(target=self._look)
        watcher.start()
        try:
            yield
        finally:
            self._over.set()
            watcher.join()

    def _look(self) -> None:
        while not self._over.wait(0.05):
            self.bytes = max([self.bytes, *map(resident, self.processes)])


class Bench:
    """One job's results, and whoever fetches them."""

    def __init__(self, node: NodeProcess, token: str, job: int, target: Path) -> None:
        self._node = node
        self._environment = os.environ | {"DOPQ_HOST": node.address, "DOPQ_TOKEN": token}
        self._job = job
        self._target = target
        [self._left] = (node.share / "outbox" / USER).glob(f"{job}-*/output")
        self._bytes = size_of(self._left)

    def interrupted(self) -> list[Row]:
        """Fetch through three kills of the client and one of the node."""
        client, service, began = Peak(), Peak(), time.monotonic()
        service.watch(self._pid())
        with client.looking(), service.looking():
            for part in KILLED_AT:
                fetching = self._fetch(self._target, client)
                wait_until(lambda part=part: size_of(self._target) > part * self._bytes, ALL_WITHIN_S)
                fetching.kill()
                fetching.communicate()
            fetching = self._fetch(self._target, client)
            wait_until(lambda: size_of(self._target) > NODE_KILLED_AT * self._bytes, ALL_WITHIN_S)
            self._node.kill()
            self._node.start()
            service.watch(self._pid())
            out, _ = fetching.communicate()
        took_s = time.monotonic() - began
        kept = sum(file["kept"] for file in json.loads(out)["files"])
        return [
            single("interrupted four times", "s", took_s, f"{kept} files were kept at the last time"),
            Row("... memory of the client", "MiB", client.bytes / 2**20, client.bytes / 2**20, GOAL_MIB),
            Row("... memory of the node", "MiB", service.bytes / 2**20, service.bytes / 2**20, GOAL_MIB),
            Row("... files that are wrong", "files", *[float(self._wrong(self._target))] * 2, 0.0),
        ]

    def at_once(self, target: Path) -> list[Row]:
        """Fetch without interruption, and a second time, when all is here."""
        rows = []
        for what in ("at once", "when all is here"):
            began = time.monotonic()
            self._fetch(target, Peak()).communicate()
            rows.append(single(what, "s", time.monotonic() - began))
        return rows

    def _fetch(self, target: Path, peak: Peak) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "dopq_client.cli", "fetch", str(self._job), "-o", str(target), "--json"]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=self._environment)
        peak.watch(process.pid)
        return process

    def _pid(self) -> int:
        assert self._node.process is not None
        return self._node.process.pid

    def _wrong(self, target: Path) -> int:
        """Files that are missing, or hold something else than the job's."""
        return sum(
            not (target / "output" / path).is_file() or sum_of(target / "output" / path) != sum_of(self._left / path)
            for path in (file.relative_to(self._left) for file in self._left.rglob("*") if file.is_file())
        )


def sum_of(file: Path) -> str:
    """The SHA-256 of a file."""
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def size_of(folder: Path) -> int:
    """Bytes of all files below a folder."""
    size = 0
    for path in folder.rglob("*"):
        try:
            size += path.stat().st_size if path.is_file() else 0
        except FileNotFoundError:  # it has just got its name
            continue
    return size


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
