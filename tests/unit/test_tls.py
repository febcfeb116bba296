"""TLS as OpenSSL does it, under its strict checks: who gets in, who is refused, and what each is told."""

from __future__ import annotations

import shutil
import socket
import ssl
import subprocess
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from dopq import certificate_folder as folder
from dopq.certificates import load_key, read
from dopq.config import NodeSettings, Paths
from dopq.errors import CertificateChanged, CertificateUnknown, OperatorError, ServiceUnreachable
from dopq.protocol.stream import Stream, deadline
from dopq.tls import peer_name, server_context
from dopq_client.tls import NoTls, fingerprint, secure

NOW = datetime.now(UTC)
STRICT = (
    ssl.VERIFY_X509_STRICT | ssl.VERIFY_X509_PARTIAL_CHAIN
)  # the default of ssl.create_default_context from 3.13 on


def node(root: Path, name: str = "lab1", now: datetime = NOW) -> Paths:
    """A node with a CA of its own."""
    paths = Paths(root, NodeSettings())
    folder.begin(paths, name, [f"{name}.example.org", "192.0.2.7"], now)
    return paths


def pin_of(paths: Paths) -> str:
    return folder.shown(paths)[0].fingerprint


def peer_of(lab: Paths, root: Path, name: str = "lab2") -> Paths:
    """Another node of the same lab."""
    paths = Paths(root, NodeSettings())
    folder.install(paths, folder.issue(lab, name, [], NOW), "lab2.pem", NOW)
    return paths


@dataclass
class Met:
    """What became of a handshake."""

    peer: str | None = None
    heard: bytes = b""
    refused: ssl.SSLError | None = None


def meet(server: ssl.SSLContext, client: Callable[[socket.socket], ssl.SSLSocket]) -> Met:
    """Have a client do its handshake with a server over a socket pair, and say one word; what the server saw.

    Raises:
        Exception: whatever the client raised; what the server saw is in its `met`.
    """
    here, there = socket.socketpair()
    here.settimeout(10)
    there.settimeout(10)
    met = Met()

    def serve() -> None:
        try:
            with server.wrap_socket(there, server_side=True) as secured:
                met.peer = peer_name(secured)
                secured.sendall(b"welcome")
                met.heard = secured.recv(100)
        except ssl.SSLError as error:
            met.refused = error
        except OSError:
            pass  # hung up on
        finally:
            there.close()

    with ThreadPoolExecutor(1) as pool:
        served = pool.submit(serve)
        try:
            with client(here) as secured:
                secured.recv(100)
                secured.sendall(b"hello")
        except Exception as error:
            error.met = met  # type: ignore[attr-defined]
            raise
        finally:
            here.close()
            served.result()
    return met


def verifying(paths: Paths, host: str = "lab1.example.org", own: Paths | None = None) -> Callable[..., ssl.SSLSocket]:
    """A client as any program with Python's defaults would be one; `own`: the node whose certificate it brings."""
    context = ssl.create_default_context()
    context.load_verify_locations(paths.certificates / "ca.pem")
    context.verify_flags |= STRICT
    if own:
        context.load_cert_chain(own.certificates / "node.pem", own.certificates / "node.key")
    return lambda sock: context.wrap_socket(sock, server_hostname=host)


# --- the service ---


@pytest.mark.parametrize("host", ["lab1.example.org", "LAB1.example.org", "192.0.2.7", "localhost", "127.0.0.1", "::1"])
def test_a_client_with_pythons_defaults_and_the_labs_ca_is_served(tmp_path: Path, host: str) -> None:
    lab = node(tmp_path)
    met = meet(server_context(lab), verifying(lab, host))
    assert (met.peer, met.heard) == (None, b"hello")


def test_a_peer_is_known_by_the_name_in_its_certificate(tmp_path: Path) -> None:
    lab = node(tmp_path / "one")
    met = meet(server_context(lab), verifying(lab, own=peer_of(lab, tmp_path / "two")))
    assert (met.peer, met.heard) == ("lab2", b"hello")


def test_peers_serve_each_other_both_ways(tmp_path: Path) -> None:
    lab = node(tmp_path / "one")
    second = peer_of(lab, tmp_path / "two")
    assert meet(server_context(second), verifying(second, "lab2", own=lab)).peer == "lab1"


