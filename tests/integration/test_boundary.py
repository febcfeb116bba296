"""The boundary over real sockets: who gets in, what may be called, and what is let out."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import Pyro5.api
import Pyro5.errors
import pytest
from Pyro5.client import Proxy
from Pyro5.nameserver import NameServerDaemon
from Pyro5.serializers import SerializerBase

from dopq.boundary import Boundary
from dopq.boundary.identity import identify_by
from dopq.caller import Caller
from dopq.config import RemoteSettings
from dopq.controller import DopqController
from dopq.errors import (
    DopqError,
    InvariantBroken,
    NotAllowed,
    NotFound,
    NotLoggedIn,
    OperatorError,
    ServiceUnreachable,
    UnknownCall,
    UserError,
)
from dopq.job import StateName
from dopq.uploads import Uploads
from dopq.users import Role
from dopq.wire import ALIAS, CONTROLLER, ERROR_CLASS, error_from_wire
from dopq_client.link import PyroLink
from dopq_client.ways import TcpWay
from tests.access_table import TABLE
from tests.neighbours import lone
from tests.platforms import ANNA, BERT, OLGA, Home, open_descriptors
from tests.waiting import wait_until

OF_ANYBODY, OF_USERS, OF_ADMINS = (
    {name for name, (allowed, _, _) in TABLE.items() if allowed == who} for who in ("anybody", "user", "admin")
)

SHA256 = "0" * 64
ARGUMENTS: dict[str, tuple[object, ...]] = {
    "begin_upload": ("laptop-0001", 5),
    "cancel_job": ("1",),
    "delete_req_enqueued_containers": (["1"],),
    "dopq_system_drain": (True,),
    "dopq_system_lock": (True,),
    "get_job": ("1",),
    "get_explanation": ("1",),
    "get_job_story": ("1",),
    "get_report": ("1",),
    "hold_job": ("1",),
    "list_results": ("1",),
    "measure_node_speed": ("gpu9",),
    "read_log": ("1", False, 0, 10, 0.0),
    "read_result": ("1", "job.log", 0, 10),
    "release_job": ("1",),
    "rerun_job": ("1", "again-0001"),
    "send_chunk": ("laptop-0001", 0, b"x"),
    "submit": ("laptop-0001", "x.zip", SHA256),
    "wait_for_change": (0, 0.0),
}


class Node:
    """A boundary in front of a real controller, and ways to call it."""

    def __init__(self, folder: Path) -> None:
        self.home = Home(folder)
        self.stopped = False
        self.audited: list[tuple[str | None, str, dict[str, object], str]] = []
        self.socket: Path | None = None
        self.system: dict[str, Any] | Exception = {"node": "node1"}
        self.controller = DopqController(
            platform=self.home.platform,
            results=self.home.results,
            uploads=Uploads(self.home.paths.uploads, self.home.paths.spool, 10 * 2**20, lambda _bytes: None),
            system=self._system,
            nodes=lone(folder),
            limits={"max_bundle_bytes": 1},
            request_shutdown=self._stop,
            accounts=self.home.accounts,
        )
        self.boundary = self.bound(RemoteSettings(port=0))
        self.boundary.start()

    def bound(self, settings: RemoteSettings) -> Boundary:
        return Boundary(
            self.controller,
            settings,
            identify=identify_by(self.home.users, self.home.logins),
            audit=self._audit,
            socket=self.socket,
        )

    def _audit(self, caller: Caller, method: str, what: Mapping[str, object], result: str) -> None:
        self.audited.append((str(caller.user.name) if caller.user else None, method, dict(what), result))

    def _stop(self) -> None:
        self.stopped = True

    def _system(self) -> dict[str, Any]:
        if isinstance(self.system, Exception):
            raise self.system
        return self.system

    def close(self) -> None:
        self.boundary.stop(5.0)
        self.home.close()

    @contextmanager
    def proxy(self, token: object = None) -> Iterator[Any]:
        """Pyro5's own client, of the serializer that is served."""
        SerializerBase.register_dict_to_class(ERROR_CLASS, lambda _tag, data: error_from_wire(data))
        proxy = Proxy(f"PYRO:{CONTROLLER}@{self.boundary.address}")
        proxy._pyroSerializer = "msgpack"
        proxy._pyroHandshake = {"token": token}
        proxy._pyroTimeout = 10.0
        with proxy:
            yield proxy

    def call(self, user: str | None, method: str, *arguments: object) -> Any:
        """Call through Pyro's own machinery, so that what it does not expose can be tried as well."""
        with self.proxy(self.home.tokens[user] if user else None) as proxy:  # type: ignore[index]
            proxy._pyroBind()
            return proxy._pyroInvoke(method, arguments, {})


