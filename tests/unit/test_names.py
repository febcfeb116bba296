"""The nameserver: whose names they are."""

from __future__ import annotations

import pytest

from dopq.boundary.names import MOST_OF_ONE, OWN_NAMES, Names
from dopq.caller import LOCAL, Caller
from dopq.config import parse
from dopq.errors import NotAllowed, NotFound, UserError
from dopq.job import UserName
from dopq.users import Role, User
from tests.fakes import FakeClock

URI = "PYRO:thing@10.0.0.5:4711"


def user(name: str, role: Role = Role.USER) -> User:
    return User(UserName(name), role, 1.0, None, FakeClock().now())


ANNA, BERT, OLGA = user("anna"), user("bert"), user("olga", Role.ADMIN)
STRANGER = Caller(None, LOCAL)


@pytest.fixture
def names() -> Names:
    return Names("127.0.0.1:9090")


def leads_to(names: Names, name: str, reached: str = "") -> list[object]:
    found = names.lookup(Caller(None, "10.0.0.9", reached=reached), name)
    assert isinstance(found, dict)
    return list(found["state"])


def test_our_own_names_lead_to_where_the_caller_has_reached_us(names: Names) -> None:
    assert leads_to(names, "dopq.controller", "10.0.0.1:9090") == ["PYRO", "dopq.controller", None, "10.0.0.1", 9090]
    assert leads_to(names, "remote_dopq") == ["PYRO", "dopq.controller", None, "127.0.0.1", 9090]
    assert leads_to(names, "dopq.controller", "[fd00::1]:9090")[3] == "fd00::1"


@pytest.mark.parametrize("host", ["gpu_1", "gpu-1.example.org", "10.0.0.1", "2001:db8::1"])
def test_wherever_the_settings_let_a_node_listen_its_names_lead_there(host: str) -> None:
    assert parse({"remote": {"host": host, "tls": True}}, "x").remote.host == host
    names = Names(f"[{host}]:9090" if ":" in host else f"{host}:9090")
    assert leads_to(names, "dopq.controller")[3:] == [host, 9090]
    names.register(ANNA, "annas.thing", f"PYRO:thing@[{host}]:1" if ":" in host else f"PYRO:thing@{host}:1")
    assert leads_to(names, "annas.thing")[3:] == [host, 1]


def test_a_name_is_its_owners(names: Names) -> None:
    names.register(ANNA, "annas.thing", URI)
    assert leads_to(names, "annas.thing") == ["PYRO", "thing", None, "10.0.0.5", 4711]
    with pytest.raises(NotAllowed):
        names.register(BERT, "annas.thing", URI)
    with pytest.raises(NotAllowed):
        names.remove(BERT, "annas.thing")
    with pytest.raises(NotAllowed):
        names.register(ANNA, "annas.thing", URI, safe=True)
    names.register(ANNA, "annas.thing", "PYRO:other@10.0.0.5:4711")
    assert names.remove(ANNA, "annas.thing") == 1
    with pytest.raises(NotFound):
        names.lookup(STRANGER, "annas.thing")


@pytest.mark.parametrize("name", OWN_NAMES)
def test_nobody_takes_the_nodes_own_names(names: Names, name: str) -> None:
    for caller in (ANNA, OLGA):
        with pytest.raises(NotAllowed):
            names.register(caller, name, URI)
        with pytest.raises(NotAllowed):
            names.remove(caller, name)


def test_an_admin_may_remove_anybodys_name(names: Names) -> None:
    names.register(ANNA, "annas.thing", URI)
    assert names.remove(OLGA, "annas.thing") == 1
    assert names.remove(OLGA, "annas.thing") == 0


@pytest.mark.parametrize(
    "uri",
    [
        "", "PYRO:x", "PYRO:x@./u:/run/docker.sock", "PYRO:x@host", "PYRO:x@host:0", "PYRO:x@host:65536", "PYRONAME:x@h:1",
        "PYRO:x@host:1\n", "PYRO:x@a b:1", {"__class__": "Pyro5.core.URI", "state": ["PYRO", "x", "/run/s", None, None]},
        {"__class__": "Pyro5.client.Proxy", "state": []}, {},
    ],
)  # fmt: skip
def test_what_is_no_address_of_an_object_is_no_name(names: Names, uri: str) -> None:
    with pytest.raises(UserError):
        names.register(ANNA, "x", uri)
    assert names.count(ANNA) == len(OWN_NAMES)


def test_one_users_names_are_not_without_end(names: Names) -> None:
    for number in range(MOST_OF_ONE):
        names.register(ANNA, f"n{number}", URI)
    with pytest.raises(NotAllowed, match="too many"):
        names.register(ANNA, "more", URI)
    names.register(ANNA, "n0", URI)
    names.register(BERT, "more", URI)


def test_names_are_listed_by_how_they_begin(names: Names) -> None:
    names.register(ANNA, "annas.thing", URI)
    assert names.list(ANNA, "ann") == {"annas.thing": URI}
    assert len(names.list(ANNA)) == len(OWN_NAMES) + 1
