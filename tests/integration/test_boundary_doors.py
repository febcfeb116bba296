"""The doors of the boundary: TLS, and the Unix socket on which the kernel says who calls."""

from __future__ import annotations

import os
import socket
import ssl
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import Pyro5.api
import Pyro5.client
import pytest
from Pyro5.serializers import SerializerBase

from dopq import certificate_folder
from dopq.boundary.doors import Evidence, TcpDoor, Tls, UnixDoor
from dopq.boundary.identity import identify_by
from dopq.boundary.names import Names
from dopq.caller import LOCAL, Caller
from dopq.config import NodeSettings, Paths, RemoteSettings
from dopq.errors import NotLoggedIn, OperatorError
from dopq.protocol.channel import Channel
from dopq.protocol.stream import Stream, StreamClosed
from dopq.tls import peer_name, server_context
from dopq.users import Role
from dopq.utils.host_names import host_for_others
from dopq.wire import CONTROLLER, ERROR_CLASS, error_from_wire
from tests.boundary_alone import Alone, boundary_alone
from tests.integration.test_boundary import pyro_config
from tests.platforms import open_descriptors
from tests.waiting import wait_until

TIMEOUT_S = 10.0


def certificates(folder: Path, name: str = "lab1") -> Paths:
    folder.mkdir()
    paths = Paths(folder, NodeSettings())
    certificate_folder.begin(paths, name, [], datetime.now(UTC))
    return paths


@pytest.fixture
def lab(tmp_path: Path) -> Paths:
    return certificates(tmp_path / "lab")


@contextmanager
def with_tls(folder: Path, lab: Paths) -> Iterator[Alone]:
    with boundary_alone(folder, RemoteSettings(port=0, tls=True), tls=Tls(server_context(lab), peer_name)) as running:
        yield running


def tcp(running: Alone, source: str = "127.0.0.1") -> socket.socket:
    host, _, port = running.address.rpartition(":")
    return socket.create_connection((host, int(port)), TIMEOUT_S, (source, 0))


def trusting(lab: Paths) -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.load_verify_locations(lab.certificates / "ca.pem")
    context.verify_flags |= ssl.VERIFY_X509_STRICT
    return context


def secured(running: Alone, context: ssl.SSLContext, token: str | None = None, source: str = "127.0.0.1") -> Channel:
    stream = Stream(tcp(running, source))
    stream.secure(context, time.monotonic() + TIMEOUT_S, client_of="localhost")
    return Channel(stream, CONTROLLER, {"token": token}, TIMEOUT_S)


def call(channel: Channel, method: str, *arguments: object) -> Any:
    try:
        return channel.call(method, list(arguments), {}, TIMEOUT_S)
    finally:
        channel.close()


# --- TLS ---


def test_a_user_is_served_over_tls(tmp_path: Path, lab: Paths) -> None:
    with with_tls(tmp_path, lab) as running:
        assert call(secured(running, trusting(lab), running.tokens["anna"]), "whoami")["user"] == "anna"


def test_pyro5s_own_client_is_served_over_tls(tmp_path: Path, lab: Paths) -> None:
    SerializerBase.register_dict_to_class(ERROR_CLASS, lambda _tag, data: error_from_wire(data))
    ca = str(lab.certificates / "ca.pem")
    with (
        with_tls(tmp_path, lab) as running,
        pyro_config(SERIALIZER="msgpack", SSL=True, SSL_CACERTS=ca, SSL_SERVERCERT=""),
        Pyro5.client.Proxy(f"PYRONAME:{CONTROLLER}@{running.address}") as proxy,
    ):
        proxy._pyroHandshake = {"token": running.tokens["anna"]}
        assert proxy.hello()["user"] == "anna"


def test_in_the_clear_nothing_is_served_on_a_tls_port(tmp_path: Path, lab: Paths) -> None:
    with with_tls(tmp_path, lab) as running, pytest.raises(Exception, match=r"(?i)hung up|reset|no answer"):
        Channel(Stream(tcp(running)), CONTROLLER, {}, TIMEOUT_S)


def test_a_certificate_of_a_foreign_ca_lets_nobody_in(tmp_path: Path, lab: Paths) -> None:
    foreign = certificates(tmp_path / "foreign", "lab2")
    context = trusting(lab)
    context.load_cert_chain(foreign.certificates / "node.pem", foreign.certificates / "node.key")
    with with_tls(tmp_path, lab) as running, pytest.raises(Exception, match=r"(?i)unknown ca|hung up|reset|EOF"):
        secured(running, context, running.tokens["anna"])


