"""Docker stops, dies, hangs: what is not known is not dead, and what Docker took with it is not the user's failure.

On an engine of its own, which these tests end and freeze.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from dopq.container_handler.docker_engine import DockerEngine
from dopq.container_handler.engine import Exited
from dopq_client.client import DopqClient
from private_engine import PrivateEngine
from tests.acceptance.conftest import free_port, node_id
from tests.bundles import config, zip_of
from tests.conftest import root_with_busybox
from tests.node_process import NodeProcess
from tests.waiting import wait_until

IMAGE = "outage-busybox:1"
OUTAGE_S = 30.0
LINES = 300
MakeBundle = Callable[..., Path]


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrivateEngine]:
    with PrivateEngine(tmp_path_factory.mktemp("own")) as engine:
        DockerEngine(engine.url).import_image(root_with_busybox(), reference=IMAGE, changes=("ENV PATH=/bin",))
        yield engine


@pytest.fixture
def node(tmp_path: Path, engine: PrivateEngine) -> Iterator[NodeProcess]:
    node = NodeProcess(tmp_path, engine.url, free_port(), ("queue.max_running=20",))
    node.write_config()
    node.start()
    yield node
    if node.process and node.process.poll() is None:
        node.kill()
    engine.start()
    docker = DockerEngine(engine.url)
    for name in docker.containers({"dopq.node": node_id(node)}):
        docker.remove(name)


@pytest.fixture
def alice(node: NodeProcess) -> Iterator[DopqClient]:
    with node.add_user("alice") as client:
        yield client


@pytest.fixture
def bundle(tmp_path: Path) -> MakeBundle:
    def make(name: str, script: str, **settings: object) -> Path:
        files = {
            "Dockerfile": f'FROM {IMAGE}\nCOPY run.sh /run.sh\nCMD ["/run.sh"]\n',
            "run.sh": f"#!/bin/sh\n{script}\n",
            "container_config.json": config(**settings),
        }
        return zip_of(tmp_path / name, files, executable=("run.sh",))

    return make


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL], ids=["stopped", "killed"])
def test_a_job_that_ended_with_the_engine_is_no_failure_of_its_user(
    engine: PrivateEngine, node: NodeProcess, alice: DopqClient, bundle: MakeBundle, how: signal.Signals
) -> None:
    job = alice.submit(bundle("endless.zip", "echo begun; sleep 600"))
    other = alice.submit(bundle("other.zip", "echo begun; sleep 601"))
    wait_until(lambda: {alice.job(it["id"])["state"] for it in (job, other)} == {"running"}, 60.0)
    engine._end(how, 15.0)
    engine.stop()
    wait_until(lambda: any("does not answer" in line for line in alice.system()["warnings"]), 30.0)
    assert alice.job(job["id"])["state"] == "running", "unknown is not dead"
    assert alice.cancel(other["id"])["state"] == "stopping"
    late = alice.submit(bundle("late.zip", "echo late"))
    assert alice.job(late["id"])["state"] in {"building", "queued"}
    engine.start()
    ended, cancelled, came = alice.wait([job["id"], other["id"], late["id"]], timeout_s=60)
    assert (ended["state"], ended["reason"]["code"], ended["gpu_seconds"]) == ("failed", "engine_restarted", 0.0)
    assert cancelled["state"] in {"cancelled", "failed"}
    assert came["state"] == "succeeded", node.log
    assert b"".join(alice.logs(job["id"])) == b"begun\n"


def test_an_engine_that_hangs_is_waited_for_and_everybody_else_is_answered(
    engine: PrivateEngine, node: NodeProcess, alice: DopqClient, bundle: MakeBundle
) -> None:
    runs = alice.submit(bundle("runs.zip", "sleep 3; exit 5"))
    wait_until(lambda: alice.job(runs["id"])["state"] == "running", 60.0)
    dockerd = _dockerd(engine)
    dockerd.suspend()
    try:
        began_s = time.monotonic()
        late = alice.submit(bundle("late.zip", "echo late"))
        doomed = alice.submit(bundle("doomed.zip", "echo never"))
        assert alice.cancel(doomed["id"])["state"] == "cancelled"
        assert alice.job(runs["id"])["state"] == "running"
        assert time.monotonic() - began_s < 5.0
        wait_until(lambda: time.monotonic() - began_s > 5.0, 10.0)  # the job ends meanwhile, and nobody can know
        assert alice.job(runs["id"])["state"] == "running"
    finally:
        dockerd.resume()
    ended, came = alice.wait([runs["id"], late["id"]], timeout_s=60)
    assert (ended["state"], ended["exit_code"]) == ("failed", 5)
    assert came["state"] == "succeeded", node.log


@pytest.mark.timeout(300)
def test_twenty_jobs_are_adopted_after_an_outage_of_the_node_with_their_codes_and_every_line(
    engine: PrivateEngine, node: NodeProcess, alice: DopqClient, bundle: MakeBundle
) -> None:
    """Five end while nobody looks, with codes 0 to 4; fifteen go on. Each writes a line all along."""
    says = f"i=0; while [ $i -lt {LINES} ]; do i=$((i+1)); echo line $i; sleep 0.PAUSE; done; exit CODE"
    short, long = says.replace("PAUSE", "04"), says.replace("PAUSE", "2")
    files = [bundle(f"s{code}.zip", short.replace("CODE", str(code))) for code in range(5)]
    files += [bundle(f"l{n}.zip", long.replace("CODE", str(n))) for n in range(5, 20)]
    jobs = [alice.submit(file)["id"] for file in files]
    seen: set[int] = set()

    def have_all_run() -> bool:
        seen.update(job for job in jobs if alice.job(job)["state"] not in {"building", "queued", "starting"})
        return len(seen) == len(jobs)

    wait_until(have_all_run, 120.0)
    assert {alice.job(job)["state"] for job in jobs[5:]} == {"running"}
    node.kill()
    died_s = time.monotonic()
    docker = DockerEngine(engine.url)
    over = [
        name for name in docker.containers({"dopq.node": node_id(node)}) if name.endswith("-1") and "-net-" not in name
    ]
    wait_until(lambda: sum(isinstance(docker.observe(name), Exited) for name in over) >= len(over) - 15, OUTAGE_S)
    wait_until(lambda: time.monotonic() - died_s > OUTAGE_S, OUTAGE_S + 1)
    node.start()
    ended = alice.wait(jobs, timeout_s=120)
    assert [job["exit_code"] for job in ended] == list(range(20)), node.log
    assert [job["state"] for job in ended] == ["succeeded"] + ["failed"] * 19
    whole = "".join(f"line {n}\n" for n in range(1, LINES + 1)).encode()
    assert [job for job in jobs if b"".join(alice.logs(job)) != whole] == []
    checked = node.dopq("audit", "check")
    assert checked.returncode == 0, checked.stdout


def _dockerd(engine: PrivateEngine) -> psutil.Process:
    assert engine.pid is not None
    children = psutil.Process(engine.pid).children(recursive=True)
    return next(child for child in children if child.name() == "dockerd")
