"""How quickly jobs come and go: a real node against raw Docker, in turns, on one engine of its own.

    sudo .venv/bin/python benchmarks/containers.py [--json] [--times 30] [--network bridge]

Needs root, Docker (dockerd) and busybox-static; the machine's own Docker is left alone. Jobs tell themselves when their
process runs and when it ends, by files that they make. Everything runs in the engine's PID namespace, so that the
engine's process numbers mean here what they mean on a machine with an engine of its own.
"""

# ruff: noqa: E402 - what of the checkout is not installed is found by the path that is set first

from __future__ import annotations

import argparse
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from statistics import median

import psutil

CHECKOUT = Path(__file__).resolve().parents[1]
sys.path[:1] = [str(CHECKOUT), str(CHECKOUT / "scripts")]  # not this folder, whose `queue` is not the standard one

from benchmarks.bench_node import until
from benchmarks.raw_docker import BEGAN, ENDED, RawDocker, made_at
from benchmarks.table import Row, row_of, show
from dopq.container_handler.container import JOBS_NETWORK, job_network
from dopq.container_handler.docker_engine import DockerEngine
from dopq_client.client import DopqClient
from private_engine import PrivateEngine
from tests.acceptance.conftest import free_port
from tests.bundles import config, zip_of
from tests.conftest import root_with_busybox
from tests.node_process import NodeProcess

BASE = "bench/busybox:1"
USER = "ada"
GPUS = 8
RUN_S = 3.0  # on a busy machine a container that stands by takes its time
SCRIPT = f"touch /output/{BEGAN}; sleep {{run_s}}; touch /output/{ENDED}"
QUIET_S = 1.0
ROUNDS = 3


