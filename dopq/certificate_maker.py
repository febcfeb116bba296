"""Making certificates for the lab's own CA and for its nodes (X.509, RFC 5280), in memory.

What is made here passes OpenSSL's strict checks, which are Python's default from 3.13 on (`VERIFY_X509_STRICT`). Keys
are of the curve P-256, which every TLS 1.3 library has to know (RFC 8446, 9.1).
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address, IPv6Address, ip_address

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from dopq.certificates import KeyPair, load_certificate, load_key
from dopq.errors import OperatorError, UserError

AUTHORITY_DAYS = 20 * 365
NODE_DAYS = 5 * 365
BACKDATED = timedelta(days=1)
"""How long before its making a certificate holds already: clocks of a lab's machines differ."""

_HOST_NAME = re.compile(r"(?!.*\.\.)[a-z0-9_]([a-z0-9_.-]{0,251}[a-z0-9_])?")


def new_authority(now: datetime) -> KeyPair:
    """A CA for one lab. Its name is random, so that no two labs' CAs are taken for each other."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = _name(f"DoPQ lab {secrets.token_hex(8)}")
    builder = (
        _begun(subject, key, now)
        .issuer_name(subject)
        .not_valid_after(_second(now) + timedelta(days=AUTHORITY_DAYS))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(authority=True), critical=True)
    )
    return _signed(builder, key, key)


def new_node(authority: KeyPair, name: str, hosts: Iterable[str], now: datetime) -> KeyPair:
    """A certificate with which the node `name` proves itself, both as a server and towards its peers.

    Args:
        authority: the lab's CA.
        name: what peers know it by afterwards; 1 to 64 characters.
        hosts: DNS names and IP addresses under which it is reached; at least one.

    Raises:
        UserError: a host is neither.
        OperatorError: the CA has expired, or its key is not its own.
    """
    issuer, issuer_key = load_certificate(authority.certificate, "ca.pem"), load_key(authority.key, "ca.key")
    if issuer.public_key() != issuer_key.public_key():
        raise OperatorError("ca.key is not the key of ca.pem, the lab's CA.", "Restore both from one copy.")
    if now > issuer.not_valid_after_utc:
        raise OperatorError(
            f"The lab's CA expired on {issuer.not_valid_after_utc:%Y-%m-%d}.",
            "Move its folder away, make a new one with `dopq cert init`, and issue every node's certificate anew.",
        )
    key = ec.generate_private_key(ec.SECP256R1())
    names = dict.fromkeys(_general_name(host) for host in hosts)
    issuer_id = issuer.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    builder = (
        _begun(_name(name), key, now)
        .issuer_name(issuer.subject)
        .not_valid_after(min(_second(now) + timedelta(days=NODE_DAYS), issuer.not_valid_after_utc))
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(authority=False), critical=True)
        .add_extension(
            x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False
        )
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(issuer_id), critical=False)
    )
    return _signed(builder, key, issuer_key)


def _begun(subject: x509.Name, key: ec.EllipticCurvePrivateKey, now: datetime) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(_second(now) - BACKDATED)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )


def _signed(
    builder: x509.CertificateBuilder, key: ec.EllipticCurvePrivateKey, issuer_key: ec.EllipticCurvePrivateKey
) -> KeyPair:
    certificate = builder.sign(issuer_key, hashes.SHA256())
    return KeyPair(
        certificate.public_bytes(serialization.Encoding.PEM),
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()),
    )


def _usage(*, authority: bool) -> x509.KeyUsage:
    """What the key may be used for (RFC 5280, 4.2.1.3): a CA's to sign certificates, a node's to sign handshakes."""
    return x509.KeyUsage(
        digital_signature=not authority,
        key_cert_sign=authority,
        crl_sign=authority,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _general_name(host: str) -> x509.GeneralName:
    if address := _address(host):
        return x509.IPAddress(address)
    if not _HOST_NAME.fullmatch(host.lower()):
        raise UserError(
            f"{host!r} is neither a host name nor an IP address.",
            "Write it as users do, such as gpu1.example.org or 192.168.1.5; names beyond ASCII in their xn-- form.",
        )
    return x509.DNSName(host.lower())


def _address(host: str) -> IPv4Address | IPv6Address | None:
    try:
        return ip_address(host) if "%" not in host else None  # with a zone it is an address on one machine only
    except ValueError:
        return None


def _second(time: datetime) -> datetime:
    return time.astimezone(UTC).replace(microsecond=0)
