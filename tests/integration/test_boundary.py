"""The boundary over real sockets: who may call what, and what comes back when a call is no good."""

from __future__ import annotations

import gc
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dopq.boundary import Boundary, remote_methods
from dopq.config import RemoteSettings
from dopq.controller import Access
from dopq.errors import DopqError, NotAllowed, NotLoggedIn, OperatorError, UserError
from dopq.wire import ALIAS, CONTROLLER
from dopq_client.link import PyroLink
from tests.in_memory_node import InMemoryNode

EXPOSED = {
    "hello": Access.ANYBODY,
    "begin_upload": Access.USER,
    "cancel_job": Access.USER,
    "delete_req_enqueued_containers": Access.USER,
    "get_containers_history_info": Access.USER,
    "get_dopq_system_status": Access.USER,
    "get_dopq_user_statistics": Access.USER,
    "get_enqueued_containers_info": Access.USER,
    "get_job": Access.USER,
    "get_job_story": Access.USER,
    "get_nodes": Access.USER,
    "get_report": Access.USER,
    "get_running_containers_info": Access.USER,
    "list_results": Access.USER,
    "read_log": Access.USER,
    "read_result": Access.USER,
    "send_chunk": Access.USER,
    "submit": Access.USER,
    "wait_for_change": Access.USER,
    "whoami": Access.USER,
    "clear_dopq_history": Access.ADMIN,
    "dopq_system_lock": Access.ADMIN,
    "shutdown_queue": Access.ADMIN,
}

ARGUMENTS: dict[str, tuple[object, ...]] = {
    "begin_upload": ("key-of-mine", 10),
    "cancel_job": ("1",),
    "delete_req_enqueued_containers": (["1"],),
    "get_job": ("1",),
    "get_job_story": ("1",),
    "get_report": ("1",),
    "list_results": ("1",),
    "read_log": ("1", False, 0, 10, 0.0),
    "read_result": ("1", "job.log", 0, 10),
    "send_chunk": ("key-of-mine", 0, b"x"),
    "submit": ("key-of-mine", "a.zip", "0" * 64),
    "wait_for_change": (0, 0.0),
    "dopq_system_lock": (True,),
}

OTHERS_JOB = ("cancel_job", "delete_req_enqueued_containers", "get_job_story", "get_report", "list_results", "read_log")


@pytest.fixture
def node(tmp_path: Path) -> Iterator[InMemoryNode]:
    node = InMemoryNode(tmp_path)
    yield node
    node.close()


@pytest.fixture
def boundary(node: InMemoryNode) -> Iterator[Boundary]:
    boundary = Boundary(node.controller, node.users, RemoteSettings(nameserver_port=0))
    boundary.start()
    yield boundary
    boundary.stop(5.0)


class Caller:
    """Somebody on the other side of the wire."""

    def __init__(self, boundary: Boundary, token: str | None) -> None:
        host, _, port = boundary.nameserver.rpartition(":")
        self.link = PyroLink(host, int(port), token)

    def __call__(self, method: str, *arguments: object) -> Any:
        return self.link.call(method, *arguments)


@pytest.fixture
def anna(boundary: Boundary, node: InMemoryNode) -> Iterator[Caller]:
    caller = Caller(boundary, node.tokens["anna"])
    yield caller
    caller.link.close()


@pytest.fixture
def olga(boundary: Boundary, node: InMemoryNode) -> Iterator[Caller]:
    caller = Caller(boundary, node.tokens["olga"])
    yield caller
    caller.link.close()


@pytest.fixture
def nobody(boundary: Boundary) -> Iterator[Caller]:
    caller = Caller(boundary, "not-a-token")
    yield caller
    caller.link.close()


def test_exactly_these_methods_may_be_called(node: InMemoryNode) -> None:
    assert {name: access for name, _, access in remote_methods(node.controller)} == EXPOSED


def test_nothing_else_of_the_controller_can_be_reached(anna: Caller) -> None:
    for hidden in ("platform", "_own", "request_shutdown", "system", "__class__", "__init__"):
        with pytest.raises(DopqError):
            anna(hidden)


@pytest.mark.parametrize("method", sorted(set(EXPOSED) - {"hello"}))
def test_nobody_may_only_say_hello(nobody: Caller, node: InMemoryNode, method: str) -> None:
    job = node.running()
    assert nobody("hello")["user"] is None
    with pytest.raises(NotLoggedIn):
        nobody(method, *ARGUMENTS.get(method, ()))
    assert node.platform.job(job.id) == job
    assert not node.stopped


@pytest.mark.parametrize("method", sorted(name for name, access in EXPOSED.items() if access is Access.ADMIN))
def test_a_user_may_not_do_what_is_for_admins(anna: Caller, node: InMemoryNode, method: str) -> None:
    with pytest.raises(NotAllowed):
        anna(method, *ARGUMENTS.get(method, ()))
    assert node.platform.queue_lock() is None
    assert not node.stopped