def main(arguments: list[str]) -> int:
    """Measure everything, print a table or JSON; 1 when a goal was missed."""
    parser = argparse.ArgumentParser(description="How quickly jobs come and go, against raw Docker.")
    parser.add_argument("--json", action="store_true", help="JSON alone on standard output")
    parser.add_argument("--times", type=int, default=30, help="how often everything is timed (30)")
    parser.add_argument("--jobs", type=int, default=80, help="no-op jobs of each round that counts jobs a second (80)")
    parser.add_argument("--network", default="bridge", help="the network of all containers (bridge)")
    parser.add_argument("--engine", help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.engine is None:
        return in_namespace_of_engine(arguments)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    with ExitStack() as stack:
        it, by = (
            stack.enter_context(
                bench(options.folder / name, options.engine, options.network, standby=name == "standby")
            )
            for name in ("usual", "standby")
        )
        rows = [*latency_rows(it, by, options.times), *crowd_rows(it, options.jobs)]
    return show(rows, as_json=options.json)


def in_namespace_of_engine(arguments: list[str]) -> int:
    """Run this program a second time, where the engine runs."""
    with tempfile.TemporaryDirectory(prefix="dopq-bench-") as folder, PrivateEngine(Path(folder, "engine")) as engine:
        again = [sys.executable, __file__, "--engine", engine.url, "--folder", folder, *arguments]
        command = ["nsenter", f"--target={engine.pid}", "--pid", "--mount", "--wd=.", *again]
        return subprocess.run(command, check=False).returncode


class Bench:
    """A node and raw Docker on one engine."""

    def __init__(self, node: NodeProcess, user: DopqClient, admin: DopqClient, raw: RawDocker, noop: RawDocker) -> None:
        self._node = node
        self.user = user
        self.admin = admin
        self.raw = raw
        self.noop = noop

    def submit(self, name: str, run_s: float = 0.0, gpus: int = 1) -> tuple[int, float]:
        """Hand in a bundle with the client; the job, and when that was asked for."""
        files = {
            "Dockerfile": f'FROM {BASE}\nCMD ["sh", "-c", "{SCRIPT.format(run_s=run_s)}"]\n',
            "container_config.json": config(num_gpus=gpus),
        }
        bundle = zip_of(self._node.folder / f"{name}.zip", files)
        asked = time.time()
        return self.user.submit(bundle)["id"], asked

    def moment(self, job: int, what: str) -> float:
        """When a job that has ended made one of its two files."""
        [ended] = self.user.wait([job], timeout_s=60)
        if ended["state"] != "succeeded":
            sys.exit(f"Job {job} is {ended['state']}: {ended['reason']}\n{self._node.log}")
        file = self._node.outbox(USER, ended) / "output" / what
        until(file.exists)
        return made_at(file)

    def number_reported(self, jobs: list[int]) -> int:
        """Of how many of the jobs the share has the report."""
        outbox = self._node.share / "outbox" / USER
        return sum((outbox / f"{job}-noop" / "report.txt").exists() for job in jobs)

    def cpu_s(self) -> float:
        """Seconds of CPU that the node's processes have used so far."""
        assert self._node.process is not None
        node = psutil.Process(self._node.process.pid)
        times = [process.cpu_times() for process in (node, *node.children(recursive=True))]
        return (
            sum(it.user + it.system for it in times) + node.cpu_times().children_user + node.cpu_times().children_system
        )


@contextmanager
def bench(folder: Path, url: str, network: str, *, standby: bool) -> Iterator[Bench]:
    """A node with simulated GPUs; it ends with the block."""
    with ExitStack() as stack:
        DockerEngine(url).import_image(root_with_busybox(), reference=BASE, changes=("ENV PATH=/bin",))
        DockerEngine(url).provide_network(JOBS_NETWORK)
        home = folder / "node"
        home.mkdir(parents=True)
        settings = (
            f"gpu.devices=simulate:{GPUS}",
            f"container.network={network}",
            f"queue.standby={str(standby).lower()}",
        )
        node = NodeProcess(home, url, free_port(), settings)
        node.write_config()
        node.start()
        stack.callback(node.kill)
        user = stack.enter_context(node.add_user(USER))
        admin = stack.enter_context(node.add_user("boss", role="admin"))
        script = ("sh", "-c", SCRIPT.format(run_s=0))
        raw, noop = (RawDocker(url, BASE, it, job_network(network), folder / "raw") for it in (script, ("true",)))
        yield Bench(node, user, admin, raw, noop)


def latency_rows(bench: Bench, standby: Bench, times: int) -> Iterator[Row]:
    """One job at a time, and one that waits for another's GPUs, each beside a raw container.

    Args:
        standby: the same with `queue.standby`.
    """
    for each in (bench, standby):
        first, _ = each.submit("warm")
        each.moment(first, ENDED)
    raw, submitted, freed, stood_by = [], [], [], []
    for _ in range(times):
        quiet()
        raw.append(bench.raw.seconds_to_running())
        quiet()
        job, asked = bench.submit("one")
        submitted.append(bench.moment(job, BEGAN) - asked)
        freed.append(seconds_to_next(bench))
        stood_by.append(seconds_to_next(standby))
    yield row_of("raw Docker: create and start to running", raw)
    yield row_of("submit to running", submitted)
    yield row_of("GPU freed to next running", freed)
    yield row_of("... with standby", stood_by)
    yield ratio_row("submit to running, times raw", submitted, raw, goal=0.8)
    yield ratio_row("GPU freed to next running, times raw", freed, raw, goal=0.5)
    yield ratio_row("... with standby, times raw", stood_by, raw, goal=0.1)


def seconds_to_next(bench: Bench) -> float:
    """From the end of a job's process to the begin of the next one's, which has waited for its GPUs."""
    quiet()
    one, _ = bench.submit("all", RUN_S, gpus=GPUS)
    until(
        lambda: bench.user.job(one)["started_at"] is not None, every_s=0.05
    )  # bundles overtake each other at the gate
    other, _ = bench.submit("all", RUN_S, gpus=GPUS)
    return bench.moment(other, BEGAN) - bench.moment(one, ENDED)


def crowd_rows(bench: Bench, number: int) -> Iterator[Row]:
    """Many jobs that do nothing, on all GPUs at once, beside as many raw containers with as many threads."""
    first, _ = bench.submit("noop")
    bench.moment(first, ENDED)
    raw, ours, cpu_s = [], [], []
    for _ in range(ROUNDS):
        quiet()
        raw.append(bench.noop.jobs_per_s(number, GPUS))
        quiet()
        used = bench.cpu_s()
        ours.append(node_jobs_per_s(bench, first, number))
        quiet()
        cpu_s.append((bench.cpu_s() - used) / number)
    yield rate_row("raw Docker: no-op containers", raw)
    yield rate_row("no-op jobs", ours)
    yield ratio_row("seconds of a no-op job, times raw", [1 / it for it in ours], [1 / it for it in raw], goal=1.0)
    yield Row("CPU of our processes for a job", "ms", 1e3 * median(cpu_s), 1e3 * max(cpu_s), 25.0, f"{ROUNDS} times")


def node_jobs_per_s(bench: Bench, pattern: int, number: int) -> float:
    """From the unlocking of a queue of so many jobs until all reports are in the share.

    Looked for there, since clients that wait for each of them would be most of what keeps the node busy.
    """
    bench.admin.lock("until all are there", minutes=5)
    jobs = [bench.user.rerun(pattern)["id"] for _ in range(number)]
    began = time.monotonic()
    bench.admin.unlock()
    until(lambda: bench.number_reported(jobs) == number, every_s=0.02)
    return number / (time.monotonic() - began)


def ratio_row(what: str, ours: list[float], raw: list[float], goal: float) -> Row:
    """Pairs that were taken one after the other."""
    ratios = [one / other for one, other in zip(ours, raw, strict=True)]
    row = row_of(what, ratios, goal)
    return Row(what, "ratio", row.median, row.worst, goal, row.note, row.p90)


def rate_row(what: str, rates: list[float]) -> Row:
    """Jobs a second; the worst is the smallest."""
    row = row_of(what, rates)
    return Row(what, "jobs/s", row.median, min(rates), note=row.note)


def quiet() -> None:
    """Let what is done behind a job's back be done, and keep step with none of our own clocks."""
    time.sleep(random.uniform(QUIET_S, QUIET_S + 0.5))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
