"""How quick `dopq-client` is, from the shell's call to its end, beside the floor and a queue for one machine.

    .venv/bin/python benchmarks/client.py [--json] [--rounds 20] [--jobs 10000]

Needs neither an engine nor root. The service is the real controller behind its boundary, in a process of its own, with
so many jobs waiting. All are called in turns. `tsp` is task-spooler (apt install task-spooler), with 20 jobs: it is
left out where it is not installed.
"""

# ruff: noqa: E402 - what of the checkout is not installed is found by the path that is set first

from __future__ import annotations

import argparse
import multiprocessing
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

CHECKOUT = Path(__file__).resolve().parents[1]
sys.path[:1] = [str(CHECKOUT)]  # instead of this folder, whose queue.py is not the library's

from benchmarks.table import Row, row_of, show
from dopq.job import ImageId, JobSpec, UserName
from dopq.room import Capacity
from tests.boundary_alone import boundary_alone

TSP_JOBS = 20  # each keeps a process and a connection until it has run
START_GOAL_S, STATUS_GOAL_S = 0.1, 0.25
USERS = ("anna", "bert")


def main(arguments: list[str]) -> int:
    """Measure everything, print a table or JSON; 1 when a goal was missed."""
    parser = argparse.ArgumentParser(description="How quick dopq-client is.")
    parser.add_argument("--rounds", type=int, default=20, help="how often each is called (20)")
    parser.add_argument("--jobs", type=int, default=10_000, help="jobs that wait (10,000)")
    parser.add_argument("--json", action="store_true", help="JSON alone on standard output")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder, service(options.jobs) as reached, spooler(Path(folder)) as spooling:
        environment = {**os.environ, **reached, **spooling, "XDG_CONFIG_HOME": folder}
        calls = commands(options.jobs, spools=bool(spooling))
        taken: dict[str, list[float]] = {what: [] for what in calls}
        for _ in range(options.rounds):
            for what, (command, _) in calls.items():
                taken[what].append(timed(command, environment))
    rows: list[Row] = [row_of(what, taken[what], goal) for what, (_, goal) in calls.items()]
    return show(rows, as_json=options.json)


def commands(jobs: int, *, spools: bool) -> dict[str, tuple[list[str], float | None]]:
    """What is called, with its goal in seconds."""
    client = str(Path(sys.executable).with_name("dopq-client"))
    called: dict[str, tuple[list[str], float | None]] = {
        "python -c pass": ([sys.executable, "-c", "pass"], None),
        "python -c 'import click'": ([sys.executable, "-c", "import click"], None),
        "python -c 'import rich.table'": ([sys.executable, "-c", "import rich.table"], None),
        "dopq-client --version": ([client, "--version"], START_GOAL_S),
        "dopq-client --help": ([client, "--help"], START_GOAL_S),
        f"dopq-client status, {jobs:,} jobs": ([client, "status"], STATUS_GOAL_S),
        "... --mine --limit 20": ([client, "status", "--mine", "--limit", "20"], STATUS_GOAL_S),
        "... --json": ([client, "status", "--json"], STATUS_GOAL_S),
        "... one job": ([client, "status", "@"], STATUS_GOAL_S),
    }
    if spools:
        called[f"tsp, {TSP_JOBS:,} jobs"] = (["tsp"], None)
    return called


def timed(command: Sequence[str], environment: Mapping[str, str]) -> float:
    """Seconds from the start of a command to its end, in which it has to succeed."""
    began = time.perf_counter()
    subprocess.run(command, env=dict(environment), stdout=subprocess.DEVNULL, check=True)
    return time.perf_counter() - began


@contextmanager
def service(jobs: int) -> Iterator[dict[str, str]]:
    """A service with so many waiting jobs, in a process of its own; the environment by which its client finds it."""
    spawn = multiprocessing.get_context("spawn")
    ready = spawn.Queue()
    process = spawn.Process(target=serve, args=(jobs, ready), daemon=True)
    process.start()
    try:
        address, token = ready.get(timeout=600)
        yield {"DOPQ_HOST": address, "DOPQ_TOKEN": token, "COLUMNS": "120"}
    finally:
        process.kill()
        process.join()


def serve(jobs: int, ready: Any) -> None:
    """Answer, until killed. The journal lies in memory where that can be: filling it is not what is measured."""
    memory = Path("/dev/shm")  # the parent's folder would be on disk
    with (
        tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as folder,
        boundary_alone(Path(folder)) as alone,
    ):
        platform = alone.home.platform
        for number in range(jobs):
            user, name = UserName(USERS[number % 2]), f"sweep-{number % 7}"
            job = platform.accept(user, f"{name}.zip", f"key-{number:08}", name)
            platform.enqueue(job.id, JobSpec(name, gpus=1), ImageId("sha256:" + "0" * 64), has_input=False)
        platform.decide(Capacity())
        ready.put((alone.address, alone.tokens[UserName(USERS[0])]))
        time.sleep(3600)


@contextmanager
def spooler(folder: Path) -> Iterator[dict[str, str]]:
    """task-spooler with its jobs, the first of which goes on; nothing where it is not installed."""
    if shutil.which("tsp") is None:
        print("tsp is left out: it is not installed.", file=sys.stderr)
        yield {}
        return
    own = {"TS_SOCKET": str(folder / "tsp.socket"), "TMPDIR": str(folder)}
    environment = {**os.environ, **own}
    for command in [["sleep", "3600"], *[["true"]] * TSP_JOBS]:
        subprocess.run(["tsp", *command], env=environment, stdout=subprocess.DEVNULL, check=True, timeout=10)
    try:
        yield own
    finally:
        subprocess.run(["tsp", "-k", "0"], env=environment, check=False)
        subprocess.run(["tsp", "-K"], env=environment, check=False)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
