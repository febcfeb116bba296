"""TLS of the client: whether the service at the other end is the one that it should be, before it is told anything."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

from dopq.errors import CertificateChanged, CertificateUnknown, OperatorError, ServiceUnreachable
from dopq.protocol.stream import Stream, StreamClosed, TooSlow

if TYPE_CHECKING:
    import ssl


class NoTls(ServiceUnreachable):
    """What answers does not speak TLS 1.3."""


def secure(stream: Stream, host: str, until: float, pin: str | None, ca: Path | None) -> None:
    """Do the TLS handshake on a fresh connection; when this returns, the service is known, and was told nothing before.

    Args:
        host: how the service was addressed; a certificate judged by `ca` has to bear it.
        until: moment of the monotonic clock by which it has to be done.
        pin: the fingerprint that the service's certificate must have.
        ca: file with the certificate of the lab's CA, which must have signed it. Given both, both must hold.

    Raises:
        CertificateUnknown: neither is given, and `details["fingerprint"]` is what to confirm; or `ca` does not vouch
            for it.
        CertificateChanged: it has another fingerprint than `pin`; both are in `details`.
        NoTls: what answers there speaks something else.
        ServiceUnreachable: the connection broke, or it took too long.
        OperatorError: `ca` cannot be read.
    """
    import ssl

    try:
        secured = stream.secure(_context(ca), until, client_of=host)
    except TooSlow as error:
        raise ServiceUnreachable("It takes connections, but does not go on with TLS.") from error
    except StreamClosed as error:
        match error.__cause__:
            case ssl.SSLCertVerificationError(verify_message=reason):
                raise _not_vouched_for(host, str(reason).rstrip(".")) from error
            case ssl.SSLError() as cause if not isinstance(cause, ssl.SSLEOFError):
                raise NoTls(
                    f"What answers at {host} does not speak TLS 1.3 ({cause.reason or cause}).",
                    "Is the port that of a DoPQ service, and does it have remote.tls = true?",
                ) from error
        raise ServiceUnreachable(f"It hung up during the TLS handshake ({error.__cause__}).") from error
    _compare(secured, host, pin, ca)


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
            "Ask the lab's admin whether it was renewed. If so, log in with the fingerprint that they tell you: "
            "dopq-client login --fingerprint FINGERPRINT. If not, somebody is posing as the service.",
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
