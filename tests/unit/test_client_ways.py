"""Ways to a service: how long they take at most, and where they do not go."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from dopq.boundary.doors import Tls
from dopq.certificate_folder import begin, shown
from dopq.config import NodeSettings, Paths
from dopq.errors import CertificateChanged, CertificateUnknown, ServiceUnreachable
from dopq.tls import peer_name, server_context
from dopq.utils.clock import SystemClock
from dopq_client import link, ways
from dopq_client.account import Account
from dopq_client.dial import dial
from dopq_client.link import PyroLink
from dopq_client.ways import TcpWay, TlsWay, UnixWay, way_to
from tests.boundary_alone import boundary_alone

Found = list[tuple[int, int, int, str, tuple[object, ...]]]


def addresses(monkeypatch: pytest.MonkeyPatch, *found: tuple[str, int]) -> None:
    """Have every name lead to these addresses, in this order."""
    answer: Found = [
        (socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM, 6, "", (host, port))
        for host, port in found
    ]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_args, **_named: answer)


@contextmanager
def swallowing() -> Iterator[tuple[str, int]]:
    """An address that takes no more connections and refuses none, like one behind a firewall."""
    with socket.socket() as server:
        server.bind(("127.0.0.2", 0))
        server.listen(0)
        full = [socket.socket() for _ in range(4)]
        for one in full:
            one.setblocking(False)
            one.connect_ex(server.getsockname())
        yield server.getsockname()
        for one in full:
            one.close()


def closed_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


# --- connecting ---


def test_the_resolvers_first_address_is_tried_first(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.2", 0)) as first, socket.create_server(("127.0.0.3", 0)) as second:
        addresses(monkeypatch, first.getsockname(), second.getsockname())
        with dial("gpu1", 1, 2.0) as connected:
            assert connected.getpeername() == first.getsockname()


@pytest.mark.skipif(not socket.has_dualstack_ipv6(), reason="this machine has no IPv6")
def test_a_service_on_ipv6_is_reached_where_the_resolver_names_it_first(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("::1", 0), family=socket.AF_INET6) as server:
        port = server.getsockname()[1]
        addresses(monkeypatch, ("::1", port), ("127.0.0.1", port))
        with TcpWay("gpu1", port).connect(2.0).socket as connected:
            assert connected.getpeername()[0] == "::1"


def test_a_name_that_can_be_none_has_no_address() -> None:
    for name in ("gpu\0one", "a..b", "x" * 300):
        with pytest.raises(ServiceUnreachable, match="No address is known"):
            dial(name, 1, 2.0)


def test_an_address_that_refuses_is_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        addresses(monkeypatch, ("::1", closed_port()), ("127.0.0.1", closed_port()), server.getsockname())
        dial("gpu1", 1, 2.0).close()


def test_an_address_that_swallows_everything_leaves_time_for_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    with swallowing() as silent, socket.create_server(("127.0.0.1", 0)) as server:
        addresses(monkeypatch, silent, server.getsockname())
        dial("gpu1", 1, 1.0).close()


def test_all_addresses_together_take_no_longer_than_one_may(monkeypatch: pytest.MonkeyPatch) -> None:
    with swallowing() as silent:
        addresses(monkeypatch, *[silent] * 5)
        began = time.monotonic()
        with pytest.raises(ServiceUnreachable, match="does not answer"):
            dial("gpu1", 1, 0.5)
        assert time.monotonic() - began < 1.0


@pytest.mark.parametrize("pin", [None, "AB" * 32])
def test_a_service_that_does_not_answer_is_told_in_less_than_5_s(
    monkeypatch: pytest.MonkeyPatch, pin: str | None
) -> None:
    assert link.CONNECT_S + ways.LOOK_S <= 5.0
    monkeypatch.setattr(link, "CONNECT_S", 0.2)
    with swallowing() as (host, port):
        began = time.monotonic()
        with pytest.raises(ServiceUnreachable, match=rf"{host}:{port} cannot be reached. It does not answer"):
            PyroLink(way_to(Account(host, port, fingerprint=pin)), None).call("hello")
        assert time.monotonic() - began < 1.0


def test_a_resolver_that_never_answers_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    never = threading.Event()

    def ponder(*_args: object, **_named: object) -> Found:
        never.wait(60)
        return []

    monkeypatch.setattr(socket, "getaddrinfo", ponder)
    with pytest.raises(ServiceUnreachable, match="name server"):
        dial("gpu1", 1, 0.1)
    never.set()


@pytest.mark.parametrize("host", ["no-such-host.invalid", "a..b", "x" * 64, "256.1.1.1"])
def test_a_name_without_an_address_is_named(host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if host.endswith(".invalid"):  # the only one for which the resolver would ask somebody
        monkeypatch.setattr(socket, "getaddrinfo", unknown)
    with pytest.raises(ServiceUnreachable, match=f"No address is known for {host}"):
        dial(host, 9090, 5.0)


def unknown(*_args: object, **_named: object) -> Found:
    raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")


# --- in the clear ---


class Elsewhere(socket.socket):
    """A connection whose other end is on another machine."""

    def getpeername(self) -> tuple[str, int]:
        return ("192.0.2.7", 9090)


@pytest.mark.parametrize("call", ["hello", "login"])
def test_in_the_clear_nothing_is_said_to_another_machine(monkeypatch: pytest.MonkeyPatch, call: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        connected = Elsewhere()
        connected.connect(server.getsockname())
        monkeypatch.setattr(ways, "dial", lambda *_: connected)
        with pytest.raises(CertificateUnknown, match=r"192\.0\.2\.7.*Nothing was sent") as refused:
            PyroLink(TcpWay("gpu1", 9090), "secret").call(call)
        assert "dopq-client login gpu1:9090" in refused.value.hint
        heard, _ = server.accept()
        with heard:
            assert heard.recv(100) == b""


# --- TLS ---


@pytest.fixture
def certificates(tmp_path: Path) -> Paths:
    paths = Paths(tmp_path / "lab", NodeSettings())
    begin(paths, "lab1", [], SystemClock().now())
    return paths


def pin_of(paths: Paths) -> str:
    return shown(paths)[0].fingerprint


@pytest.fixture
def port(certificates: Paths, tmp_path: Path) -> Iterator[int]:
    with boundary_alone(tmp_path / "home", tls=Tls(server_context(certificates), peer_name)) as alone:
        yield int(alone.address.rpartition(":")[2])


def test_the_pinned_service_answers(port: int, certificates: Paths) -> None:
    linked = PyroLink(TlsWay("127.0.0.1", port, pin_of(certificates), None), None)
    assert linked.call("hello")["service"] == "dopq"
    linked.close()


def test_the_labs_ca_vouches_for_the_name_that_is_in_the_certificate(
    port: int, certificates: Paths, monkeypatch: pytest.MonkeyPatch
) -> None:
    ca = certificates.certificates / "ca.pem"
    linked = PyroLink(TlsWay("localhost", port, None, ca), None)
    assert linked.call("hello")["service"] == "dopq"
    linked.close()
    addresses(monkeypatch, ("127.0.0.1", port))
    with pytest.raises(CertificateUnknown, match="gpu9"):
        PyroLink(TlsWay("gpu9", port, None, ca), None).call("hello")


def test_another_certificate_gets_no_token(port: int, certificates: Paths) -> None:
    with pytest.raises(CertificateChanged) as refused:
        PyroLink(TlsWay("127.0.0.1", port, "AB" * 32, None), "secret").call("hello")
    assert refused.value.details == {"fingerprint": pin_of(certificates), "expected": "AB" * 32}
    assert "--fingerprint" in refused.value.hint


def test_who_speaks_in_the_clear_to_a_service_with_tls_is_told_so(port: int) -> None:
    with pytest.raises(ServiceUnreachable) as refused:
        PyroLink(TcpWay("127.0.0.1", port), None).call("hello")
    assert "speaks TLS" in refused.value.hint
    assert f"dopq-client login 127.0.0.1:{port}" in refused.value.hint


def test_who_expects_tls_of_a_service_without_is_told_so(tmp_path: Path) -> None:
    with boundary_alone(tmp_path) as alone:
        host, _, port = alone.address.rpartition(":")
        with pytest.raises(ServiceUnreachable, match=r"does not speak TLS") as refused:
            PyroLink(TlsWay(host, int(port), "AB" * 32, None), "secret").call("hello")
    assert "remote.tls" in refused.value.hint


def test_a_service_that_is_silent_in_the_handshake_is_given_up_in_time() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        began = time.monotonic()
        with pytest.raises(ServiceUnreachable, match="does not go on"):
            TlsWay("127.0.0.1", silent.getsockname()[1], "AB" * 32, None).connect(0.2)
        assert time.monotonic() - began < 2.0


def test_a_byte_of_the_handshake_now_and_then_gains_no_time() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        began, pause = time.monotonic(), threading.Event()

        def trickle() -> None:
            connected, _ = server.accept()
            with connected:
                # A TLS record that says it has 16,384 bytes, and comes byte by byte.
                connected.sendall(b"\x16\x03\x03\x40\x00")
                while time.monotonic() - began < 3.0:
                    try:
                        connected.sendall(b"\0")
                    except OSError:
                        return
                    pause.wait(0.05)

        thread = threading.Thread(target=trickle)
        thread.start()
        with pytest.raises(ServiceUnreachable, match="does not go on"):
            TlsWay("127.0.0.1", server.getsockname()[1], "AB" * 32, None).connect(0.5)
        assert time.monotonic() - began < 2.0
        thread.join(10)


# --- the socket of this machine ---


def test_the_service_of_this_machine_answers_at_its_socket(tmp_path: Path) -> None:
    with boundary_alone(tmp_path / "home", socket=tmp_path / "dopq.sock") as alone:
        linked = PyroLink(UnixWay(tmp_path / "dopq.sock"), alone.tokens["anna"])
        assert linked.call("hello")["user"] == "anna"
        linked.close()


def test_a_socket_without_a_service_is_named(tmp_path: Path) -> None:
    path = tmp_path / "dopq.sock"
    with pytest.raises(ServiceUnreachable, match=str(path)) as refused:
        PyroLink(UnixWay(path), None).call("hello")
    assert "dopq serve" in refused.value.hint


def test_a_system_without_unix_sockets_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(socket, "AF_UNIX")
    with pytest.raises(ServiceUnreachable, match="no Unix sockets"):
        UnixWay(Path("x")).connect(1.0)
