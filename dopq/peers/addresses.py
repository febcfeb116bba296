"""Which addresses a node may be called at. Pure.

Records come from others, so an address in one could have us knock at what listens on this machine alone, at a cloud's
metadata service or at any port of the lab. Judged is the address itself, in its one canonical spelling: whatever else a
resolver or a C library would make of "127.1", "0x7f000001" or "::ffff:127.0.0.1" is refused for its spelling.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

from dopq.peers.refusal import Refused, Why

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

_METADATA = frozenset(map(ip_address, ("169.254.169.254", "fd00:ec2::254", "100.100.100.200", "192.0.0.192")))
"""Where clouds tell a machine its credentials (AWS, Azure and GCP; AWS by IPv6; Alibaba; Oracle)."""

_TRANSLATED = tuple(
    map(IPv6Network, ("::/96", "::ffff:0:0/96", "64:ff9b::/96", "64:ff9b:1::/48", "2002::/16", "2001::/32"))
)
"""IPv6 addresses that hold an IPv4 address, which would have to be judged, too (RFC 4291, 6052, 8215, 3056, 4380)."""


@dataclass(frozen=True, slots=True)
class Reach:
    """Where connections may go: to these networks, and there to this port.

    Attributes:
        networks: none: anywhere but where no node can be.
        port: the one on which the nodes of this lab listen.
    """

    networks: tuple[Network, ...] = ()
    port: int = 9090

    def judge(self, text: str, port: int) -> Address:
        """The address that `text` spells, which may be called.

        Raises:
            Refused: it may not; says why.
        """
        address = spelled(text)
        if port != self.port:
            raise Refused(Why.OTHER_PORT, f"port {port}, and nodes listen on {self.port}")
        if what := _nobodys(address):
            raise Refused(Why.BAD_ADDRESS, f"{address} is {what}")
        if self.networks and not any(address in network for network in self.networks):
            raise Refused(Why.OTHER_NETWORK, f"{address} is in none of peers.networks")
        return address


def spelled(text: str) -> Address:
    """The address that `text` is, in its canonical spelling (RFC 5952). Raises `Refused`."""
    try:
        address = ip_address(text)
    except ValueError:
        raise Refused(Why.BAD_ADDRESS, "it is no IP address") from None
    if str(address) != text or "%" in text:
        raise Refused(Why.BAD_ADDRESS, f"{address} in another spelling")
    return address


def networks(settings: Iterable[str]) -> tuple[Network, ...]:
    """Networks by their spelling, such as `192.168.0.0/16`. Raises `ValueError`."""
    return tuple(ip_network(setting) for setting in settings)


def in_order(addresses: Iterable[str]) -> tuple[str, ...]:
    """Addresses in the order in which they are tried: IPv6 before IPv4 (RFC 6724); each once."""
    return tuple(sorted(dict.fromkeys(addresses), key=lambda text: ":" not in text))


def _nobodys(address: Address) -> str | None:
    """What an address is that leads to no other machine's node; None if it can."""
    if address in _METADATA:
        return "a cloud's metadata service"
    if isinstance(address, IPv6Address) and any(address in network for network in _TRANSLATED):
        return "an IPv4 address in IPv6"
    kinds = {
        "unspecified": address.is_unspecified,
        "loopback": address.is_loopback,
        "link-local": address.is_link_local,
        "multicast": address.is_multicast,
        "reserved": address.is_reserved or (address.version == 4 and int(address) >> 24 == 0),
    }
    return next((kind for kind, holds in kinds.items() if holds), None)
