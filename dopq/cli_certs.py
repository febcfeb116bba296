"""`dopq cert`: the lab's own CA, and the certificates of its nodes."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import rich_click as click

from dopq.cli_answers import in_words, print_json, say
from dopq.cli_options import AS_JSON, CONFIG
from dopq.wire import time_to_wire

if TYPE_CHECKING:
    from dopq.certificates import Certificate

HOSTS = click.option(
    "--host", "hosts", multiple=True, help="A further name or IP address under which it is reached; may be repeated."
)
FILE = click.Path(path_type=Path, dir_okay=False)


@click.group()
def cert() -> None:
    """The lab's own CA, and the certificates of its nodes."""


@cert.command("init")
@HOSTS
@CONFIG
@in_words
def cert_init(hosts: tuple[str, ...], config_file: Path) -> None:
    """Make a CA for the lab, and the certificate of this node: once, on one machine of the lab."""
    from dopq import certificate_folder as folder
    from dopq.config import load, node_name
    from dopq.utils.host_names import own_hosts

    settings, paths = load(config_file)
    folder.begin(paths, node_name(settings.node), [*own_hosts(), *hosts], _now())
    say(f"Made the lab's CA and this node's certificate, in {paths.certificates}.")
    _print(folder.own(paths, _now()))
    say(f"Keep {paths.certificates / 'ca.key'} secret, and a copy of it safe.")
    say("Next: set remote.tls = true and remote.host in the settings. Tell users the fingerprint for their login.")


@cert.command("issue")
@click.argument("name")
@HOSTS
@click.option("-o", "--output", type=FILE, help="Where to write it; by default NAME.pem.")
@CONFIG
@in_words
def cert_issue(name: str, hosts: tuple[str, ...], output: Path | None, config_file: Path) -> None:
    """Make a certificate and key for NAME, another node of the lab, as one file to carry there.

    NAME is its node.name; it is one of its hosts, too.
    """
    from dopq import certificate_folder as folder
    from dopq.config import load
    from dopq.errors import UserError

    _, paths = load(config_file)
    file = output or Path(f"{name}.pem")
    if file.exists():
        raise UserError(f"{file} exists already; it is as it was.", "Remove it, or choose another with -o.")
    pem = folder.issue(paths, name, hosts, _now())
    _write(file, pem)
    say(f"Wrote {file}. It holds a private key: carry it to {name} safely, and remove it afterwards. There:")
    say(f"  dopq cert install {file.name}")


@cert.command("install")
@click.argument("file", type=FILE)
@CONFIG
@in_words
def cert_install(file: Path, config_file: Path) -> None:
    """Make what `dopq cert issue` wrote elsewhere the certificate of this node."""
    from dopq import certificate_folder as folder
    from dopq.config import load

    _, paths = load(config_file)
    _print(folder.install(paths, _read(file), str(file), _now()))
    say(f"Installed in {paths.certificates}; it counts from the next start of the node. Now remove {file}.")


@cert.command("renew")
@HOSTS
@CONFIG
@in_words
def cert_renew(hosts: tuple[str, ...], config_file: Path) -> None:
    """Give this node a new certificate, on the machine with the CA. It keeps the hosts of the old one."""
    from dopq import certificate_folder as folder
    from dopq.config import load, node_name
    from dopq.utils.host_names import own_hosts

    settings, paths = load(config_file)
    _print(folder.renew(paths, node_name(settings.node), [*own_hosts(), *hosts], _now()))
    say("It counts from the next start of the node. Tell users the fingerprint: they are asked to confirm it.")


@cert.command("show")
@click.argument("file", type=FILE, required=False)
@CONFIG
@AS_JSON
@in_words
def cert_show(file: Path | None, config_file: Path, as_json: bool) -> None:
    """What the certificates in FILE say; without it, this node's and that of the lab's CA."""
    from dopq import certificate_folder as folder
    from dopq.certificates import read
    from dopq.config import load

    shown = read(_read(file), str(file)) if file else folder.shown(load(config_file)[1])
    if as_json:
        print_json(certificates=[_to_wire(certificate) for certificate in shown])
    for certificate in [] if as_json else shown:
        _print(certificate)


def _read(file: Path) -> bytes:
    from dopq.errors import UserError

    try:
        return file.read_bytes()
    except OSError as error:
        raise UserError(f"{file} cannot be read: {error.strerror}.", "Is that the right file?") from error


def _write(file: Path, content: bytes) -> None:
    from dopq.errors import UserError
    from dopq.utils.files import write_atomic

    try:
        write_atomic(file, content, mode=0o600)
    except OSError as error:
        raise UserError(f"{file} cannot be written: {error.strerror}.", "Choose another place with -o.") from error


def _now() -> datetime:
    return datetime.now(UTC)


def _print(certificate: Certificate) -> None:
    who = "CA" if certificate.is_authority else "node"
    left = (certificate.not_after - _now()).days
    say(f"{who:<12} {certificate.name}")
    if certificate.hosts:
        say(f"{'hosts':<12} {', '.join(certificate.hosts)}")
    say(f"{'valid until':<12} {certificate.not_after:%Y-%m-%d} ({left} days)")
    say(f"{'SHA-256':<12} {certificate.fingerprint}")


def _to_wire(certificate: Certificate) -> dict[str, object]:
    return {
        "name": certificate.name,
        "issuer": certificate.issuer,
        "hosts": list(certificate.hosts),
        "not_before": time_to_wire(certificate.not_before),
        "not_after": time_to_wire(certificate.not_after),
        "days_left": (certificate.not_after - _now()).days,
        "fingerprint": certificate.fingerprint,
        "is_authority": certificate.is_authority,
    }