@pytest.mark.parametrize("method", OTHERS_JOB)
def test_a_user_may_not_touch_anothers_job(anna: Caller, node: InMemoryNode, method: str) -> None:
    job = node.queued("bert")
    with pytest.raises(NotAllowed, match="belongs to bert"):
        anna(method, *ARGUMENTS[method])
    assert node.platform.job(job.id) == job


def test_an_admin_may_cancel_anybodys_job(olga: Caller, node: InMemoryNode) -> None:
    job = node.queued("bert")
    assert olga("cancel_job", str(job.id))["state"] == "cancelled"


@pytest.mark.parametrize(
    ("method", "arguments"),
    [
        ("get_job", ()),
        ("get_job", (1,)),
        ("get_job", ("1", "2")),
        ("get_job", ("x" * 101,)),
        ("get_job", (None,)),
        ("get_job", ({"a": 1},)),
        ("wait_for_change", (0, 6.0)),
        ("wait_for_change", ("0", 0.0)),
        ("wait_for_change", (0, float("nan"))),
        ("get_containers_history_info", (0,)),
        ("get_containers_history_info", (True,)),
        ("begin_upload", ("short", 10)),
        ("begin_upload", ("key-of-mine", -1)),
        ("begin_upload", ("key-of-mine", 2**60)),
        ("send_chunk", ("key-of-mine", 0, "text")),
        ("submit", ("key-of-mine", "../evil.zip", "0" * 64)),
        ("submit", ("key-of-mine", "a\nb.zip", "0" * 64)),
        ("submit", ("key-of-mine", "a.zip", "zz")),
        ("read_result", ("1", "x", 0, 2**30)),
        ("delete_req_enqueued_containers", (["1"] * 1001,)),
        ("delete_req_enqueued_containers", ("1",)),
    ],
)
def test_a_wrong_call_is_told_what_is_wrong_with_it(
    anna: Caller, node: InMemoryNode, method: str, arguments: tuple[object, ...]
) -> None:
    job = node.running()
    with pytest.raises(UserError) as caught:
        anna(method, *arguments)
    assert caught.value.code == "bad_request"
    assert caught.value.hint
    assert node.platform.alive() == [job]


def test_a_defect_of_ours_crosses_as_a_number_only(
    anna: Caller, node: InMemoryNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("the secret of /etc/shadow")

    monkeypatch.setattr(node.platform, "find", broken)
    with pytest.raises(DopqError) as caught:
        anna("get_job", "1")
    assert caught.value.code == "internal"
    assert "secret" not in str(caught.value) + repr(caught.value.details)
    assert "Traceback" not in str(vars(caught.value))


def test_a_removed_user_is_out_at_the_next_call(anna: Caller, node: InMemoryNode) -> None:
    assert anna("whoami")["user"] == "anna"
    node.users.remove("anna")
    with pytest.raises(NotLoggedIn):
        anna("whoami")


def test_both_names_lead_to_the_controller(boundary: Boundary) -> None:
    script = f"""
import Pyro5.api
Pyro5.config.SERIALIZER = "msgpack"
host, _, port = {boundary.nameserver!r}.rpartition(":")
for name in ({CONTROLLER!r}, {ALIAS!r}):
    with Pyro5.api.locate_ns(host, int(port)) as ns, Pyro5.api.Proxy(ns.lookup(name)) as proxy:
        print(proxy.hello()["service"])
Pyro5.config.SERIALIZER = "json"
with Pyro5.api.Proxy({boundary.uri!r}) as proxy:
    print(proxy.hello()["service"])
"""
    said = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True)
    assert said.stdout.split() == ["dopq"] * 3


# Pyro5 leaves a socket to the garbage collector that it could not bind; the service ends then anyway.
LEFT_BY_PYRO = pytest.mark.filterwarnings("ignore:Exception ignored in.*socket:pytest.PytestUnraisableExceptionWarning")


@LEFT_BY_PYRO
def test_a_port_that_is_taken_is_told_with_the_key_to_change(boundary: Boundary, node: InMemoryNode) -> None:
    port = int(boundary.nameserver.rpartition(":")[2])
    with pytest.raises(OperatorError, match=f"127.0.0.1:{port}") as caught:
        Boundary(node.controller, node.users, RemoteSettings(nameserver_port=port))
    assert "remote.nameserver_port" in caught.value.hint
    _collect(caught)


@LEFT_BY_PYRO
def test_an_external_nameserver_that_is_not_there_is_told(node: InMemoryNode) -> None:
    with pytest.raises(OperatorError, match="external nameserver") as caught:
        Boundary(node.controller, node.users, RemoteSettings(nameserver="external", nameserver_port=1))
    assert "embedded" in caught.value.hint
    _collect(caught)


def test_a_call_that_waits_for_news_gets_them_at_once(anna: Caller, node: InMemoryNode) -> None:
    seq = anna("wait_for_change", 0, 0.0)
    job = node.queued()
    assert anna("wait_for_change", seq, 5.0) >= job.seq


def _collect(caught: pytest.ExceptionInfo[OperatorError]) -> None:
    """Let go of what the traceback holds, here and not in whichever test comes next."""
    caught.value.__cause__ = caught.value.__traceback__ = None
    gc.collect()
