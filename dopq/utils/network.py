"""What callers are counted by, where nobody has said who they are."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Network, ip_address


def network_of(address: str) -> str:
    """What an address counts as: itself, or for IPv6 its /64, the least that one household gets (RFC 6177).

    An IPv4 address that is written as IPv6 (RFC 4291, 2.5.5.2) counts as IPv4; what is no IP address, as itself.
    """
    try:
        parsed = ip_address(address)
    except ValueError:
        return address
    if isinstance(parsed, IPv4Address):
        return str(parsed)
    if parsed.ipv4_mapped:
        return str(parsed.ipv4_mapped)
    return str(IPv6Network((int(parsed) >> 64 << 64, 64)))
