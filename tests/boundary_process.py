"""A boundary in a process of its own, to be attacked: `python -m tests.boundary_process FOLDER` prints address and token."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

from tests.boundary_alone import boundary_alone


@dataclass(frozen=True)
class BoundaryProcess:
    """A boundary that runs, and what it takes."""

    host: str
    port: int
    tokens: dict[str, str]
    process: subprocess.Popen[str]

    @property
    def memory_bytes(self) -> int:
        return int(psutil.Process(self.process.pid).memory_info().rss)

    @property
    def threads(self) -> int:
        return int(psutil.Process(self.process.pid).num_threads())

    @property
    def is_alive(self) -> bool:
        return self.process.poll() is None


@contextmanager
def boundary_process(folder: Path) -> Iterator[BoundaryProcess]:
    """A boundary that answers, for as long as the body runs."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.boundary_process", str(folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdin
    assert process.stdout
    try:
        facts = json.loads(process.stdout.readline())
        host, _, port = facts["address"].rpartition(":")
        yield BoundaryProcess(host, int(port), facts["tokens"], process)
    finally:
        process.stdin.close()
        process.stdout.close()
        process.wait(20)


if __name__ == "__main__":
    with boundary_alone(Path(sys.argv[1])) as running:
        sys.stdout.write(json.dumps({"address": running.address, "tokens": running.tokens}) + "\n")
        sys.stdout.flush()
        sys.stdin.read()
