"""Certificates: what stands in those that we make, and that nothing in those of others does harm."""

from __future__ import annotations

import base64
import subprocess
import warnings
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address, IPv6Address, ip_address

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from hypothesis import example, given
from hypothesis import strategies as st

from dopq.certificate_maker import AUTHORITY_DAYS, NODE_DAYS, new_authority, new_node
from dopq.certificates import KeyPair, belongs, load_key, read, split
from dopq.errors import OperatorError, UserError

NOW = datetime(2026, 1, 5, 9, 0, 0, 123456, tzinfo=UTC)
LAB = new_authority(NOW)
NODE = new_node(LAB, "lab1", ["lab1.example.org"], NOW)


def loaded(pair: KeyPair) -> x509.Certificate:
    return x509.load_pem_x509_certificate(pair.certificate)


def der(pem: bytes) -> bytes:
    return x509.load_pem_x509_certificate(pem).public_bytes(serialization.Encoding.DER)


def as_pem(content: bytes) -> bytes:
    return b"-----BEGIN CERTIFICATE-----\n" + base64.encodebytes(content) + b"-----END CERTIFICATE-----\n"


# --- what stands in ours ---


def test_the_cas_certificate_allows_it_to_sign_nodes_and_nothing_else() -> None:
    extensions = loaded(LAB).extensions
    constraints = extensions.get_extension_for_class(x509.BasicConstraints)
    assert (constraints.critical, constraints.value.ca, constraints.value.path_length) == (True, True, 0)
    usage = extensions.get_extension_for_class(x509.KeyUsage)
    assert (usage.critical, usage.value.key_cert_sign, usage.value.digital_signature) == (True, True, False)
    assert extensions.get_extension_for_class(x509.SubjectKeyIdentifier)


def test_a_nodes_certificate_serves_and_calls_and_signs_no_other() -> None:
    extensions = loaded(NODE).extensions
    constraints = extensions.get_extension_for_class(x509.BasicConstraints)
    assert (constraints.critical, constraints.value.ca) == (True, False)
    usage = extensions.get_extension_for_class(x509.KeyUsage)
    assert (usage.critical, usage.value.key_cert_sign, usage.value.digital_signature) == (True, False, True)
    purposes = extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert set(purposes) == {ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH}
    issuer_id = extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value.key_identifier
    assert issuer_id == loaded(LAB).extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value.digest


def test_they_hold_from_a_day_ago_for_twenty_and_five_years() -> None:
    second = NOW.replace(microsecond=0)
    for pair, days in ((LAB, AUTHORITY_DAYS), (NODE, NODE_DAYS)):
        told = read(pair.certificate, "x")[0]
        assert (told.not_before, told.not_after) == (second - timedelta(days=1), second + timedelta(days=days))


def test_a_node_does_not_outlive_its_ca() -> None:
    later = NOW + timedelta(days=AUTHORITY_DAYS - 10)
    late = read(new_node(LAB, "lab1", ["lab1"], later).certificate, "x")[0]
    assert late.not_after == read(LAB.certificate, "x")[0].not_after


def test_an_expired_ca_signs_nothing() -> None:
    with pytest.raises(OperatorError, match="expired on 2045-12-31") as refused:
        new_node(LAB, "lab1", ["lab1"], NOW + timedelta(days=AUTHORITY_DAYS + 1))
    assert "dopq cert init" in refused.value.hint


def test_a_ca_with_the_key_of_another_signs_nothing() -> None:
    with pytest.raises(OperatorError, match="not the key"):
        new_node(KeyPair(LAB.certificate, new_authority(NOW).key), "lab1", ["lab1"], NOW)


def test_two_cas_and_two_certificates_of_one_node_differ_in_everything_that_names_them() -> None:
    assert loaded(new_authority(NOW)).subject != loaded(LAB).subject
    again = new_node(LAB, "lab1", ["lab1.example.org"], NOW)
    assert loaded(again).serial_number != loaded(NODE).serial_number
    assert loaded(again).public_key() != loaded(NODE).public_key()


LABEL = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,20}[a-z0-9])?", fullmatch=True)
HOST = st.lists(LABEL, min_size=1, max_size=5).map(".".join) | st.ip_addresses().map(str)


@given(hosts=st.lists(HOST, min_size=1, max_size=8))
@example(hosts=["FE80::1", "lab1", "lab1", "2001:DB8::0001"])
def test_every_host_is_read_back_once_and_the_parts_belong_together(hosts: list[str]) -> None:
    pair = new_node(LAB, "lab1", hosts, NOW)
    told = read(pair.certificate, "x")[0]
    assert len(told.hosts) == len(set(told.hosts))
    assert {canonical(host) for host in hosts} == {canonical(host) for host in told.hosts}
    assert (told.name, told.is_authority) == ("lab1", False)
    assert split(pair.key + pair.certificate + LAB.certificate, "x") == (pair, LAB.certificate)


