"""Namespaces that stand ready: each for one attempt of one job, gone with it, and never a reason not to run."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import docker
import pytest

from dopq import namespaces as namespaces_module
from dopq.container_handler.container import HOSTNAME, NAMESPACE_LABEL
from dopq.container_handler.docker_engine import DockerEngine
from dopq.container_handler.engine import Absent, Alive, ContainerName, ContainerRequest, Created, Exited
from dopq.container_handler.proof import MAC_LABEL, Proof
from dopq.job import Job, StateName
from dopq.namespaces import Namespaces
from dopq.starts import Starts
from tests.integration.test_runner import Bench
from tests.platforms import ANNA, gpu
from tests.waiting import wait_until


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(namespaces_module, "QUIET_S", 0.0)
    monkeypatch.setattr(namespaces_module, "RETRY_S", 0.01)


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    bench = Bench(tmp_path, ready_namespaces=1)
    bench.program(runs_on=True)
    bench.runner.start()
    wait_until(lambda: ready(bench), 5.0)
    yield bench
    bench.close()


def ready(bench: Bench) -> list[ContainerName]:
    return list(bench.runner._namespaces._ready)


def running(bench: Bench, number: int = 0) -> Job:
    job = bench.home.starting(ANNA, frozenset({gpu(number)}), image=bench.image)
    bench.runner.carry(job)
    bench.until(job, StateName.RUNNING)
    return job


def joined(bench: Bench, job: Job) -> ContainerName | None:
    (request,) = [it for it in bench.engine.requests if it.name == bench.name(job)]
    return request.namespace


def holders(bench: Bench) -> set[ContainerName]:
    return {name for name in bench.engine.containers({}) if "-net-" in name}


def test_each_job_joins_one_of_its_own_which_goes_with_it(bench: Bench) -> None:
    first = running(bench)
    wait_until(lambda: ready(bench), 5.0)
    second = running(bench, 1)
    used = {joined(bench, first), joined(bench, second)}
    assert len(used) == 2
    assert None not in used
    for job in (first, second):
        bench.engine.release(bench.name(job))
        bench.ended(job)
    wait_until(lambda: ready(bench), 5.0)
    assert holders(bench) == set(ready(bench))
    assert used.isdisjoint(holders(bench))


def test_a_job_for_which_none_stands_ready_gets_a_network_of_its_own(bench: Bench) -> None:
    bench.runner._namespaces.stop(5.0)
    with_one, without = running(bench), running(bench, 1)
    assert joined(bench, with_one) is not None
    assert joined(bench, without) is None


def test_the_namespace_of_a_container_that_somebody_removed_goes_all_the_same(bench: Bench) -> None:
    job = running(bench)
    wait_until(lambda: ready(bench), 5.0)
    bench.engine.remove(bench.name(job))
    assert bench.ended(job).outcome is StateName.LOST
    assert holders(bench) == set(ready(bench))


def test_a_node_that_stops_leaves_none_that_nobody_uses(bench: Bench) -> None:
    job = running(bench)
    wait_until(lambda: ready(bench), 5.0)
    bench.runner.stop()
    assert holders(bench) == {joined(bench, job)}


def test_more_are_made_after_an_error_that_nobody_foresaw(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    failed = threading.Event()

    def fails() -> None:
        monkeypatch.delattr(bench.runner._namespaces, "_image")
        failed.set()
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(bench.runner._namespaces, "_image", fails)
    running(bench)
    assert failed.wait(5.0)
    wait_until(lambda: ready(bench), 5.0)


@pytest.mark.parametrize("how", ["ended", "gone"])
def test_a_job_runs_all_the_same_when_its_namespace_has_died(bench: Bench, how: str) -> None:
    bench.runner._namespaces.stop(5.0)
    (died,) = ready(bench)
    if how == "ended":
        bench.engine.release(died, 137)
    else:
        bench.engine.remove(died)
    job = running(bench)
    assert [it.namespace for it in bench.engine.requests if it.name == bench.name(job)] == [died, None]
    assert bench.engine.observe(died) == Absent()
    bench.engine.release(bench.name(job))
    assert bench.ended(job).outcome is StateName.SUCCEEDED


def test_a_restart_keeps_the_namespace_of_what_runs_and_removes_the_others(bench: Bench) -> None:
    job = running(bench)
    wait_until(lambda: ready(bench), 5.0)
    used, unused = joined(bench, job), ready(bench)[0]
    assert used is not None
    bench.runner._namespaces.stop(5.0)
    bench.restart()
    bench.runner.start()
    wait_until(lambda: bench.engine.observe(unused) == Absent(), 5.0)
    assert isinstance(bench.engine.observe(used), Alive)
    bench.engine.release(bench.name(job))
    bench.ended(job)
    assert bench.engine.observe(used) == Absent()


def test_killed_between_creating_and_starting_a_job_whose_namespace_dies_it_runs_all_the_same(bench: Bench) -> None:
    bench.runner._namespaces.stop(5.0)
    (died,) = ready(bench)
    job = bench.home.starting(ANNA, frozenset({gpu(0)}), image=bench.image)
    labels = {"dopq.node": "abcd", NAMESPACE_LABEL: died, MAC_LABEL: bench.mac(bench.name(job))}
    bench.engine.create(ContainerRequest(bench.name(job), bench.image, labels, namespace=died))
    bench.engine.release(died, 137)
    bench.restart()
    bench.runner.start()
    bench.until(job, StateName.RUNNING)
    bench.engine.release(bench.name(job))
    assert bench.ended(job).outcome is StateName.SUCCEEDED


# --- on a real engine ---


@pytest.mark.engine
def test_a_real_container_sees_of_its_namespace_the_network_and_nothing_else(
    docker_engine: DockerEngine, engine_url: str, busybox_image: str, unique: str
) -> None:
    proof = Proof(docker_engine, b"a key of the test's own")
    namespaces = Namespaces(docker_engine, proof, unique, "bridge", 1, Starts())
    namespaces.start()
    name = ContainerName(f"{unique}-joins")
    try:
        wait_until(lambda: namespaces._ready, 30.0)
        holder = namespaces.lend(name)
        assert holder is not None
        image = docker_engine.image(busybox_image)
        assert image is not None
        script = "cat /proc/sys/kernel/hostname; busybox ps -o args; busybox ip -o -4 addr show eth0; touch /etc/x && echo own"
        request = ContainerRequest(name, image, {}, command=("/bin/sh", "-c", script), namespace=holder)
        docker_engine.create(request)
        assert docker_engine.observe(name) == Created()
        docker_engine.start(name)
        assert isinstance(docker_engine.wait(name, 30.0), Exited)
        said = b"".join(piece.data for piece in docker_engine.log(name)).decode()
        client = docker.APIClient(base_url=engine_url)
        inspected = client.inspect_container(holder)
        client.close()
        assert said.startswith(f"{HOSTNAME}\n")
        assert "/pause" not in said
        assert inspected["NetworkSettings"]["Networks"]["bridge"]["IPAddress"] + "/" in said
        assert inspected["HostConfig"]["ReadonlyRootfs"]
        assert inspected["Config"]["User"] == "65534:65534"
    finally:
        namespaces.stop(5.0)
        namespaces.remove_with(name)
        for left in docker_engine.containers({"dopq.node": unique}):
            docker_engine.remove(left)
    assert docker_engine.observe(holder) == Absent()
