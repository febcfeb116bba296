"""Certificates and their keys (X.509, RFC 5280), read and compared, in memory; `certificate_maker.py` makes them."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import datetime
from typing import TypeVar

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from dopq.errors import OperatorError

_BLOCK = re.compile(rb"-----BEGIN ([A-Z ]+)-----\r?\n.+?\n-----END \1-----(?:\r?\n)?", re.DOTALL)
"""One part of a PEM text (RFC 7468)."""

RESTORE = "Restore it from a copy, or make it anew with `dopq cert`."
Extension = TypeVar("Extension", bound=x509.ExtensionType)


@dataclass(frozen=True, slots=True)
class KeyPair:
    """A certificate and the private key that belongs to it, both as PEM."""

    certificate: bytes
    key: bytes = field(repr=False)


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


def read(pem: bytes, origin: str) -> list[Certificate]:
    """The certificates in `pem`, in their order; other things in it are passed over.

    Raises:
        OperatorError: there is none, or one that cannot be read; names `origin`.
    """
    blocks = [block[0] for block in _BLOCK.finditer(pem) if block[1] == b"CERTIFICATE"]
    if not blocks:
        raise OperatorError(f"{origin} holds no certificate in PEM form.", "Is it the right file?")
    try:
        return [_described(load_certificate(block, origin)) for block in blocks]
    except (ValueError, x509.DuplicateExtension) as error:  # extensions are looked into only when they are asked for
        raise _unreadable(origin, error) from error


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
    certificate, issuer = load_certificate(pair.certificate, "node.pem"), load_certificate(authority, "ca.pem")
    if certificate.public_key() != load_key(pair.key, "node.key").public_key():
        return False
    try:
        certificate.verify_directly_issued_by(issuer)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True


def load_certificate(pem: bytes, origin: str) -> x509.Certificate:
    """The first certificate of a PEM text, as the library has it. Raises `OperatorError`, which names `origin`."""
    try:
        return x509.load_pem_x509_certificate(pem)
    except (ValueError, x509.InvalidVersion) as error:
        raise _unreadable(origin, error) from error


def load_key(pem: bytes, origin: str) -> ec.EllipticCurvePrivateKey:
    """A private key of the kind that we make, from its PEM text. Raises `OperatorError`, which names `origin`."""
    try:
        key = serialization.load_pem_private_key(pem, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:  # TypeError: it is encrypted
        raise OperatorError(f"{origin} holds no private key that can be read: {error}.", RESTORE) from error
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise OperatorError(f"{origin} holds a private key that `dopq cert` did not make.", RESTORE)
    return key


def _described(certificate: x509.Certificate) -> Certificate:
    names = _extension(certificate, x509.SubjectAlternativeName)
    constraints = _extension(certificate, x509.BasicConstraints)
    addresses = names.get_values_for_type(x509.IPAddress) if names else []
    return Certificate(
        name=_common_name(certificate.subject),
        issuer=_common_name(certificate.issuer),
        hosts=tuple(map(_shown, [*(names.get_values_for_type(x509.DNSName) if names else []), *addresses])),
        not_before=certificate.not_valid_before_utc,
        not_after=certificate.not_valid_after_utc,
        fingerprint=certificate.fingerprint(hashes.SHA256()).hex(":").upper(),
        is_authority=constraints is not None and constraints.ca,
        pem=certificate.public_bytes(serialization.Encoding.PEM),
    )


def _extension(certificate: x509.Certificate, kind: type[Extension]) -> Extension | None:
    try:
        return certificate.extensions.get_extension_for_class(kind).value
    except x509.ExtensionNotFound:
        return None


def _common_name(name: x509.Name) -> str:
    """The holder's name; of a certificate that is not ours perhaps all of its distinguished name."""
    common = name.get_attributes_for_oid(NameOID.COMMON_NAME)
    return _shown(common[0].value if len(common) == 1 else name.rfc4514_string())


def _shown(text: object) -> str:
    """As it is, or escaped where it would do more on a screen than show itself: the file may be anybody's."""
    return str(text) if str(text).isprintable() else ascii(str(text))


def _unreadable(origin: str, error: Exception) -> OperatorError:
    return OperatorError(f"{origin} holds a certificate that cannot be read: {error}.", RESTORE)
