"""Where others reach a node that listens on every address of its machine."""

from __future__ import annotations

import socket
from types import SimpleNamespace

import psutil
import pytest

from dopq.utils.host_names import host_for_others


def _address(address: str) -> SimpleNamespace:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    return SimpleNamespace(family=family, address=address)


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> dict[str, list[SimpleNamespace]]:
    """The interfaces of a machine called gpu_1."""
    interfaces = {"lo": [_address("127.0.0.1"), _address("::1")]}
    monkeypatch.setattr(psutil, "net_if_addrs", lambda: interfaces)
    monkeypatch.setattr(socket, "gethostname", lambda: "GPU_1")
    return interfaces


@pytest.mark.parametrize(("everywhere", "expected"), [("0.0.0.0", "192.0.2.5"), ("::", "2001:db8::5")])
def test_who_listens_everywhere_is_reached_at_the_first_address_of_that_family(
    machine: dict[str, list[SimpleNamespace]], everywhere: str, expected: str
) -> None:
    machine["eth0"] = [_address(it) for it in ("fe80::5%eth0", "2001:db8::5", "192.0.2.5")]
    machine["eth1"] = [_address(it) for it in ("198.51.100.5", "2001:db8:1::5")]
    assert host_for_others(everywhere) == expected


@pytest.mark.parametrize("everywhere", ["0.0.0.0", "::"])
def test_without_such_an_address_it_is_the_host_name(
    machine: dict[str, list[SimpleNamespace]], everywhere: str
) -> None:
    machine["eth0"] = [_address("fe80::5%eth0")]
    assert host_for_others(everywhere) == "gpu_1"


@pytest.mark.parametrize("one", ["127.0.0.1", "192.0.2.5", "2001:db8::5", "fe80::5%eth0"])
def test_who_listens_on_one_address_is_reached_there_alone(one: str) -> None:
    assert host_for_others(one) is None
