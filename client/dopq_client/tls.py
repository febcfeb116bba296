"""TLS of the client: whether the service at the other end is the one that it should be, before it is told anything."""

from __future__ import annotations

import hashlib
import socket
from pathlib import Path
from typing import TYPE_CHECKING

from dopq.errors import CertificateChanged, CertificateUnknown, OperatorError, ServiceUnreachable

if TYPE_CHECKING:
    import ssl


def connect(sock: socket.socket, host: str, pin: str | None, ca: Path | None) -> ssl.SSLSocket:
    """Do the TLS handshake on a connected socket; when this returns, the service is known, and nothing was sent before.

    `sock` is taken over, and closed where this raises. Its timeout bounds each step of the handshake.

    Args:
        host: how the service was addressed; a certificate judged by `ca` has to bear it.
        pin: the fingerprint that the service's certificate must have.
        ca: file with the certificate of the lab's CA, which must have signed it. Given both, both must hold.

    Raises:
        CertificateUnknown: neither is given, and `details["fingerprint"]` is what to confirm; or `ca` does not vouch
            for it.
        CertificateChanged: it has another fingerprint than `pin`; both are in `details`.
        ServiceUnreachable: what answers does not speak TLS 1.3.
        OSError: the connection failed or timed out.
    """
    import ssl

    try:
        secured = _context(ca).wrap_socket(sock, server_hostname=host if ca else None)
    except ssl.SSLCertVerificationError as error:
        raise _not_vouched_for(host, error.verify_message.rstrip(".")) from error
    except ssl.SSLError as error:
        raise ServiceUnreachable(
            f"What answers at {host} does not speak TLS 1.3 ({error.reason or error}).",
            "Is the port that of a DoPQ service, and does it have remote.tls = true?",
        ) from error
    try:
        _compare(secured, host, pin, ca)
    except BaseException:
        secured.close()
        raise
    return secured


def fingerprint(der: bytes) -> str:
    """SHA-256 of a certificate, as `openssl x509 -fingerprint -sha256` prints it."""
    return hashlib.sha256(der).digest().hex(":").upper()


def _context(ca: Path | None) -> ssl.SSLContext:
    import ssl

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    if ca is None:  # the pin judges: that the other end has the certificate's key is proven by any handshake
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        return context
    context.verify_flags |= ssl.VERIFY_X509_STRICT
    try:
        context.load_verify_locations(ca)
    except OSError as error:  # SSLError, which says that it is no certificate, is one, too
        raise OperatorError(
            f"{ca} cannot be read as the certificate of a CA: {error.strerror or error}.",
            "Give the file ca.pem that the lab's admin has.",
        ) from error
    return context


def _compare(secured: ssl.SSLSocket, host: str, pin: str | None, ca: Path | None) -> None:
    found = fingerprint(secured.getpeercert(binary_form=True) or b"")
    if pin is None and ca is None:
        raise CertificateUnknown(
            f"Nobody has confirmed the certificate of {host} yet; its fingerprint is {found}.",
            "Compare it with what `dopq cert show` prints there, and say yes to it: dopq-client login",
            fingerprint=found,
        )
    if pin is not None and _bare(pin) != _bare(found):
        raise CertificateChanged(
            f"The certificate of {host} has the fingerprint {found}, not {pin} as before. Nothing was sent to it.",
            "Ask the lab's admin whether it was renewed. If so, confirm the new one: dopq-client login. "
            "If not, somebody is posing as the service.",
            fingerprint=found,
            expected=pin,
        )


def _bare(pin: str) -> str:
    return pin.replace(":", "").strip().lower()


def _not_vouched_for(host: str, reason: str) -> CertificateUnknown:
    return CertificateUnknown(
        f"The certificate of {host} cannot be trusted: {reason}. Nothing was sent to it.",
        "Is this the address that the admin gave you, and the file that of your lab's CA? `dopq cert show` on the node "
        "lists the names and addresses for which its certificate stands.",
    )
