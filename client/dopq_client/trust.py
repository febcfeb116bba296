"""Getting to know a service: whether it speaks TLS, and whether its certificate is the right one."""

from __future__ import annotations

from dataclasses import replace

import click

from dopq.errors import CertificateUnknown, DopqError, ServiceUnreachable
from dopq_client import ask
from dopq_client.account import Account
from dopq_client.link import CONNECT_S, unreachable
from dopq_client.session import Session
from dopq_client.tls import NoTls
from dopq_client.ways import TlsWay


def introduced(session: Session, account: Account) -> Account:
    """The account with that by which its service is known from now on. The service is told nothing yet.

    A certificate that nobody has vouched for is shown to the person at the terminal, who may say yes to it. A service
    without TLS is left as it is: `TcpWay` goes to one on this machine only.

    Raises:
        CertificateUnknown: nobody is there to say yes, the answer was no, or the CA does not vouch for it.
        CertificateChanged: it is not the one that was confirmed before.
        ServiceUnreachable: there is no service, or none with TLS where one was to be.
    """
    way = TlsWay(account.host, account.port, account.fingerprint, account.ca)
    try:
        way.connect(CONNECT_S).close()
    except CertificateUnknown as unknown:
        found = unknown.details.get("fingerprint")
        if not isinstance(found, str):
            raise
        _require_yes(session, account, found)
        return replace(account, fingerprint=found)
    except NoTls as plain:
        if account.fingerprint or account.ca:
            raise unreachable(way, plain) from plain
    except ServiceUnreachable as error:
        raise unreachable(way, error) from error
    return account


def _require_yes(session: Session, account: Account, fingerprint: str) -> None:
    session.note(
        f"Nobody has confirmed the certificate of {account.address} here yet. Its SHA-256 fingerprint is\n"
        f"  {fingerprint}\n"
        "The admin of the node reads the right one off `dopq cert show`."
    )
    if not ask.has_terminal():
        raise _unconfirmed(account, "there is no terminal to ask for a yes", fingerprint)
    if not click.confirm("Is it the same?", err=True):
        raise _unconfirmed(account, "the answer was no", fingerprint)


def _unconfirmed(account: Account, why: str, fingerprint: str) -> DopqError:
    return CertificateUnknown(
        f"The certificate of {account.address} is not confirmed: {why}. Nothing was sent to it.",
        "Ask its admin for the fingerprint, or for the file ca.pem of the lab, and give it with --fingerprint or --ca.",
        fingerprint=fingerprint,
    )
