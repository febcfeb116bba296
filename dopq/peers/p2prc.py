"""The table of P2PRC's nodes (`ip_table.json`), as addresses to ask first.

Its fields were `ipv4` in its first versions and `IPV4` later, which its reader took for the same. Its ports are of
another service, its measures those of another machine, and its names anybody's: the addresses alone are of use here.
"""

from __future__ import annotations

import json

from dopq.errors import UserError
from dopq.peers.addresses import Reach
from dopq.peers.refusal import Refused

MOST_BYTES = 2**20


def seeds_of(table: bytes) -> tuple[list[str], list[str]]:
    """The addresses in it that can be called, IPv6 of each entry first; and why others cannot.

    Raises:
        UserError: it is no such table.
    """
    if len(table) > MOST_BYTES:
        raise UserError("The file is too large for an ip_table.json of P2PRC.", "Is it the right file?")
    try:
        entries = json.loads(table)["ip_address"]
        told = [{str(key).lower(): value for key, value in entry.items()} for entry in entries]
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        raise UserError("The file is no ip_table.json of P2PRC.", "It has a list called ip_address.") from None
    seeds, refused = dict[str, None](), list[str]()
    for text in (str(entry.get(field) or "") for entry in told for field in ("ipv6", "ipv4")):
        if text:
            try:
                seeds[str(Reach().judge(text, Reach().port))] = None
            except Refused as refusal:
                refused.append(refusal.detail)
    return list(seeds), refused
