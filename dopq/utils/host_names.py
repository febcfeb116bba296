"""Under which names and addresses this machine is reached."""

from __future__ import annotations

import socket
from ipaddress import IPv4Address, IPv6Address, ip_address

import psutil


def own_hosts() -> list[str]:
    """Host name, full name and addresses of this machine, without those that mean it only to itself or on one link."""
    names = [socket.gethostname().lower(), socket.getfqdn().lower()]
    return list(dict.fromkeys([*names, *(str(address) for address in _addresses())]))


def host_for_others(listening: str) -> str | None:
    """Whom others may call where we listen on all addresses, `0.0.0.0` or `::`; None where it is on one alone.

    The first address of that family which is not loopback, else the host name.
    """
    wildcard = ip_address(listening)
    if not wildcard.is_unspecified:
        return None
    same_family = (str(address) for address in _addresses() if address.version == wildcard.version)
    return next(same_family, socket.gethostname().lower())


def _addresses() -> list[IPv4Address | IPv6Address]:
    """Those of this machine that lead to it from elsewhere."""
    found = [
        ip_address(address.address)
        for interface in psutil.net_if_addrs().values()
        for address in interface
        if address.family in (socket.AF_INET, socket.AF_INET6)
    ]
    return [address for address in found if not (address.is_loopback or address.is_link_local)]
