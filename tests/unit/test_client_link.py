"""The link to a node over real sockets: a real boundary in this process, and things that are none."""

from __future__ import annotations

import inspect
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from Pyro5.nameserver import NameServerDaemon

from dopq.access import calls
from dopq.boundary import Boundary
from dopq.boundary.identity import identify_by
from dopq.config import RemoteSettings
from dopq.controller import DopqController
from dopq.errors import DopqError, NotFound, NotLoggedIn, OperatorError, ServiceUnreachable, SlowDown, UserError
from dopq.protocol.frames import EXCEPTION, Kind, frame
from dopq.protocol.plain import pack
from dopq.protocol.stream import Stream
from dopq.wire import ERROR_CLASS
from dopq_client import link as link_module
from dopq_client.client import DopqClient
from dopq_client.link import KEYED, PyroLink, changes_nothing, may_repeat
from dopq_client.ways import TcpWay
from tests.in_memory_node import InMemoryNode


@pytest.fixture
def node(tmp_path: Path) -> Iterator[InMemoryNode]:
    node = InMemoryNode(tmp_path)
    yield node
    node.close()


@pytest.fixture
def port(node: InMemoryNode) -> Iterator[int]:
    """The port of the nameserver that leads to the node."""
    boundary = Boundary(
        node.controller, RemoteSettings(port=0), identify=identify_by(node.users, node.logins), audit=lambda *_: None
    )
    boundary.start()
    yield int(boundary.address.rpartition(":")[2])
    boundary.stop(5.0)


@contextmanager
def linked(port: int, token: str | None) -> Iterator[PyroLink]:
    link = PyroLink(TcpWay("127.0.0.1", port), token)
    try:
        yield link
    finally:
        link.close()


def test_a_node_answers_over_the_wire(node: InMemoryNode, port: int, tmp_path: Path) -> None:
    job = node.ended()
    node.leaves(job, "output/weights", bytes(300_000))
    with DopqClient.connect(f"127.0.0.1:{port}", node.tokens["anna"]) as client:
        assert client.hello()["user"] == "anna"
        assert client.job("@")["state"] == "succeeded"
        client.fetch(job.id, tmp_path / "here")
    assert (tmp_path / "here/output/weights").read_bytes() == bytes(300_000)


def test_errors_keep_class_code_sentence_and_hint(node: InMemoryNode, port: int) -> None:
    with linked(port, node.tokens["anna"]) as link:
        with pytest.raises(NotFound, match="no job 99") as caught:
            link.call("get_job", "99")
        assert caught.value.hint
        with pytest.raises(UserError, match="called wrongly"):
            link.call("get_job", "")


@pytest.mark.parametrize("token", [None, "wrong"])
def test_a_stranger_hears_no_more_than_hello(port: int, token: str | None) -> None:
    with linked(port, token) as link:
        assert link.call("hello")["user"] is None
        with pytest.raises(NotLoggedIn):
            link.call("get_job", "1")