@pytest.fixture(scope="module")
def module_node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    node = Node(tmp_path_factory.mktemp("node"))
    node.home.queued(ANNA, name="annas")
    yield node
    node.close()


@pytest.fixture
def node(module_node: Node) -> Iterator[Node]:
    """One node for all: a stop of Pyro takes half a second. Each test makes the jobs that it needs."""
    yield module_node
    module_node.home.platform.assert_consistent()


# --- what may be called, by whom ---


def test_exactly_these_methods_can_be_called(node: Node) -> None:
    with node.proxy() as proxy:
        proxy._pyroBind()
        assert proxy._pyroMethods == OF_ANYBODY | OF_USERS | OF_ADMINS
        assert proxy._pyroAttrs == set()


@pytest.mark.parametrize("method", sorted(OF_USERS | OF_ADMINS))
def test_a_stranger_gets_no_further_than_hello(node: Node, method: str) -> None:
    with pytest.raises(NotLoggedIn) as refused:
        node.call(None, method, *ARGUMENTS.get(method, ()))
    assert "log in" in refused.value.hint.lower()


def test_hello_greets_strangers_and_users(node: Node) -> None:
    assert node.call(None, "hello")["user"] is None
    assert node.call(ANNA, "hello")["user"] == ANNA


@pytest.mark.parametrize("token", ["", "wrong", "x" * 1_000, "\0", 5, 1.5, True, [], ["a"], {"a": 1}, b"bytes", None])
def test_a_wrong_token_is_no_token(node: Node, token: object) -> None:
    with node.proxy(token) as proxy, pytest.raises(NotLoggedIn):
        proxy.whoami()


@pytest.mark.parametrize("handshake", ["hello", None, [], {"token": {"token": "x"}}, {"user": "olga", "role": "admin"}])
def test_any_other_handshake_is_a_strangers(node: Node, handshake: object) -> None:
    with node.proxy() as proxy:
        proxy._pyroHandshake = handshake
        assert proxy.hello()["user"] is None


@pytest.mark.parametrize("method", sorted(OF_ADMINS))
def test_a_user_may_not_what_admins_may(node: Node, method: str) -> None:
    with pytest.raises(NotAllowed):
        node.call(ANNA, method, *ARGUMENTS.get(method, ()))
    assert node.home.platform.queue_lock() is None
    assert not node.home.platform.get_dopq_status()["draining"]
    assert not node.stopped


@pytest.mark.parametrize(
    "method", sorted(OF_USERS - {"submit", "read_result", "rerun_job", "measure_node_speed"})
)  # these need more: see the client's tests
def test_a_user_may_all_that_users_may(node: Node, method: str) -> None:
    """Every method takes its arguments as they come over the wire."""
    job = str(node.home.queued(ANNA).id)
    of_a_job = dict.fromkeys(("cancel_job", "hold_job", "release_job"), (job,)) | {
        "delete_req_enqueued_containers": ([job],)
    }
    node.call(ANNA, "begin_upload", "laptop-0001", 5)
    node.call(ANNA, method, *of_a_job.get(method, ARGUMENTS.get(method, ())))


def test_an_admin_may_what_admins_may(node: Node) -> None:
    assert node.call(OLGA, "dopq_system_lock", True, "new disks", 5.0)["lock"]["owner"] == OLGA
    assert node.call(OLGA, "dopq_system_lock", False)["lock"] is None
    assert node.call(OLGA, "dopq_system_drain", True, "new disks")["drain"] == {"owner": OLGA, "reason": "new disks"}
    assert not node.call(OLGA, "dopq_system_drain", False)["draining"]
    node.home.ended()
    assert node.call(OLGA, "clear_dopq_history") >= 1
    assert node.call(OLGA, "shutdown_queue")["node"] == "node1"
    assert node.stopped
    node.stopped = False


@pytest.mark.parametrize(
    "method",
    [
        "cancel_job",
        "delete_req_enqueued_containers",
        "get_job_story",
        "get_report",
        "hold_job",
        "list_results",
        "read_log",
        "read_result",
        "release_job",
        "rerun_job",
    ],
)
def test_nobody_acts_for_another(node: Node, method: str) -> None:
    job = node.home.queued(ANNA)
    number = str(job.id)
    arguments: list[object] = list(ARGUMENTS[method])
    arguments[0] = [number] if method == "delete_req_enqueued_containers" else number
    with pytest.raises(NotAllowed, match=f"{job.id} belongs to anna"):
        node.call(BERT, method, *arguments)
    assert node.home.platform.job(job.id) == job


