"""Certificates of the lab's own CA and of its nodes (X.509, RFC 5280): made and read, in memory.

The only module that knows the library `cryptography`. What it makes passes OpenSSL's strict checks, which are Python's
default from 3.13 on (`VERIFY_X509_STRICT`). Keys are of the curve P-256, which every TLS 1.3 library has to know
(RFC 8446, 9.1).
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address, IPv6Address, ip_address

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from dopq.errors import OperatorError, UserError

AUTHORITY_DAYS = 20 * 365
NODE_DAYS = 5 * 365
BACKDATED = timedelta(days=1)
"""How long before its making a certificate holds already: clocks of a lab's machines differ."""

_HOST_NAME = re.compile(r"(?!.*\.\.)[a-z0-9_]([a-z0-9_.-]{0,251}[a-z0-9_])?")
_BLOCK = re.compile(rb"-----BEGIN ([A-Z ]+)-----\n.+?\n-----END \1-----\n?", re.DOTALL)


@dataclass(frozen=True, slots=True)
class KeyPair:
    """A certificate and the private key that belongs to it, both as PEM."""

    certificate: bytes
    key: bytes


@dataclass(frozen=True, slots=True)
class Certificate:
    """What a certificate says.

    Attributes:
        name: its holder: the name of a node, or of the lab's CA.
        issuer: whose CA says that it did.
        hosts: DNS names and addresses under which its holder answers.
        not_before, not_after: first and last second in which it holds, UTC.
        fingerprint: SHA-256 of all of it, as `openssl x509 -fingerprint -sha256` prints it.
        is_authority: whether it is that of a CA.
        pem: the certificate itself.
    """

    name: str
    issuer: str
    hosts: tuple[str, ...]
    not_before: datetime
    not_after: datetime
    fingerprint: str
    is_authority: bool
    pem: bytes


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
    issuer, issuer_key = _x509(authority.certificate, "The lab's CA"), _key(authority.key, "The lab's CA")
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


def read(pem: bytes, origin: str) -> list[Certificate]:
    """The certificates in `pem`, in their order; other things in it are passed over.

    Raises:
        OperatorError: there is none, or one that cannot be read; names `origin`.
    """
    blocks = [block[0] for block in _BLOCK.finditer(pem) if block[1] == b"CERTIFICATE"]
    if not blocks:
        raise OperatorError(f"{origin} holds no certificate in PEM form.", "Is it the right file?")
    return [_described(_x509(block, origin)) for block in blocks]


def split(pem: bytes, origin: str) -> tuple[KeyPair, bytes]:
    """A node's certificate with its key, and the CA's certificate, from one PEM text that holds these three.

    Raises:
        OperatorError: it does not, or they do not belong together; names `origin`.
    """
    certificates = read(pem, origin)
    keys = [block[0] for block in _BLOCK.finditer(pem) if block[1].endswith(b"PRIVATE KEY")]
    if [certificate.is_authority for certificate in certificates] != [False, True] or len(keys) != 1:
        raise OperatorError(
            f"{origin} is not what `dopq cert issue` writes: a key, a node's certificate and that of the lab's CA.",
            "Take the file that it wrote, unchanged.",
        )
    pair, authority = KeyPair(certificates[0].pem, keys[0]), certificates[1].pem
    if not belongs(pair, authority):
        raise OperatorError(f"The parts of {origin} do not belong together.", "Issue it anew with `dopq cert issue`.")
    return pair, authority


def belongs(pair: KeyPair, authority: bytes) -> bool:
    """Whether the key is that of the certificate, and the CA signed the certificate.

    Raises:
        OperatorError: one of them cannot be read.
    """
    certificate, issuer = _x509(pair.certificate, "The node's certificate"), _x509(authority, "The lab's CA")
    if certificate.public_key() != _key(pair.key, "The node's certificate").public_key():
        return False
    try:
        certificate.verify_directly_issued_by(issuer)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True


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


def _x509(pem: bytes, origin: str) -> x509.Certificate:
    try:
        return x509.load_pem_x509_certificate(pem)
    except ValueError as error:
        raise OperatorError(
            f"{origin} cannot be read as a certificate: {error}.", "Restore it, or make it anew."
        ) from error


def _key(pem: bytes, origin: str) -> ec.EllipticCurvePrivateKey:
    try:
        key = serialization.load_pem_private_key(pem, password=None)
    except (ValueError, TypeError) as error:
        raise OperatorError(f"{origin}: its key cannot be read: {error}.", "Restore it, or make it anew.") from error
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise OperatorError(f"{origin}: its key is none that `dopq cert` made.", "Restore it, or make it anew.")
    return key


def _described(certificate: x509.Certificate) -> Certificate:
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        names = x509.SubjectAlternativeName([])
    try:
        is_authority = certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except x509.ExtensionNotFound:
        is_authority = False
    return Certificate(
        name=_common_name(certificate.subject),
        issuer=_common_name(certificate.issuer),
        hosts=(
            *names.get_values_for_type(x509.DNSName),
            *map(str, names.get_values_for_type(x509.IPAddress)),
        ),
        not_before=certificate.not_valid_before_utc,
        not_after=certificate.not_valid_after_utc,
        fingerprint=certificate.fingerprint(hashes.SHA256()).hex(":").upper(),
        is_authority=is_authority,
        pem=certificate.public_bytes(serialization.Encoding.PEM),
    )


def _common_name(name: x509.Name) -> str:
    """The holder's name; of a certificate that is not ours perhaps all of its distinguished name."""
    common = name.get_attributes_for_oid(NameOID.COMMON_NAME)
    return str(common[0].value) if len(common) == 1 else name.rfc4514_string()
