"""What an address counts as, for tries, registrations, connections and calls alike."""

from __future__ import annotations

import pytest

from dopq.boundary.doors import Evidence
from dopq.caller import LOCAL
from dopq.utils.network import network_of


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:ffff::9", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        (LOCAL, LOCAL),
        ("", ""),
    ],
)
def test_an_address_counts_as_its_network(address: str, network: str) -> None:
    assert network_of(address) == network


def test_connections_and_calls_of_one_ipv6_network_are_counted_together() -> None:
    assert Evidence("2001:db8:1:2::1").source == Evidence("2001:db8:1:2:ffff::9").source
    assert Evidence("2001:db8:1:2::1").source != Evidence("2001:db8:1:3::1").source
    assert Evidence(LOCAL, uid=1000).source == "uid 1000"