def canonical(host: str) -> str | IPv4Address | IPv6Address:
    try:
        return ip_address(host)
    except ValueError:
        return host.lower()


@pytest.mark.parametrize(
    "host", ["", " ", "a b", "*.example.org", "lab1.", ".lab1", "a..b", "fe80::1%eth0", "grün.de", "lab1\n", "a" * 300]
)
def test_what_is_no_host_is_refused_by_name(host: str) -> None:
    with pytest.raises(UserError) as refused:
        new_node(LAB, "lab1", ["lab1", host], NOW)
    assert repr(host) in refused.value.message


# --- what belongs together ---


def test_key_certificate_and_ca_belong_together_or_not() -> None:
    other = new_authority(NOW)
    assert belongs(NODE, LAB.certificate)
    assert not belongs(NODE, other.certificate)
    assert not belongs(KeyPair(NODE.certificate, LAB.key), LAB.certificate)


def test_a_ca_that_only_bears_the_same_name_signed_nothing() -> None:
    subject, key = loaded(LAB).subject, ec.generate_private_key(ec.SECP256R1())
    impostor = (
        x509.CertificateBuilder(subject, subject, key.public_key(), 5, NOW, NOW + timedelta(days=9))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    assert not belongs(NODE, impostor.public_bytes(serialization.Encoding.PEM))


@pytest.mark.parametrize(
    "parts",
    [
        [NODE.certificate, LAB.certificate],
        [NODE.key, NODE.certificate],
        [NODE.key, LAB.certificate, NODE.certificate],
        [NODE.key, LAB.key, NODE.certificate, LAB.certificate],
        [LAB.key, NODE.certificate, LAB.certificate],
        [NODE.key, NODE.certificate, new_authority(NOW).certificate],
        [NODE.key, NODE.certificate, NODE.certificate],
        [],
    ],
)
def test_what_is_not_the_three_parts_of_one_node_is_refused(parts: list[bytes]) -> None:
    with pytest.raises(OperatorError, match=r"lab2\.pem"):
        split(b"".join(parts), "lab2.pem")


def test_a_file_that_was_carried_over_windows_is_read_all_the_same() -> None:
    carried = (NODE.key + NODE.certificate + LAB.certificate).replace(b"\n", b"\r\n")
    assert belongs(*split(carried, "x"))


# --- what others made ---


@given(st.data())
def test_a_damaged_certificate_is_refused_in_our_words_or_read(data: st.DataObject) -> None:
    content = bytearray(der(NODE.certificate))
    for place in data.draw(st.lists(st.integers(0, len(content) - 1), min_size=1, max_size=3)):
        content[place] = data.draw(st.integers(0, 255))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the library's, about certificates that it will refuse some day
        try:
            told = read(as_pem(bytes(content)), "x")
        except OperatorError:
            return
    assert told[0].name.isprintable()
    assert all(host.isprintable() for host in told[0].hosts)


@given(st.binary(max_size=300) | st.binary(max_size=300).map(as_pem))
def test_any_bytes_are_refused_in_our_words(content: bytes) -> None:
    with pytest.raises(OperatorError):
        read(content, "x")


def test_a_name_that_would_move_the_cursor_is_shown_escaped() -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "a\x1b[2Jb\u202e")])
    made = x509.CertificateBuilder(name, name, key.public_key(), 5, NOW, NOW + timedelta(days=9)).sign(
        key, hashes.SHA256()
    )
    assert read(made.public_bytes(serialization.Encoding.PEM), "x")[0].name == r"'a\x1b[2Jb\u202e'"


def test_a_key_that_is_encrypted_or_of_another_kind_is_refused() -> None:
    kind, plain = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    foreign = ed25519.Ed25519PrivateKey.generate().private_bytes(serialization.Encoding.PEM, kind, plain)
    locked = load_key(NODE.key, "x").private_bytes(
        serialization.Encoding.PEM, kind, serialization.BestAvailableEncryption(b"secret")
    )
    for key in (foreign, locked, b"", NODE.certificate):
        with pytest.raises(OperatorError, match="key"):
            load_key(key, "node.key")


def test_a_key_stands_in_no_log_by_accident() -> None:
    assert "PRIVATE" not in repr(NODE)


def test_openssl_reads_the_key_as_one_of_p_256() -> None:
    read_by = subprocess.run(["openssl", "ec", "-noout", "-text"], input=NODE.key, capture_output=True, check=True)
    assert b"prime256v1" in read_by.stdout