def test_a_client_certificate_of_a_foreign_ca_is_refused(tmp_path: Path) -> None:
    lab, foreign = node(tmp_path / "ours"), node(tmp_path / "theirs")
    with pytest.raises(ssl.SSLError) as failed:
        meet(server_context(lab), verifying(lab, own=foreign))
    assert failed.value.met.heard == b""  # type: ignore[attr-defined]
    assert "certificate verify failed" in str(failed.value.met.refused)  # type: ignore[attr-defined]


def test_a_client_certificate_that_has_expired_is_refused(tmp_path: Path) -> None:
    lab = node(tmp_path / "one", now=NOW - timedelta(days=6 * 365))
    folder.renew(lab, "lab1", ["lab1.example.org"], NOW)
    old = Paths(tmp_path / "two", NodeSettings())
    then = NOW - timedelta(days=6 * 365)
    folder.install(old, folder.issue(lab, "lab2", [], then), "lab2.pem", then)
    with pytest.raises(ssl.SSLError) as failed:
        meet(server_context(lab), verifying(lab, own=old))
    assert "expired" in str(failed.value.met.refused)  # type: ignore[attr-defined]


def test_the_ca_itself_is_no_peer(tmp_path: Path) -> None:
    lab = node(tmp_path)
    context = ssl.create_default_context(cafile=str(lab.certificates / "ca.pem"))
    context.load_cert_chain(lab.certificates / "ca.pem", lab.certificates / "ca.key")
    with pytest.raises(ssl.SSLError):
        meet(server_context(lab), lambda sock: context.wrap_socket(sock, server_hostname="lab1"))


def test_tls_1_2_is_refused(tmp_path: Path) -> None:
    lab = node(tmp_path)
    context = ssl.create_default_context(cafile=str(lab.certificates / "ca.pem"))
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    with pytest.raises(ssl.SSLError, match=r"(?i)version"):
        meet(server_context(lab), lambda sock: context.wrap_socket(sock, server_hostname="lab1"))


def test_no_session_is_kept_to_be_resumed(tmp_path: Path) -> None:
    lab, tickets = node(tmp_path), list[bool]()
    server = server_context(lab)

    def client(sock: socket.socket) -> ssl.SSLSocket:
        secured = verifying(lab)(sock)
        secured.recv(3)  # tickets come before the first word
        tickets.append(secured.session is not None and secured.session.has_ticket)
        return secured

    for _ in range(3):
        meet(server, client)
    assert tickets == [False] * 3
    assert server.session_stats()["number"] == 0


def lenient_certificate(lab: Paths) -> tuple[Path, Path]:
    """Of the lab's CA, which everything but a strict check lets pass: it does not say by which key it was signed."""
    ca = x509.load_pem_x509_certificate((lab.certificates / "ca.pem").read_bytes())
    signer, key = (
        load_key((lab.certificates / "ca.key").read_bytes(), "ca.key"),
        ec.generate_private_key(ec.SECP256R1()),
    )
    made = (
        x509.CertificateBuilder(
            ca.subject,
            x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "lab1")]),
            key.public_key(),
            5,
            NOW - timedelta(days=1),
            NOW + timedelta(days=1),
        )
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("lab1")]), critical=False)
        .sign(signer, hashes.SHA256())
    )
    files = lab.root / "lenient.pem", lab.root / "lenient.key"
    files[0].write_bytes(made.public_bytes(serialization.Encoding.PEM))
    plain = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    files[1].write_bytes(key.private_bytes(serialization.Encoding.PEM, *plain))
    return files


def test_both_ends_check_strictly(tmp_path: Path) -> None:
    lab = node(tmp_path)
    files = lenient_certificate(lab)
    client = ssl.create_default_context(cafile=str(lab.certificates / "ca.pem"))
    client.load_cert_chain(*files)
    with pytest.raises(ssl.SSLError) as failed:
        meet(server_context(lab), lambda sock: client.wrap_socket(sock, server_hostname="lab1"))
    assert "Authority Key Identifier" in str(failed.value.met.refused)  # type: ignore[attr-defined]
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(*files)
    with pytest.raises(CertificateUnknown, match="Authority Key Identifier"):
        meet(server, lambda sock: connect(sock, "lab1", None, lab.certificates / "ca.pem"))


