"""`dopq peer`: what the machine's owner says of other nodes, and to them of this one."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import rich_click as click

from dopq.cli_answers import in_words, print_json, say
from dopq.cli_changes import changing
from dopq.cli_options import AS_JSON, CONFIG

if TYPE_CHECKING:
    from dopq.config import Paths
    from dopq.peers.choices import ChoicesFile
    from dopq.peers.neighbourhood import Known
    from dopq.peers.record import NodeRecord


@click.group()
def peer() -> None:
    """The other nodes of the lab. A running node takes changes up with its next round."""


@peer.command("add")
@click.argument("addresses", nargs=-1, required=True)
@CONFIG
@in_words
def peer_add(addresses: tuple[str, ...], config_file: Path) -> None:
    """Ask at ADDRESSES (HOST or HOST:PORT) for other nodes."""
    paths = _paths(config_file)
    _add(paths, "dopq peer add", list(addresses))


@peer.command("import")
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False, exists=True))
@CONFIG
@in_words
def peer_import(file: Path, config_file: Path) -> None:
    """Ask at the addresses in FILE, an ip_table.json of P2PRC."""
    from dopq.peers.p2prc import seeds_of

    seeds, refused = seeds_of(file.read_bytes())
    for why in refused:
        say(f"Passed over: {why}.", err=True)
    _add(_paths(config_file), "dopq peer import", seeds)


@peer.command("remove")
@click.argument("address")
@CONFIG
@in_words
def peer_remove(address: str, config_file: Path) -> None:
    """Ask at ADDRESS no more. Who was found there stays known."""
    from dopq.errors import NotFound

    paths = _paths(config_file)
    choices = _choices(paths)
    if address not in choices.read().seeds:
        raise NotFound(f"{address} was not added here.", "See what was: dopq peer list. Others are in peers.seeds.")
    with changing(paths, "dopq peer remove", name=address):
        choices.change(lambda it: it.model_copy(update={"seeds": [seed for seed in it.seeds if seed != address]}))
    say(f"{address} is asked no more.")


@peer.command("trust")
@click.argument("name")
@click.option("--fingerprint", help="Of its certificate, as its admin reads it off `dopq cert show` there.")
@CONFIG
@in_words
def peer_trust(name: str, fingerprint: str | None, config_file: Path) -> None:
    """Let the node NAME use this one. It is known by its certificate: after a renewal, trust it again."""
    paths = _paths(config_file)
    pinned = fingerprint.upper() if fingerprint else _shown_to_be(name, _known(paths))
    if not fingerprint:
        say(f"{name} has shown a certificate with the fingerprint {pinned}", err=True)
        click.confirm("Is that what `dopq cert show` prints there?", abort=True, err=True)
    with changing(paths, "dopq peer trust", name=name):
        _choices(paths).change(lambda it: it.model_copy(update={"trusted": {**it.trusted, _checked(pinned): name}}))
    say(f"{name} may use this node. Whether this one may use it is for the admin there to say.")


@peer.command("untrust")
@click.argument("name")
@CONFIG
@in_words
def peer_untrust(name: str, config_file: Path) -> None:
    """Let the node NAME use this one no more, from this moment on."""
    from dopq.errors import NotFound

    paths = _paths(config_file)
    choices = _choices(paths)
    if name not in choices.read().trusted.values():
        raise NotFound(f"{name} is not trusted here.", "See who is: dopq peer list")
    with changing(paths, "dopq peer untrust", name=name):
        choices.change(
            lambda it: it.model_copy(update={"trusted": {pin: who for pin, who in it.trusted.items() if who != name}})
        )
    say(f"{name} may use this node no more.")


@peer.command("metadata")
@click.argument("pairs", nargs=-1, metavar="[KEY=VALUE]...")
@CONFIG
@in_words
def peer_metadata(pairs: tuple[str, ...], config_file: Path) -> None:
    """Say something of this node to all others, such as lab=west; KEY= takes it back. Without any: what is said."""
    from dopq.errors import UserError
    from dopq.peers.choices import with_metadata

    paths = _paths(config_file)
    choices = _choices(paths)
    if pairs:
        split = [pair.partition("=") for pair in pairs]
        if wrong := [key for key, equals, _ in split if not equals]:
            raise UserError(f"{wrong[0]!r} is no KEY=VALUE.", "For example: dopq peer metadata lab=west")
        with changing(paths, "dopq peer metadata"):
            choices.change(lambda it: with_metadata(it, {key: value for key, _, value in split}))
    for key, value in sorted(choices.read().metadata.items()):
        say(f"{key}={value}")


@peer.command("list")
@CONFIG
@AS_JSON
@in_words
def peer_list(config_file: Path, as_json: bool) -> None:
    """The other nodes as they were last saved, whom this one trusts, and where it asks first."""
    from dopq.config import load

    settings, paths = load(config_file)
    chosen, known = _choices(paths).read(), _known(paths)
    records = sorted(known.table.values(), key=lambda it: (it.facts.name, it.node_id))
    seeds = list(dict.fromkeys([*settings.peers.seeds, *chosen.seeds]))
    if as_json:
        print_json(nodes=[_to_wire(it, chosen.trusted) for it in records], trusted=chosen.trusted, seeds=seeds)
        return
    for record in records:
        trusted = "trusted" if record.facts.certificate in chosen.trusted else ""
        where = ", ".join(record.facts.addresses)
        say(f"{record.facts.name:<24} {record.node_id[:8]}  {trusted:<8} {where}".rstrip())
    for pin, name in chosen.trusted.items():
        if pin not in {record.facts.certificate for record in records}:
            say(f"{name:<24} trusted, but no node shows that certificate: {pin}")
    say(f"asked first: {', '.join(seeds) or 'nobody'}")


def _to_wire(record: NodeRecord, trusted: Mapping[str, str]) -> dict[str, object]:
    facts = record.facts
    return {
        "node_id": str(record.node_id),
        "name": facts.name,
        "addresses": facts.addresses,
        "certificate": facts.certificate,
        "is_trusted": facts.certificate in trusted,
    }


def _add(paths: Paths, command: str, addresses: list[str]) -> None:
    from dopq.errors import UserError
    from dopq.peers.rounds import is_seed

    if wrong := [address for address in addresses if not is_seed(address)]:
        raise UserError(f"{wrong[0]!r} is no address of a node.", "Write HOST or HOST:PORT; IPv6: [2001:db8::7]:9090.")
    with changing(paths, command, name=" ".join(addresses)):
        _choices(paths).change(lambda it: it.model_copy(update={"seeds": list(dict.fromkeys([*it.seeds, *addresses]))}))
    say(f"Asked with the next round: {', '.join(addresses) or 'nobody'}")


def _paths(config_file: Path) -> Paths:
    from dopq.config import load

    _, paths = load(config_file)
    paths.make()
    return paths


def _choices(paths: Paths) -> ChoicesFile:
    from dopq.peers.choices import ChoicesFile

    return ChoicesFile(paths.peers / "choices.json")


def _known(paths: Paths) -> Known:
    from dopq.peers.table_file import load

    return load(paths.peers / "table.json")


def _shown_to_be(name: str, known: Known) -> str:
    """The fingerprint of the certificate that the node of that name has itself shown."""
    from dopq.errors import NotFound, UserError

    shown: list[NodeRecord] = [
        record
        for node, record in known.table.items()
        if record.facts.name == name and (contact := known.contacts.get(node)) and contact.vouched
    ]
    if not shown:
        raise NotFound(
            f"No node called {name!r} has shown its certificate here yet.",
            "Give what `dopq cert show` prints there: --fingerprint",
        )
    if len(shown) > 1:
        raise UserError(f"Several nodes are called {name!r}.", "Say which: --fingerprint")
    return shown[0].facts.certificate


def _checked(fingerprint: str) -> str:
    import re

    from dopq.errors import UserError

    if not re.fullmatch(r"[0-9A-F]{2}(:[0-9A-F]{2}){31}", fingerprint):
        raise UserError("That is no fingerprint.", "It is 32 pairs of digits with colons: dopq cert show")
    return fingerprint
