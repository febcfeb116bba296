"""Under which names and addresses this machine is reached."""

from __future__ import annotations

import socket
from ipaddress import ip_address

import psutil


def own_hosts() -> list[str]:
    """Host name, full name and addresses of this machine, without those that mean it only to itself or on one link."""
    names = [socket.gethostname().lower(), socket.getfqdn().lower()]
    addresses = [
        address.address
        for interface in psutil.net_if_addrs().values()
        for address in interface
        if address.family in (socket.AF_INET, socket.AF_INET6)
    ]
    return list(dict.fromkeys([*names, *(address for address in addresses if _is_reached_from_elsewhere(address))]))


def _is_reached_from_elsewhere(address: str) -> bool:
    parsed = ip_address(address)
    return not (parsed.is_loopback or parsed.is_link_local)