def test_a_client_refuses_a_service_of_another_lab_of_a_wrong_host_or_one_that_has_expired(tmp_path: Path) -> None:
    lab, foreign = node(tmp_path / "ours"), node(tmp_path / "theirs")
    with pytest.raises(ssl.SSLCertVerificationError):
        meet(server_context(foreign), verifying(lab))
    with pytest.raises(ssl.SSLCertVerificationError, match=r"(?i)mismatch"):
        meet(server_context(lab), verifying(lab, "lab2"))
    old = node(tmp_path / "old", now=NOW - timedelta(days=6 * 365))
    expired = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)  # ours would not serve with it
    expired.load_cert_chain(old.certificates / "node.pem", old.certificates / "node.key")
    with pytest.raises(ssl.SSLCertVerificationError, match="expired"):
        meet(expired, verifying(old))


# --- a service that cannot be one ---


def remedy(paths: Paths) -> str:
    with pytest.raises(OperatorError) as refused:
        server_context(paths)
    return f"{refused.value.message} {refused.value.hint}"


def test_without_certificates_it_says_how_to_get_them(tmp_path: Path) -> None:
    assert "dopq cert init" in remedy(Paths(tmp_path, NodeSettings()))


def test_with_an_expired_certificate_it_says_how_to_renew_it(tmp_path: Path) -> None:
    words = remedy(node(tmp_path, now=NOW - timedelta(days=6 * 365)))
    assert "expired on" in words
    assert "dopq cert renew" in words


@pytest.mark.parametrize("file", ["node.pem", "node.key", "ca.pem"])
def test_with_parts_of_another_lab_it_says_so(tmp_path: Path, file: str) -> None:
    lab, other = node(tmp_path / "one"), node(tmp_path / "two")
    shutil.copy(other.certificates / file, lab.certificates / file)
    words = remedy(lab)
    assert "do not belong together" in words
    assert "dopq cert renew" in words