def test_silent_connections_before_tls_keep_nobody_waiting(tmp_path: Path, lab: Paths) -> None:
    with with_tls(tmp_path, lab) as running, ExitStack() as stack:
        for number in range(200):
            client = stack.enter_context(tcp(running))
            if number % 2:
                client.sendall(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03")  # a hello that breaks off
        for _ in range(5):
            began = time.monotonic()
            assert call(secured(running, trusting(lab), source="127.0.0.2"), "hello")["user"] is None
            assert time.monotonic() - began < 1.0


def test_who_is_cut_while_the_socket_is_being_wrapped_is_cut() -> None:
    """The plain socket has been emptied then, and nobody has the other one yet: neither could be shut down."""

    class CutsMeanwhile(ssl.SSLContext):
        def wrap_socket(self, sock: socket.socket, *arguments: Any, **named: Any) -> ssl.SSLSocket:
            wrapped = super().wrap_socket(sock, *arguments, **named)
            stream.cut()
            return wrapped

    here, there = socket.socketpair()
    stream = Stream(here)
    with there, pytest.raises(StreamClosed, match="cut"):
        stream.secure(CutsMeanwhile(ssl.PROTOCOL_TLS_SERVER), time.monotonic() + 0.5)
    stream.close()


def test_an_address_that_only_we_understand_is_told_to_nobody() -> None:
    """A caller on the same link: `fe80::1%eth0` names an interface of this machine."""

    class OnTheLink(socket.socket):
        def getsockname(self) -> Any:
            return ("fe80::1%eth0", 9090, 0, 2)

    door = TcpDoor("127.0.0.1", 0, None)
    with socket.create_connection(("127.0.0.1", door.port)):
        connected, _ = door.listening.accept()
        with OnTheLink(fileno=connected.detach()) as local:
            evidence = door.first_look(local)
    door.close()
    names = Names("gpu1:9090")
    found = names.lookup(Caller(None, evidence.address, reached=evidence.host), CONTROLLER)
    assert isinstance(found, dict)
    assert found["state"][3:] == ["gpu1", 9090]


def test_who_listens_everywhere_tells_nobody_an_address_that_leads_them_to_themselves(tmp_path: Path) -> None:
    with boundary_alone(tmp_path, RemoteSettings(host="0.0.0.0", port=0, tls=True)) as running:
        host = running.address.rpartition(":")[0]
        assert host == host_for_others("0.0.0.0")
        assert not host.startswith(("0.", "127."))


# --- the Unix socket ---


@contextmanager
def on_a_socket(folder: Path) -> Iterator[tuple[Alone, Path]]:
    path = folder / "s"
    with boundary_alone(folder, socket=path) as running:
        yield running, path


def local(path: Path, token: str | None = None) -> Channel:
    connected = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    connected.connect(str(path))
    return Channel(Stream(connected), CONTROLLER, {"token": token}, TIMEOUT_S)


def as_uid(path: Path, uid: int, *arguments: str) -> str:
    """What a process of that user is told by `hello`."""
    script = f"""
import os, socket, sys
from dopq.protocol.channel import Channel
from dopq.protocol.stream import Stream
os.setresgid({uid}, {uid}, {uid}); os.setresuid({uid}, {uid}, {uid})
connected = socket.socket(socket.AF_UNIX); connected.connect({str(path)!r})
channel = Channel(Stream(connected), "dopq.controller", {{}}, 10.0)
print(channel.call("hello", [], {{}}, 10.0)["user"])
channel.close()
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False)
    return done.stdout.strip() or done.stderr


@pytest.fixture
def public() -> Iterator[Path]:
    """A folder that other users may enter, as they may /run."""
    with tempfile.TemporaryDirectory(prefix="dopq-") as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


@pytest.mark.skipif(os.geteuid() != 0, reason="takes other uids: needs root")
def test_the_kernel_says_who_calls_and_nobody_can_say_otherwise(public: Path) -> None:
    with on_a_socket(public) as (running, path):
        running.home.users.add("cleo", role=Role.USER, weight=1.0, uid=4711, now=running.home.clock.now())
        assert as_uid(path, 4711) == "cleo"
        assert as_uid(path, 4712) == "None"
        assert as_uid(path, 65534) == "None"
        running.home.users.remove("cleo")
        assert as_uid(path, 4711) == "None"


def test_a_token_works_on_the_socket_too(tmp_path: Path) -> None:
    with on_a_socket(tmp_path) as (running, path):
        assert call(local(path, running.tokens["olga"]), "hello")["user"] == "olga"
        with pytest.raises(NotLoggedIn):
            call(local(path, "wrong"), "whoami")


def test_who_brings_a_dead_token_is_nobody_and_not_the_user_of_their_uid(tmp_path: Path) -> None:
    with on_a_socket(tmp_path) as (running, _):
        running.home.users.set_uid("olga", 4711)
        for evidence in (Evidence(LOCAL, uid=4711), Evidence("127.0.0.1")):
            identify = identify_by(running.home.users, running.home.logins)
            assert identify(evidence, running.tokens["anna"]).principal == "user anna"
            assert identify(evidence, "dead").principal is None
        assert identify(Evidence(LOCAL, uid=4711), None).principal == "user olga"


def test_everybody_may_connect_and_the_socket_goes_with_the_service(tmp_path: Path) -> None:
    former = os.umask(0o077)
    try:
        with on_a_socket(tmp_path) as (_, path):
            assert path.stat().st_mode & 0o777 == 0o666
    finally:
        os.umask(former)
    assert not path.exists()


def test_a_socket_that_a_killed_service_left_is_replaced_and_a_living_ones_is_not(tmp_path: Path) -> None:
    path = tmp_path / "s"
    left = socket.socket(socket.AF_UNIX)
    left.bind(str(path))
    left.close()
    door = UnixDoor(path)
    with pytest.raises(OperatorError, match="Another service answers"):
        UnixDoor(path)
    assert path.exists()
    door.close()


def test_the_usual_place_is_the_first_nodes_and_a_chosen_one_is_needed(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    with on_a_socket(tmp_path / "a") as (_, path):
        with boundary_alone(tmp_path / "b", socket=path) as second:
            assert "need a token" in str(second.boundary.trouble)
        with (
            pytest.raises(OperatorError, match="Another service"),
            boundary_alone(tmp_path / "c", RemoteSettings(port=0, socket=str(path)), socket=path),
        ):
            pass
        assert call(local(path), "hello")["service"] == "dopq"


@pytest.mark.skipif(os.geteuid() != 0, reason="takes another uid: needs root")
def test_the_folder_that_it_makes_lets_everybody_in_whatever_the_services_umask(public: Path) -> None:
    former = os.umask(0o077)
    try:
        with boundary_alone(public, socket=public / "run/s"):
            assert as_uid(public / "run/s", 4712) == "None"
    finally:
        os.umask(former)


@pytest.mark.parametrize("kind", ["file", "link", "folder"])
def test_what_is_no_socket_is_left_alone(tmp_path: Path, kind: str) -> None:
    path, thesis = tmp_path / "s", tmp_path / "thesis"
    thesis.write_text("years of work")
    match kind:
        case "file":
            path.hardlink_to(thesis)
        case "link":
            path.symlink_to(thesis)
        case _:
            path.mkdir()
    with pytest.raises(OperatorError, match="no socket"):
        UnixDoor(path)
    assert os.path.lexists(path)
    assert thesis.read_text() == "years of work"


@pytest.mark.parametrize(("mode", "may"), [(0o755, True), (0o1777, True), (0o777, False), (0o775, False)])
def test_a_folder_in_which_others_may_rename_is_refused(tmp_path: Path, mode: int, may: bool) -> None:
    folder = tmp_path / "open"
    folder.mkdir()
    folder.chmod(mode)
    if may:
        UnixDoor(folder / "s").close()
    else:
        with pytest.raises(OperatorError, match="others may change"):
            UnixDoor(folder / "s")


@pytest.mark.skipif(os.geteuid() != 0, reason="gives a folder away: needs root")
def test_a_folder_that_is_anothers_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "theirs"
    folder.mkdir(0o755)
    os.chown(folder, 4711, 4711)
    with pytest.raises(OperatorError, match="others may change"):
        UnixDoor(folder / "s")


def test_who_stops_does_not_remove_the_socket_of_who_comes_next(tmp_path: Path) -> None:
    class TakesThePath(socket.socket):
        def close(self) -> None:
            nonlocal next_one
            super().close()
            next_one = next_one or UnixDoor(path)

    next_one: UnixDoor | None = None
    path = tmp_path / "s"
    door = UnixDoor(path)
    door.listening = TakesThePath(fileno=door.listening.detach())
    door.close()
    assert next_one is not None
    assert path.exists()
    next_one.close()


def test_a_path_that_is_too_long_is_told(tmp_path: Path) -> None:
    with pytest.raises(OperatorError, match="cannot listen") as refused:
        UnixDoor(tmp_path / ("x" * 120))
    assert "remote.socket" in refused.value.hint


# --- the end ---


def test_a_service_that_stops_answers_what_it_is_asked_and_lets_go_of_all_others(tmp_path: Path) -> None:
    before = open_descriptors()
    with on_a_socket(tmp_path) as (_, path):
        idle = [local(path) for _ in range(10)]
        began = time.monotonic()
    assert time.monotonic() - began < 3.0
    for channel in idle:
        with pytest.raises(Exception, match=r"hung up|pipe|reset"):
            call(channel, "hello")
    wait_until(lambda: open_descriptors() <= before, 5.0)
