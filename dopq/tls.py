"""TLS of the service: its certificate, and who its peers are."""

from __future__ import annotations

import hashlib
import ssl
from datetime import UTC, datetime

from dopq.certificate_folder import own
from dopq.certificates import read
from dopq.config import Paths


def server_context(paths: Paths) -> ssl.SSLContext:
    """TLS 1.3 with this node's certificate. A client may have one of the lab's CA, or none; any other is refused.

    Read once: a renewed certificate counts from the node's next start.

    Raises:
        OperatorError: there is no certificate, it has expired, or key and CA are not its own; says what to run.
    """
    own(paths, datetime.now(UTC))  # the machine's clock, since OpenSSL goes by that, too
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.load_cert_chain(paths.certificates / "node.pem", paths.certificates / "node.key")
    context.load_verify_locations(paths.certificates / "ca.pem")
    context.verify_mode = ssl.CERT_OPTIONAL
    context.verify_flags |= ssl.VERIFY_X509_STRICT
    # No resumption, so that who calls is proven anew each time. OP_NO_TICKET would not do: in TLS 1.3 it makes OpenSSL
    # keep the sessions in its own memory instead (SSL_CTX_set_options(3)).
    context.num_tickets = 0
    return context


def peer_name(connection: ssl.SSLSocket) -> str | None:
    """The name of the node at the other end, by its certificate of the lab's CA; None where it brought none.

    To be asked after the handshake, in which a certificate of anybody else's has been refused.
    """
    certificate = connection.getpeercert(binary_form=True)
    return (
        read(ssl.DER_cert_to_PEM_cert(certificate).encode(), "The peer's certificate")[0].name if certificate else None
    )


def peer_certificate(connection: ssl.SSLSocket) -> str:
    """The fingerprint of the certificate at the other end, as `dopq cert show` tells it; "" where it brought none."""
    certificate = connection.getpeercert(binary_form=True)
    return hashlib.sha256(certificate).digest().hex(":").upper() if certificate else ""


def peer_context(paths: Paths) -> ssl.SSLContext:
    """TLS 1.3 towards other nodes: shows this node's certificate, and takes those of the lab's CA alone.

    Whose it is, is for `peer_name` to tell: nodes are called at addresses, which their certificates need not name.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.check_hostname = False
    context.verify_flags |= ssl.VERIFY_X509_STRICT
    context.load_verify_locations(paths.certificates / "ca.pem")
    context.load_cert_chain(paths.certificates / "node.pem", paths.certificates / "node.key")
    return context