@pytest.mark.parametrize("file", ["node.pem", "node.key", "ca.pem"])
@pytest.mark.parametrize("content", [None, b"", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"])
def test_with_a_part_damaged_or_gone_it_says_which(tmp_path: Path, file: str, content: bytes | None) -> None:
    lab = node(tmp_path)
    (lab.certificates / file).unlink()
    if content is not None:
        (lab.certificates / file).write_bytes(content)
    assert remedy(lab)


# --- the client ---


def connect(sock: socket.socket, host: str, pin: str | None, ca: Path | None, within_s: float = 10.0) -> ssl.SSLSocket:
    stream = Stream(sock)
    try:
        secure(stream, host, deadline(within_s), pin, ca)
    except BaseException:
        stream.close()
        raise
    assert isinstance(stream.socket, ssl.SSLSocket)
    return stream.socket


def test_the_pinned_service_is_served_under_any_address(tmp_path: Path) -> None:
    lab = node(tmp_path)
    assert meet(server_context(lab), lambda sock: connect(sock, "10.9.8.7", pin_of(lab), None)).heard == b"hello"


@pytest.mark.parametrize("form", [str.lower, lambda pin: pin.replace(":", ""), lambda pin: f" {pin}\n"])
def test_a_pin_may_be_written_otherwise(tmp_path: Path, form: Callable[[str], str]) -> None:
    lab = node(tmp_path)
    assert meet(server_context(lab), lambda sock: connect(sock, "x", form(pin_of(lab)), None)).heard == b"hello"


def test_a_service_with_another_certificate_is_told_nothing(tmp_path: Path) -> None:
    lab, other = node(tmp_path / "one"), node(tmp_path / "two")
    with pytest.raises(CertificateChanged) as refused:
        meet(server_context(other), lambda sock: connect(sock, "lab1", pin_of(lab), None))
    assert refused.value.met.heard == b""  # type: ignore[attr-defined]
    assert refused.value.details == {"fingerprint": pin_of(other), "expected": pin_of(lab)}
    assert pin_of(other) in refused.value.message
    assert pin_of(lab) in refused.value.message


def test_an_unknown_service_is_told_nothing_and_its_fingerprint_is_there_to_confirm(tmp_path: Path) -> None:
    lab = node(tmp_path)
    with pytest.raises(CertificateUnknown) as refused:
        meet(server_context(lab), lambda sock: connect(sock, "lab1", None, None))
    assert refused.value.met.heard == b""  # type: ignore[attr-defined]
    assert refused.value.details == {"fingerprint": pin_of(lab)}


def test_the_labs_ca_vouches_for_a_service_by_its_host(tmp_path: Path) -> None:
    lab = node(tmp_path)
    ca = lab.certificates / "ca.pem"
    assert meet(server_context(lab), lambda sock: connect(sock, "192.0.2.7", None, ca)).heard == b"hello"
    with pytest.raises(CertificateUnknown, match="mismatch"):
        meet(server_context(lab), lambda sock: connect(sock, "192.0.2.8", None, ca))


def test_a_foreign_ca_does_not_vouch_for_a_service(tmp_path: Path) -> None:
    lab, foreign = node(tmp_path / "one"), node(tmp_path / "two")
    with pytest.raises(CertificateUnknown) as refused:
        meet(server_context(lab), lambda sock: connect(sock, "lab1", None, foreign.certificates / "ca.pem"))
    assert refused.value.met.heard == b""  # type: ignore[attr-defined]


def test_with_a_ca_and_a_pin_both_must_hold(tmp_path: Path) -> None:
    lab, other = node(tmp_path / "one"), node(tmp_path / "two")
    ca = lab.certificates / "ca.pem"
    assert meet(server_context(lab), lambda sock: connect(sock, "lab1", pin_of(lab), ca)).heard == b"hello"
    with pytest.raises(CertificateChanged):
        meet(server_context(lab), lambda sock: connect(sock, "lab1", pin_of(other), ca))
    with pytest.raises(CertificateUnknown):
        meet(server_context(other), lambda sock: connect(sock, "lab1", pin_of(other), ca))


def test_a_ca_that_is_none_is_told(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("no certificate")
    for ca in (tmp_path / "ca.pem", tmp_path / "absent.pem"):
        here, there = socket.socketpair()
        with here, there, pytest.raises(OperatorError, match=ca.name):
            connect(here, "lab1", None, ca)


@pytest.mark.parametrize("answer", [b"HTTP/1.1 400 Bad Request\r\n\r\n", b"PYRO\x01\xf6\x02\x00" + bytes(60)])
def test_what_does_not_speak_tls_is_named(answer: bytes) -> None:
    here, there = socket.socketpair()
    with here, there:
        there.sendall(answer)
        with pytest.raises(NoTls, match="does not speak TLS"):
            connect(here, "lab1", "AB", None)


@pytest.mark.parametrize("by_ca", [True, False])
def test_a_service_that_speaks_only_tls_1_2_is_refused(tmp_path: Path, by_ca: bool) -> None:
    lab = node(tmp_path)
    old = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    old.maximum_version = ssl.TLSVersion.TLSv1_2
    old.load_cert_chain(lab.certificates / "node.pem", lab.certificates / "node.key")
    with pytest.raises(ServiceUnreachable, match=r"TLS 1\.3"):
        meet(old, lambda sock: connect(sock, "lab1", pin_of(lab), lab.certificates / "ca.pem" if by_ca else None))


def test_a_service_that_is_silent_in_the_handshake_is_given_up() -> None:
    here, there = socket.socketpair()
    with here, there, pytest.raises(ServiceUnreachable, match="does not go on"):
        connect(here, "lab1", "AB", None, within_s=0.05)


def test_a_connection_that_breaks_in_the_handshake_is_told_from_one_without_tls() -> None:
    here, there = socket.socketpair()
    there.close()
    with here, pytest.raises(ServiceUnreachable, match="hung up") as broken:
        connect(here, "lab1", "AB", None)
    assert not isinstance(broken.value, NoTls)


# --- second opinions ---


def test_both_sides_and_openssl_tell_the_same_fingerprint(tmp_path: Path) -> None:
    lab = node(tmp_path)
    pem = (lab.certificates / "node.pem").read_bytes()
    own = read(pem, "node.pem")[0]
    assert own.fingerprint == fingerprint(ssl.PEM_cert_to_DER_cert(own.pem.decode()))
    told = openssl("x509", "-noout", "-fingerprint", "-sha256", "-in", str(lab.certificates / "node.pem"))
    assert told.strip().partition("=")[2] == own.fingerprint


def test_openssls_own_strict_check_finds_nothing(tmp_path: Path) -> None:
    lab = node(tmp_path)
    ca, own = lab.certificates / "ca.pem", lab.certificates / "node.pem"
    for purpose in ("sslserver", "sslclient"):
        told = openssl("verify", "-x509_strict", "-purpose", purpose, "-CAfile", str(ca), str(own))
        assert told.endswith("node.pem: OK\n")


def openssl(*arguments: str) -> str:
    return subprocess.run(["openssl", *arguments], check=True, capture_output=True, text=True, timeout=30).stdout
