"""Which addresses of a record may be called: every odd one is refused, with its reason."""

from __future__ import annotations

import pytest

from dopq.peers.addresses import Reach, in_order, networks
from dopq.peers.refusal import Refused, Why


def why(text: str, reach: Reach | None = None, port: int = 9090) -> Why | None:
    try:
        (reach or Reach()).judge(text, port)
    except Refused as refused:
        return refused.why
    return None


@pytest.mark.parametrize("text", ["192.168.1.5", "10.0.0.1", "192.0.2.7", "2001:db8::7", "fd12:3456::1", "203.0.113.9"])
def test_a_lab_machine_may_be_called(text: str) -> None:
    assert why(text) is None


@pytest.mark.parametrize(
    "text",
    [
        *("127.0.0.1", "127.8.8.8", "::1"),  # loopback
        *("0.0.0.0", "0.1.2.3", "::"),  # nowhere
        *("169.254.1.1", "fe80::1"),  # one link
        *("169.254.169.254", "fd00:ec2::254", "100.100.100.200", "192.0.0.192"),  # metadata of clouds
        *("224.0.0.1", "239.1.2.3", "ff02::1", "255.255.255.255", "240.0.0.1"),  # many, or nobody
        *("::ffff:127.0.0.1", "::127.0.0.1", "64:ff9b::7f00:1", "2002:7f00:1::", "2001:0:7f00:1::"),  # IPv4 within
    ],
)
def test_what_leads_to_no_node_is_never_called_even_where_the_networks_hold_it(text: str) -> None:
    everywhere = Reach(networks(["0.0.0.0/0", "::/0"]))
    assert why(text) is why(text, everywhere) is Why.BAD_ADDRESS


@pytest.mark.parametrize(
    "text",
    [
        *("", " ", "localhost", "gpu1", "gpu1.example.org", "unix:/run/dopq.sock", "/run/docker.sock", "@docker"),
        *("127.1", "0x7f000001", "2130706433", "017700000001", "127.000.000.001", "192.168.001.005", "192.168.1.5 "),
        *("192.168.1.5:9090", "[2001:db8::7]", "192.168.1.0/24", "http://192.168.1.5", "192.168.1.5\n", "\u0661.1.1.1"),
        *("2001:DB8::7", "2001:0db8::7", "2001:db8:0:0:0:0:0:7", "2001:db8::7%eth0", "fe80::1%lo", "::ffff:c0a8:105"),
    ],
)
def test_an_odd_spelling_is_no_address(text: str) -> None:
    assert why(text) is Why.BAD_ADDRESS


def test_nothing_but_the_labs_port_is_called() -> None:
    assert why("192.168.1.5", port=22) is Why.OTHER_PORT
    assert why("192.168.1.5", Reach(port=22), port=22) is None


def test_nothing_outside_the_networks_is_called() -> None:
    lab = Reach(networks(["192.168.1.0/24", "2001:db8:1::/48"]))
    assert why("192.168.1.200", lab) is None
    assert why("2001:db8:1::9", lab) is None
    assert why("192.168.2.1", lab) is Why.OTHER_NETWORK
    assert why("2001:db8:2::9", lab) is Why.OTHER_NETWORK


def test_ipv6_is_tried_before_ipv4() -> None:
    assert in_order(["192.0.2.7", "2001:db8::7", "192.0.2.7", "2001:db8::8"]) == (
        "2001:db8::7",
        "2001:db8::8",
        "192.0.2.7",
    )
