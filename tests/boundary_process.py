"""A boundary in a process of its own, to be attacked.

`python -m tests.boundary_process FOLDER` prints address and tokens, and for each line that it reads what it has done so far.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
from argon2 import PasswordHasher

from dopq.job import UserName
from dopq.passwords import Passwords
from dopq.utils.clock import SystemClock
from tests.boundary_alone import boundary_alone

CLEO = UserName("cleo")
PASSWORD = "correct horse battery"
"""That of cleo, who has no token: to set a password ends those."""


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
    def peak_memory_bytes(self) -> int:
        """The most that it ever took (proc(5), VmHWM)."""
        status = Path(f"/proc/{self.process.pid}/status").read_text(encoding="ascii")
        (line,) = (line for line in status.splitlines() if line.startswith("VmHWM:"))
        return int(line.split()[1]) * 1024

    @property
    def hash_checks(self) -> int:
        """How many passwords it has held against a hash."""
        assert self.process.stdin
        assert self.process.stdout
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        return int(json.loads(self.process.stdout.readline())["hash_checks"])

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
        cwd=Path(__file__).parents[1],
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


def _counted_hash_checks() -> list[None]:
    """Grows by one with every call of argon2's own `verify`, which does the work."""
    checks: list[None] = []
    verify = PasswordHasher.verify

    def counted(*arguments: Any) -> bool:
        checks.append(None)
        return verify(*arguments)

    PasswordHasher.verify = counted  # type: ignore[method-assign]
    return checks


def _print(**facts: object) -> None:
    sys.stdout.write(json.dumps(facts) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    checks = _counted_hash_checks()
    with boundary_alone(Path(sys.argv[1]), clock=SystemClock()) as running:
        running.home.register(CLEO)
        running.home.users.set_password_hash(CLEO, Passwords().hash(PASSWORD))
        _print(address=running.address, tokens=running.tokens)
        for _ in sys.stdin:
            _print(hash_checks=len(checks))
