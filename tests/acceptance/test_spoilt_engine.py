"""An engine that answers nonsense, errors of its own, or nothing: unknown is not dead, and nothing runs twice.

Each call of a job's life is spoilt once, in each way. A job leaves a line in a file each time it is started.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from dopq_client.client import DopqClient
from tests.acceptance.conftest import MakeBundle
from tests.engine_proxy import EngineProxy, How
from tests.node_process import MakeNode, NodeProcess
from tests.waiting import wait_until

LONG_S = 60.0
PROMPT_S = 2.0

CALLS = {
    "create": r"POST /containers/create\?name=dopq-[0-9a-f]+-[0-9]+-",
    "start": r"POST /containers/dopq-[0-9a-f]+-[0-9]+-[0-9]+/start",
    "inspect": r"GET /containers/dopq-[0-9a-f]+-[0-9]+-[0-9]+/json",
    "log": r"GET /containers/dopq-[0-9a-f]+-[0-9]+-[0-9]+/logs",
    "remove": r"DELETE /containers/dopq-[0-9a-f]+-[0-9]+-[0-9]+",
    "image": r"GET /(v[0-9.]+/)?images/.*/json",
    "build": r"POST /(v[0-9.]+/)?build",
}
WAYS: dict[str, tuple[How, int]] = {
    "500": ("answer", 500),
    "404": ("answer", 404),
    "409": ("answer", 409),
    "lost": ("lose the answer", 0),
    "cut": ("cut the answer", 0),
}


NO_FAULTS = {("build", 404), ("build", 409), ("image", 409)}
"""Answers that say something of what was asked: the builder's or a registry's word, and one that Docker never gives."""


@pytest.fixture
def proxy(tmp_path: Path, engine_url: str) -> Iterator[EngineProxy]:
    with EngineProxy(tmp_path, engine_url) as proxy:
        yield proxy


@pytest.fixture
def node(proxy: EngineProxy, make_node: MakeNode) -> NodeProcess:
    node = make_node("container.ready_namespaces=0", "queue.max_running=8")
    node.engine_url = proxy.url
    node.write_config()
    node.start()
    return node


@pytest.mark.timeout(300)
@pytest.mark.parametrize("way", WAYS)
def test_no_call_that_is_spoilt_once_fails_a_job_or_runs_it_twice(
    proxy: EngineProxy, node: NodeProcess, alice: DopqClient, bundle: MakeBundle, way: str
) -> None:
    how, status = WAYS[way]
    told = {}
    for call, pattern in CALLS.items():
        if (call, status) in NO_FAULTS:
            continue
        trouble = proxy.spoil(pattern, how, status=status)
        lines = (
            f"echo begun >> /output/starts; echo {call}; i=0; while [ $i -lt 9 ]; do i=$((i+1)); echo $i; done; exit 7"
        )
        job = alice.submit(bundle(f"{call}.zip", lines))["id"]
        [ended] = alice.wait([job], timeout_s=LONG_S)
        log = b"".join(alice.logs(job)).decode().split()
        starts = (node.outbox("alice", ended) / "output" / "starts").read_text().split()
        told[call] = (len(trouble.met), ended["state"], ended["exit_code"], ended["reason"]["code"], log, starts)
        proxy.recover()
    whole = [str(number) for number in range(1, 10)]
    wrong = {call: it for call, it in told.items() if it[1:] != ("failed", 7, "exit_code", [call, *whole], ["begun"])}
    assert wrong == {}, node.log
    assert [call for call, it in told.items() if it[0] == 0] == [], "nobody made these calls, so nothing was tried"
    checked = node.dopq("audit", "check")
    assert checked.returncode == 0, checked.stdout


@pytest.mark.parametrize("spoilt", ["everything is 500", "everything hangs"])
def test_while_the_engine_says_nothing_everybody_else_is_answered_and_jobs_go_on_after(
    proxy: EngineProxy, node: NodeProcess, alice: DopqClient, bundle: MakeBundle, spoilt: str
) -> None:
    runs = alice.submit(bundle("runs.zip", "echo begun >> /output/starts; sleep 2; exit 5"))["id"]
    doomed = alice.submit(bundle("doomed.zip", "echo begun >> /output/starts; sleep 600"))["id"]
    wait_until(lambda: {alice.job(job)["state"] for job in (runs, doomed)} == {"running"}, LONG_S)
    proxy.spoil(".", "hang" if spoilt.endswith("hangs") else "answer", times=None)
    took = []

    def timed(call: object) -> object:
        began_s = time.monotonic()
        answer = call()  # type: ignore[operator]
        took.append(time.monotonic() - began_s)
        return answer

    late = timed(lambda: alice.submit(bundle("late.zip", "echo late")))["id"]  # type: ignore[index]
    assert timed(lambda: alice.cancel(doomed))["state"] == "stopping"  # type: ignore[index]
    began_s = time.monotonic()
    while time.monotonic() - began_s < 5.0:  # `runs` ends meanwhile, and nobody can know
        states = {job["id"]: job["state"] for job in timed(alice.jobs)}  # type: ignore[attr-defined]
        assert (states[runs], states[doomed]) == ("running", "stopping")
        timed(alice.system)
    assert max(took) < PROMPT_S
    proxy.recover()
    ended, cancelled, came = alice.wait([runs, doomed, late], timeout_s=LONG_S)
    assert (ended["state"], ended["exit_code"]) == ("failed", 5)
    assert cancelled["state"] == "cancelled"
    assert came["state"] == "succeeded", node.log
    for job in (ended, cancelled):
        assert (node.outbox("alice", job) / "output" / "starts").read_text() == "begun\n"


@pytest.mark.parametrize("way", ["500", "404"])
def test_a_running_job_is_not_given_up_for_what_the_engine_says_to_a_node_that_comes_back(
    proxy: EngineProxy, node: NodeProcess, alice: DopqClient, bundle: MakeBundle, way: str
) -> None:
    job = alice.submit(bundle("runs.zip", "echo begun >> /output/starts; sleep 5; echo done; exit 4"))["id"]
    wait_until(lambda: alice.job(job)["state"] == "running", LONG_S)
    node.kill()
    trouble = proxy.spoil(CALLS["inspect"], status=int(way), times=4 if way == "500" else 1)
    node.start()
    [ended] = alice.wait([job], timeout_s=LONG_S)
    assert trouble.met
    assert (ended["state"], ended["exit_code"]) == ("failed", 4), node.log
    assert b"".join(alice.logs(job)) == b"done\n"
    assert (node.outbox("alice", ended) / "output" / "starts").read_text() == "begun\n"