def test_one_job_of_another_keeps_all_of_a_list_from_being_touched(node: Node) -> None:
    mine, other = node.home.queued(BERT), node.home.queued(ANNA)
    with pytest.raises(NotAllowed):
        node.call(BERT, "delete_req_enqueued_containers", [str(mine.id), str(other.id)])
    assert node.home.platform.job(mine.id) == mine


def test_an_admin_may_act_for_anybody(node: Node) -> None:
    job = node.home.queued(ANNA)
    assert node.call(OLGA, "cancel_job", str(job.id))["state"] == StateName.CANCELLED


def test_the_caller_cannot_be_forged_by_name(node: Node) -> None:
    olga = node.home.users.by_name(OLGA)
    assert olga is not None
    forged = {"name": "olga", "role": "admin", "weight": 1.0, "uid": None, "created_at": "2026-01-05"}
    for named in ({"caller": forged}, {"self": forged}, {"_face": forged}, {"access": "anybody"}, {"users": None}):
        with node.proxy(node.home.tokens[ANNA]) as proxy, pytest.raises(UserError):
            proxy._pyroInvoke("whoami", (), named)
    with pytest.raises(UserError):
        node.call(ANNA, "whoami", forged)


def test_a_removed_user_is_out_at_the_next_call_and_a_new_role_counts_at_once(node: Node) -> None:
    token = node.home.register("cleo")
    with node.proxy(token) as proxy:
        assert proxy.whoami()["role"] == "user"
        node.home.users.set_role("cleo", Role.ADMIN)
        assert proxy.dopq_system_lock(False)["lock"] is None
        node.home.users.set_role("cleo", Role.USER)
        with pytest.raises(NotAllowed):
            proxy.dopq_system_lock(False)
        node.home.users.remove("cleo")
        with pytest.raises(NotLoggedIn):
            proxy.whoami()


@pytest.mark.parametrize(
    "name",
    [
        "__init__", "__class__", "__dict__", "__getattribute__", "__reduce__", "_own", "platform", "users", "outbox",
        "get_running_info", "cancel", "system", "request_shutdown", "_pyroId", "_pyroDaemon", "nothing", "", "\0", "a" * 10_000,
    ],
)  # fmt: skip
def test_nothing_else_can_be_called_or_read(node: Node, name: str) -> None:
    for method, arguments in ((name, ()), ("__getattr__", (name,)), ("__setattr__", (name, 1))):
        with pytest.raises(UnknownCall):
            node.call(OLGA, method, *arguments)
    assert not node.stopped


# --- bad arguments ---


@pytest.mark.parametrize(
    ("method", "arguments"),
    [
        ("get_job", ()),
        ("get_job", ("1", "2")),
        ("get_job", (1,)),
        ("get_job", (None,)),
        ("get_job", (["1"],)),
        ("get_job", ({"a": 1},)),
        ("get_job", (b"1",)),
        ("get_job", ("",)),
        ("get_job", ("x" * 101,)),
        ("get_job", ("x" * 1_000_000,)),
        ("cancel_job", (True,)),
        ("get_containers_history_info", (0,)),
        ("get_containers_history_info", (-1,)),
        ("get_containers_history_info", (2**63,)),
        ("get_containers_history_info", (1.5,)),
        ("get_containers_history_info", ("5",)),
        ("get_containers_history_info", (5, 1)),
        ("delete_req_enqueued_containers", ("1",)),
        ("delete_req_enqueued_containers", ([1],)),
        ("delete_req_enqueued_containers", ([1] * 1000,)),
        ("delete_req_enqueued_containers", (["1"] * 1001,)),
        ("begin_upload", ("short", 5)),
        ("begin_upload", ("k" * 101, 5)),
        ("begin_upload", ("laptop-0001", -1)),
        ("begin_upload", ("laptop-0001", 0)),
        ("begin_upload", ("laptop-0001", 2**62)),
        ("send_chunk", ("laptop-0001", 0, "text")),
        ("send_chunk", ("laptop-0001", 0, b"x" * (256 * 1024 + 1))),
        ("send_chunk", ("laptop-0001", 2**63, b"x")),
        ("submit", ("laptop-0001", "x.zip", "abc")),
        ("submit", ("laptop-0001", "x.zip", "A" * 64)),
        ("submit", ("laptop-0001", "a/b.zip", SHA256)),
        ("submit", ("laptop-0001", "..", SHA256)),
        ("submit", ("laptop-0001", ".", SHA256)),
        ("submit", ("laptop-0001", "", SHA256)),
        ("submit", ("laptop-0001", "a\nb", SHA256)),
        ("submit", ("laptop-0001", "n" * 201, SHA256)),
        ("read_log", ("1", 0, 0, 10, 0.0)),
        ("read_log", ("1", False, -1, 10, 0.0)),
        ("read_log", ("1", False, 2**63, 10, 0.0)),
        ("read_log", ("1", False, 0, 0, 0.0)),
        ("read_log", ("1", False, 0, 10**9, 0.0)),
        ("read_log", ("1", False, 0, 10, 3600.0)),
        ("read_log", ("1", False, 0, 10, float("nan"))),
        ("get_job", ({"__class__": "Pyro5.client.Proxy", "state": ["PYRO:x@127.0.0.1:1"]},)),
        ("get_job", ({"__class__": "builtins.SystemExit", "__exception__": True, "args": []},)),
        ("read_result", ("1", "x" * 5000, 0, 10)),
        ("wait_for_change", (0, 1e9)),
        ("wait_for_change", ("0", 0.0)),
    ],
)
def test_a_wrong_call_is_the_callers_mistake_and_says_which(
    node: Node, method: str, arguments: tuple[object, ...]
) -> None:
    with pytest.raises(UserError) as refused:
        node.call(ANNA, method, *arguments)
    assert refused.value.code == "bad_request"
    assert len(refused.value.message) < 1000, "what came in is not sent back"
    assert "pydantic" not in refused.value.message