def test_arguments_that_a_service_of_another_version_lacks_tell_of_versions(
    node: InMemoryNode, port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(link_module, "__version__", "9.9.9")
    with linked(port, node.tokens["anna"]) as link:
        with pytest.raises(OperatorError, match=r"It is DoPQ .*, this client is 9\.9\.9\. .*update the older"):
            link.call("get_jobs", 50, 0, False, None, [], "an argument of tomorrow")
        with pytest.raises(NotFound):
            link.call("get_job", "99")


def test_a_call_that_the_service_does_not_know_tells_of_versions(port: int) -> None:
    with linked(port, None) as link, pytest.raises(OperatorError, match="different versions"):
        link.call("get_rich_quick")


def test_every_thread_may_use_the_same_link(node: InMemoryNode, port: int) -> None:
    names: list[str | None] = []
    with linked(port, node.tokens["anna"]) as link:

        def ask() -> None:
            names.append(link.call("hello")["user"])
            link.close()

        threads = [threading.Thread(target=ask) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(10)
        ask()
    assert names == ["anna"] * 5


def test_a_connection_that_was_cut_meanwhile_is_made_anew(node: InMemoryNode, port: int) -> None:
    job = node.running()
    with linked(port, node.tokens["anna"]) as link:
        assert link.call("get_job", str(job.id))["state"] == "running"
        cut(link)
        assert link.call("get_job", str(job.id))["state"] == "running"
        cut(link)
        assert link.call("cancel_job", str(job.id))["state"] == "stopping"


def test_a_token_that_ends_under_an_open_connection_is_told_so_also_when_that_was_cut(
    node: InMemoryNode, port: int
) -> None:
    with linked(port, node.tokens["anna"]) as link:
        assert link.call("whoami")["user"] == "anna"
        node.logins.end_all("anna")
        for _ in range(2):
            with pytest.raises(NotLoggedIn, match="has expired, was ended"):
                link.call("whoami")
            cut(link)


class LosesAnswers:
    """A way to a node on which the connection breaks after each of the first `lost` calls has reached it."""

    def __init__(self, port: int, lost: int) -> None:
        self._port, self._left = port, lost

    def connect(self, timeout_s: float) -> Stream:
        here, there = socket.socketpair()
        real = socket.create_connection(("127.0.0.1", self._port), timeout_s)
        threading.Thread(target=self._carry, args=(there, real), daemon=True).start()
        return Stream(here)

    def _carry(self, client: socket.socket, node: socket.socket) -> None:
        with client, node:
            node.sendall(client.recv(2**16))  # the handshake, and its answer
            client.sendall(node.recv(2**16))
            while call := client.recv(2**16):
                node.sendall(call)
                answer = node.recv(2**16)
                if self._left:
                    self._left -= 1
                    return
                client.sendall(answer)

    def elsewhere(self, host: str, port: int) -> LosesAnswers:
        return self


def test_a_change_whose_answer_was_lost_is_asked_again_and_done_once(node: InMemoryNode, port: int) -> None:
    for _ in range(2):
        node.ended()
    link = PyroLink(LosesAnswers(port, lost=1), node.tokens["olga"])
    assert link.call("clear_dopq_history") == 2, "the second call is told what the first one did"
    link.close()


def test_a_link_that_breaks_time_and_again_is_given_up(node: InMemoryNode, port: int) -> None:
    link = PyroLink(LosesAnswers(port, lost=2), node.tokens["olga"])
    with pytest.raises(ServiceUnreachable):
        link.call("clear_dopq_history")
    link.close()


def cut(link: PyroLink) -> None:
    """Cut the connection under the link."""
    link._mine.channel._stream.cut()


def test_nobody_there_is_told_at_once_with_host_and_port() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    began = time.monotonic()
    with pytest.raises(ServiceUnreachable, match=rf"127\.0\.0\.1:{port} cannot be reached") as caught:
        PyroLink(TcpWay("127.0.0.1", port), None).call("hello")
    assert time.monotonic() - began < 5
    assert "dopq serve" in caught.value.hint


def test_a_service_that_never_answers_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(link_module, "CONNECT_S", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent, pytest.raises(ServiceUnreachable):
        PyroLink(TcpWay("127.0.0.1", silent.getsockname()[1]), None).call("hello")


def test_something_else_on_that_port_is_no_service() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def speak_http() -> None:
            connection, _ = server.accept()
            with connection:
                connection.recv(100)
                connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n" + b"x" * 100)

        thread = threading.Thread(target=speak_http)
        thread.start()
        with pytest.raises(ServiceUnreachable):
            PyroLink(TcpWay("127.0.0.1", server.getsockname()[1]), None).call("hello")
        thread.join(10)


def test_a_nameserver_without_a_node_is_told_apart() -> None:
    daemon = NameServerDaemon("127.0.0.1", 0)
    thread = threading.Thread(target=daemon.requestLoop)
    thread.start()
    try:
        port = int(daemon.locationStr.rpartition(":")[2])
        with pytest.raises(ServiceUnreachable, match="does not let us in"):
            PyroLink(TcpWay("127.0.0.1", port), None).call("hello")
    finally:
        daemon.shutdown()
        thread.join(10)


@contextmanager
def answering(*answers: bytes) -> Iterator[int]:
    """The port of something that answers the first message of a connection, the second one and so on like this."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            with suppress(OSError):
                while True:
                    connection, _ = server.accept()
                    with connection:
                        for number in range(1_000):
                            seq = int.from_bytes(connection.recv(2**16)[10:12], "big")
                            packed = answers[min(number, len(answers) - 1)]
                            kind = Kind.RESULT if number else Kind.CONNECT_OK
                            connection.sendall(frame(kind, seq, packed, flags=EXCEPTION if number else 0))

        thread = threading.Thread(target=serve)
        thread.start()
        yield server.getsockname()[1]
        server.shutdown(socket.SHUT_RDWR)
    thread.join(10)


def refusing(**error: object) -> bytes:
    return pack({"__class__": ERROR_CLASS, "__exception__": True, "message": "no", "hint": "", **error})


@pytest.mark.parametrize("wait_s", [-1e9, -1, 0, 0.0, 1e-9, 1e300, 2**63, "5", None, [], {}])
def test_a_service_that_says_slow_down_for_ever_is_given_up(monkeypatch: pytest.MonkeyPatch, wait_s: object) -> None:
    monkeypatch.setattr(link_module, "PATIENCE_S", 0.3)
    began = time.monotonic()
    refusal = refusing(code="slow_down", details={"wait_s": wait_s})
    with answering(pack({}), refusal) as port, linked(port, None) as link, pytest.raises(SlowDown):
        link.call("hello")
    assert time.monotonic() - began < 2.0


@pytest.mark.parametrize(
    "error",
    [
        {"code": 5, "message": ["x"], "hint": None, "details": [1]},
        {"code": "x" * 1_000_000},
        {"code": "slow_down", "details": None},
        {"__class__": "builtins.SystemExit"},
        {"__class__": ["a"], "args": 5},
        {"__class__": "builtins.KeyboardInterrupt", "args": ["x" * 1_000_000]},
    ],
)
def test_a_refusal_of_any_shape_is_an_error_of_ours(error: dict[str, object]) -> None:
    with answering(pack({}), refusing(**error)) as port, linked(port, None) as link, pytest.raises(DopqError):
        link.call("hello")


@pytest.mark.parametrize("method", ["get_job", "list_results", "read_log", "wait_for_change", "submit", "send_chunk"])
def test_what_reads_or_carries_a_key_may_be_repeated(method: str) -> None:
    assert may_repeat(method)


@pytest.mark.parametrize(
    "method",
    ["cancel_job", "delete_req_enqueued_containers", "dopq_system_lock", "clear_dopq_history", "shutdown_queue"],
)
def test_what_changes_something_may_not(method: str) -> None:
    assert not may_repeat(method)


def test_why_cancelling_is_not_repeated_a_name_means_another_job_the_second_time(node: InMemoryNode) -> None:
    older, newer = node.queued(name="iris"), node.queued(user="bert", name="iris")
    admin = node.link(node.tokens["olga"])
    node.platform.cancel(newer.id, by="bert")
    assert admin.call("cancel_job", "iris")["id"] == older.id  # its answer gets lost, and before it is asked again:
    again = node.queued(name="iris")
    assert admin.call("cancel_job", "iris")["id"] == again.id


def test_what_the_client_takes_for_reading_is_what_the_table_says_changes_nothing() -> None:
    rows = calls(DopqController)
    assert {name for name in rows if changes_nothing(name)} == {
        name for name, row in rows.items() if not row.changes
    } - KEYED
    assert {name for name in rows if "key" in inspect.signature(getattr(DopqController, name)).parameters} == KEYED
