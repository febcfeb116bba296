"""The certificates of a node on its disk: `certificates/` in the state folder.

`node.pem` (its own, followed by the CA's), `node.key`, `ca.pem`; and on the one machine of the lab that issues,
`ca.key`. The folder comes into being whole, so that a broken-off `dopq cert init` leaves nothing half made.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterable
from contextlib import suppress
from datetime import datetime
from pathlib import Path

from dopq.certificate_maker import new_authority, new_node
from dopq.certificates import Certificate, KeyPair, belongs, read, split
from dopq.config import NODE_NAME, Paths
from dopq.errors import OperatorError, UserError
from dopq.utils.files import TEMPORARY_PREFIX, fsync_folder, write_atomic

WARN_DAYS = 30
"""From so many days before its end on a certificate is warned of."""

LOCAL_HOSTS = ("localhost", "127.0.0.1", "::1")
"""Under these, and its name, every node is reached."""


def begin(paths: Paths, name: str, hosts: Iterable[str], now: datetime) -> None:
    """Make a CA for the lab, and the certificate of the node on this machine.

    Raises:
        OperatorError: this machine has certificates already; they are as they were.
        UserError: a host is no host.
    """
    authority = new_authority(now)
    own = new_node(authority, name, (*LOCAL_HOSTS, name, *hosts), now)
    _make(paths, _files(own, authority.certificate) | {"ca.key": authority.key})


def issue(paths: Paths, name: str, hosts: Iterable[str], now: datetime) -> bytes:
    """A key, a certificate for the node `name` and that of the CA, as one PEM text that `install` takes.

    Raises:
        OperatorError: this machine has no CA that can issue.
        UserError: that is no name of a node, or a host is no host.
    """
    if not re.fullmatch(NODE_NAME, name):
        raise UserError(f"{name!r} cannot be the name of a node.", "Give the node.name of its settings, such as gpu2.")
    authority = _authority(paths)
    pair = new_node(authority, name, (*LOCAL_HOSTS, name, *hosts), now)
    return pair.key + pair.certificate + authority.certificate


def renew(paths: Paths, name: str, hosts: Iterable[str], now: datetime) -> Certificate:
    """Give this node a new certificate, for the hosts of its old one, too, where that can be read; the certificate.

    Raises:
        OperatorError: this machine has no CA that can issue.
        UserError: a host is no host.
    """
    authority = _authority(paths)
    old_hosts: tuple[str, ...] = ()
    with suppress(OperatorError):  # a damaged or lost one is what this mends
        old_hosts = shown(paths)[0].hosts
    pair = new_node(authority, name, (*LOCAL_HOSTS, name, *hosts, *old_hosts), now)
    return _replace(paths, pair, authority.certificate)


def install(paths: Paths, pem: bytes, origin: str, now: datetime) -> Certificate:
    """Make what `issue` gave out this machine's own; the certificate. A running node uses it from its next start.

    Raises:
        OperatorError: it is not of that form, has expired, or is of another CA than this machine's.
    """
    pair, authority = split(pem, origin)
    certificate = read(pair.certificate, origin)[0]
    _require_valid(certificate, origin, now)
    if not (paths.certificates / "ca.pem").exists():
        _make(paths, _files(pair, authority))
        return certificate
    if read(_read(paths, "ca.pem"), "ca.pem")[0].pem != authority:
        raise OperatorError(
            f"{origin} is of another CA than that of this machine.",
            f"If it moves to another lab, move {paths.certificates} away first.",
        )
    return _replace(paths, pair, authority)


def shown(paths: Paths) -> list[Certificate]:
    """This node's certificate and that of the lab's CA, whatever is wrong with them.

    Raises:
        OperatorError: there are none, or they cannot be read.
    """
    _require_own(paths)
    return read(_read(paths, "node.pem"), str(paths.certificates / "node.pem"))


def own(paths: Paths, now: datetime) -> Certificate:
    """This node's certificate, which holds at `now`, has its key, and is signed by the lab's CA.

    Raises:
        OperatorError: any of that is not so, or there is none; says what to run.
    """
    _require_own(paths)
    where = str(paths.certificates / "node.pem")
    pair, authority = KeyPair(_read(paths, "node.pem"), _read(paths, "node.key")), _read(paths, "ca.pem")
    certificate = read(pair.certificate, where)[0]
    if not belongs(pair, authority):
        raise OperatorError(f"{where}, node.key and ca.pem beside it do not belong together.", _remedy(paths))
    _require_valid(certificate, where, now, _remedy(paths))
    return certificate


def days_left(paths: Paths, now: datetime) -> int | None:
    """Whole days for which this node's certificate holds yet, below 0 when it has expired; None where it has none.

    Raises:
        OperatorError: it cannot be read.
    """
    if not (paths.certificates / "node.pem").exists():
        return None
    return (read(_read(paths, "node.pem"), "node.pem")[0].not_after - now).days


def expiry_warning(paths: Paths, now: datetime) -> OperatorError | None:
    """What to tell the admin of a certificate that is about to expire, or cannot be read; else None."""
    try:
        days = days_left(paths, now)
    except OperatorError as error:
        return error
    if days is None or days >= WARN_DAYS:
        return None
    when = f"expires in {days} days" if days >= 0 else "has expired"
    return OperatorError(f"The TLS certificate of this node {when}.", _remedy(paths))


def _require_own(paths: Paths) -> None:
    if not (paths.certificates / "node.pem").exists():
        where = paths.certificates / "node.pem"
        raise OperatorError(f"This machine has no certificate: there is no {where}.", _remedy(paths))


def _authority(paths: Paths) -> KeyPair:
    if not (paths.certificates / "ca.key").exists():
        raise OperatorError(
            f"This machine does not issue certificates: there is no {paths.certificates / 'ca.key'}.",
            "Run this where the lab's CA is; or make one with `dopq cert init`, if the lab has none.",
        )
    return KeyPair(_read(paths, "ca.pem"), _read(paths, "ca.key"))


def _files(own: KeyPair, authority: bytes) -> dict[str, bytes]:
    return {"node.key": own.key, "node.pem": own.certificate + authority, "ca.pem": authority}


def _replace(paths: Paths, pair: KeyPair, authority: bytes) -> Certificate:
    """Two files, so a power cut between them leaves what `own` refuses; the same command again mends it."""
    try:
        _write(paths.certificates, _files(pair, authority))
    except OSError as error:
        raise _unwritable(paths, error) from error
    return read(pair.certificate, "node.pem")[0]


def _make(paths: Paths, files: dict[str, bytes]) -> None:
    try:
        paths.state.mkdir(mode=0o700, parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=paths.state, prefix=TEMPORARY_PREFIX) as working:
            folder = Path(working) / paths.certificates.name
            folder.mkdir(mode=0o700)
            _write(folder, files)
            folder.rename(paths.certificates)  # fails where there is one with anything in it
        fsync_folder(paths.state)
    except OSError as error:
        raise (_there_already(paths) if paths.certificates.exists() else _unwritable(paths, error)) from error


def _write(folder: Path, files: dict[str, bytes]) -> None:
    for file, content in files.items():
        write_atomic(folder / file, content, mode=0o600)


def _read(paths: Paths, file: str) -> bytes:
    path = paths.certificates / file
    try:
        return path.read_bytes()
    except OSError as error:
        raise OperatorError(f"{path} cannot be read: {error.strerror}.", "Restore it, or mend its mode.") from error


def _require_valid(certificate: Certificate, origin: str, now: datetime, fix: str = "Issue it anew.") -> None:
    if now > certificate.not_after:
        raise OperatorError(f"The certificate in {origin} expired on {certificate.not_after:%Y-%m-%d}.", fix)
    if now < certificate.not_before:
        start = f"{certificate.not_before:%Y-%m-%d}"
        raise OperatorError(
            f"The certificate in {origin} does not hold before {start}.", "Is this machine's clock right?"
        )


def _remedy(paths: Paths) -> str:
    """How this machine comes by a certificate that holds."""
    if (paths.certificates / "ca.key").exists():
        return "Run `dopq cert renew`, and start the node again."
    new = "`dopq cert issue` a new one where the lab's CA is, `dopq cert install` it here, and start the node again."
    return new if paths.certificates.exists() else f"`dopq cert init` makes a CA for the lab. If the lab has one: {new}"


def _there_already(paths: Paths) -> OperatorError:
    return OperatorError(
        f"This machine has certificates already, in {paths.certificates}; they are as they were.",
        "See them with `dopq cert show`; `dopq cert renew` renews this node's. To begin anew, move that folder away: "
        "then every node needs a new certificate, and every user sees a new fingerprint.",
    )


def _unwritable(paths: Paths, error: OSError) -> OperatorError:
    return OperatorError(f"{paths.certificates} cannot be written: {error.strerror}.", "Mend that, and run it again.")