def test_a_wrong_argument_is_called_by_its_name(node: Node) -> None:
    with pytest.raises(UserError, match="get_job was called wrongly: reference: "):
        node.call(ANNA, "get_job", "")


@pytest.mark.parametrize(
    ("method", "arguments"),
    [("dopq_system_lock", (True, "r" * 201)), ("dopq_system_lock", (True, "", 0.0)), ("dopq_system_lock", (1,))],
)
def test_admins_make_mistakes_too(node: Node, method: str, arguments: tuple[object, ...]) -> None:
    with pytest.raises(UserError):
        node.call(OLGA, method, *arguments)
    assert node.home.platform.queue_lock() is None


# --- what is let out ---


def test_our_errors_arrive_with_code_message_hint_and_details(node: Node) -> None:
    with pytest.raises(NotFound) as missing:
        node.call(ANNA, "get_job", "4711")
    assert missing.value.code == "not_found"
    assert missing.value.message == "There is no job 4711."
    assert "status" in missing.value.hint
    with pytest.raises(UserError) as wrong:
        node.call(ANNA, "get_job", "")
    assert isinstance(wrong.value.details["problems"], list)


def test_a_defect_of_ours_shows_a_reference_number_and_nothing_else(
    node: Node, caplog: pytest.LogCaptureFixture
) -> None:
    node.system = RuntimeError("password in /state/journal of hospital X")
    with node.proxy(node.home.tokens[ANNA]) as proxy, pytest.raises(DopqError) as shown:
        proxy.get_dopq_system_status()
    node.system = {"node": "node1"}
    everything = "".join(map(str, [shown.value, shown.value.hint, shown.value.details, vars(shown.value)]))
    for leak in ("password", "hospital", "Traceback", "RuntimeError", ".py", "line "):
        assert leak not in everything
    assert isinstance(shown.value, InvariantBroken)
    reference = shown.value.hint.split()[-1].rstrip(".")
    assert len(reference) == 8
    assert any(getattr(record, "fields", {}).get("reference") == reference for record in caplog.records) or (
        reference in caplog.text
    )


def test_a_journal_that_fails_while_the_caller_is_looked_up_tells_nothing(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(_token: str) -> None:
        raise RuntimeError("secret")

    with node.proxy(node.home.tokens[ANNA]) as proxy:
        proxy._pyroBind()
        monkeypatch.setattr(node.home.logins, "by_token", fails)
        with pytest.raises(InvariantBroken) as shown:
            proxy.whoami()
        assert "secret" not in str(shown.value)
    with pytest.raises(Pyro5.errors.CommunicationError, match="failed on this call") as refused:
        node.call(ANNA, "whoami")
    assert "secret" not in str(refused.value)


def test_a_stock_client_can_say_hello_and_read_every_table(node: Node) -> None:
    node.home.ended()
    with node.proxy(node.home.tokens[ANNA]) as proxy:
        assert proxy.hello()["service"] == "dopq"
        for table in (
            proxy.get_running_containers_info(),
            proxy.get_enqueued_containers_info(),
            proxy.get_containers_history_info(),
            proxy.get_dopq_user_statistics(),
        ):
            assert isinstance(table, list)
            assert all(isinstance(row, dict) for row in table)


def test_a_result_with_any_name_can_be_listed(node: Node) -> None:
    job = node.home.queued(ANNA)
    output = node.home.outbox.folder(job) / "output"
    output.mkdir()
    (output / "Übersicht 50%.txt").write_bytes(b"x")
    assert [result["path"] for result in node.call(ANNA, "list_results", str(job.id))] == ["output/Übersicht 50%.txt"]


# --- the way there ---


@pytest.mark.parametrize("name", [CONTROLLER, ALIAS])
def test_both_names_lead_to_the_controller(node: Node, name: str) -> None:
    with pyro_config(SERIALIZER="msgpack"), Proxy(f"PYRONAME:{name}@{node.boundary.address}") as proxy:
        assert proxy.hello()["service"] == "dopq"


def test_only_this_machine_is_listened_on(node: Node) -> None:
    assert node.boundary.address.startswith("127.0.0.1:")


@contextmanager
def pyro_config(**changes: object) -> Iterator[None]:
    """Settings of the Pyro5 that plays the stranger here; they are its whole process's."""
    former = {key: getattr(Pyro5.config, key) for key in changes}
    try:
        for key, value in changes.items():
            setattr(Pyro5.config, key, value)
        yield
    finally:
        for key, value in former.items():
            setattr(Pyro5.config, key, value)


def test_an_external_nameserver_is_told_both_names_and_leads_our_own_client_here(node: Node) -> None:
    nameserver = NameServerDaemon("127.0.0.1", 0)
    thread = threading.Thread(target=nameserver.requestLoop, daemon=True)
    thread.start()
    boundary = node.bound(RemoteSettings(port=0, nameserver=nameserver.locationStr))
    boundary.start()
    host, _, port = nameserver.locationStr.rpartition(":")
    with Pyro5.api.locate_ns(host, int(port)) as names:
        assert {CONTROLLER, ALIAS} <= names.list().keys()
    link = PyroLink(TcpWay(host, int(port)), node.home.tokens[ANNA])
    assert link.call("hello")["user"] == ANNA
    link.close()
    boundary.stop(5.0)
    nameserver.shutdown()
    thread.join(5.0)


@pytest.mark.parametrize("what", ["port", "nameserver"])
def test_a_port_that_is_taken_or_dead_is_told_to_the_operator_and_nothing_stays_open(node: Node, what: str) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        if what == "port":
            taken.listen()
            settings = RemoteSettings(port=port)
        else:
            settings = RemoteSettings(port=0, nameserver=f"127.0.0.1:{port}")
        before = open_descriptors()
        with pytest.raises(OperatorError, match=str(port)) as refused:
            node.bound(settings)
        assert refused.value.hint
        wait_until(lambda: open_descriptors() <= before, 5.0)  # those of former tests may still be closing


def test_pyros_environment_has_no_effect(tmp_path: Path) -> None:
    """In a process of its own: the service does not even import Pyro5."""
    script = """
import sys, pathlib
from dopq.protocol.channel import Channel
from dopq.protocol.stream import Stream
import socket
from tests.boundary_alone import boundary_alone
with boundary_alone(pathlib.Path(sys.argv[1])) as running:
    host, port = running.address.split(":")
    channel = Channel(Stream(socket.create_connection((host, int(port)))), "dopq.controller", {}, 5.0)
    print(channel.call("hello", [], {}, 5.0)["service"])
    channel.close()
print("Pyro5" in sys.modules)
"""
    hostile = {
        "PYRO_SERIALIZER": "marshal",
        "PYRO_SERVERTYPE": "nonsense",
        "PYRO_LOGFILE": str(tmp_path / "pyro.log"),
        "PYRO_LOGLEVEL": "DEBUG",
        "PYRO_MAX_MESSAGE_SIZE": "10",
        "PYRO_HOST": "0.0.0.0",
    }
    python_path = os.pathsep.join(path for path in sys.path if path)
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path)],
        env=os.environ | hostile | {"PYTHONPATH": python_path},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.stdout.split() == ["dopq", "False"], done.stderr
    assert not (tmp_path / "pyro.log").exists()


def test_a_call_that_fails_because_the_node_stops_says_so(node: Node) -> None:
    with node.proxy(node.home.tokens[ANNA]) as proxy:
        with pytest.raises(NotFound):
            proxy.get_job("99")
        node.boundary._stopping.set()
        try:
            with pytest.raises(ServiceUnreachable, match="stopping"):
                proxy.get_job("99")
        finally:
            node.boundary._stopping.clear()
