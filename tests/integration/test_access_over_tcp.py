"""Who may what, over the network: every case of `tests/unit/test_access.py` through the real boundary and our own link.

Besides, what our own link would never send, the nameserver's calls, and the daemon's own object, of which there is none.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import pytest

from dopq.access import calls
from dopq.boundary import Boundary
from dopq.boundary.identity import identify_by
from dopq.boundary.names import NAMESERVER, Names
from dopq.config import RemoteSettings
from dopq.errors import DopqError
from dopq.protocol.channel import Channel, Refused
from dopq.protocol.frames import EXCEPTION, HEADER_BYTES, Kind, frame, read_header
from dopq.protocol.plain import pack, unpack
from dopq.protocol.stream import Stream, deadline
from dopq.wire import CONTROLLER
from dopq_client.link import PyroLink
from dopq_client.ways import TcpWay
from tests.access_table import NAMES_TABLE, TABLE, parameters
from tests.in_memory_node import MAX_ITEMS, InMemoryNode
from tests.unit.test_access import *  # noqa: F403 - every case of that file is one of this
from tests.unit.test_access import Call, Calling, arguments_for, everything, fillers

TIMEOUT_S = 10.0


@contextmanager
def listening(node: InMemoryNode) -> Iterator[tuple[str, int]]:
    """Where a boundary before that node listens."""
    settings, identify = RemoteSettings(port=0, calls_per_s=1e6), identify_by(node.users, node.logins)
    boundary = Boundary(node.controller, settings, identify=identify, audit=lambda *_: None)
    boundary.start()
    try:
        host, _, port = boundary.address.rpartition(":")
        yield host, int(port)
    finally:
        boundary.stop(TIMEOUT_S)


@contextmanager
def linked(node: InMemoryNode, address: tuple[str, int]) -> Iterator[Call]:
    """Calls over a connection for each who calls."""
    links: dict[str | None, PyroLink] = {}

    def call(who: str | None, method: str, *arguments: object) -> Any:
        if who not in links:
            links[who] = PyroLink(TcpWay(*address), node.tokens[who] if who else None)
        return links[who].call(method, *arguments)

    try:
        yield call
    finally:
        for link in links.values():
            link.close()


@pytest.fixture(scope="module")
def address(shared_node: InMemoryNode) -> Iterator[tuple[str, int]]:
    with listening(shared_node) as address:
        yield address


@pytest.fixture(scope="module")
def call(shared_node: InMemoryNode, address: tuple[str, int]) -> Iterator[Call]:
    """To set up a boundary takes 20 ms: this one is for all that is refused."""
    with linked(shared_node, address) as call:
        yield call


@pytest.fixture
def calling() -> Iterator[Calling]:
    with ExitStack() as stack:
        yield lambda node: stack.enter_context(linked(node, stack.enter_context(listening(node))))


def channel(address: tuple[str, int], target: str, token: str | None = None) -> Channel:
    return Channel(Stream(socket.create_connection(address, TIMEOUT_S)), target, {"token": token}, TIMEOUT_S)


# --- what our own link would not send ---


def raw_answer(address: tuple[str, int], token: str, payload: bytes) -> dict[str, Any]:
    """What the boundary answers to a call that is these very bytes; it must be an error."""
    with socket.create_connection(address, TIMEOUT_S) as client:
        stream, until = Stream(client), deadline(TIMEOUT_S)
        client.sendall(frame(Kind.CONNECT, 0, pack({"object": CONTROLLER, "handshake": {"token": token}})))
        head = read_header(stream.read(HEADER_BYTES, until), {Kind.CONNECT_OK}, 0, 2**20)
        stream.read(head.body_bytes, until)
        client.sendall(frame(Kind.INVOKE, 1, payload))
        head = read_header(stream.read(HEADER_BYTES, until), {Kind.RESULT}, EXCEPTION, 2**20)
        assert head.flags & EXCEPTION
        return dict(unpack(stream.read(head.body_bytes, until), MAX_ITEMS))


MARK = "replace-me-here"
NO_UTF8 = {"a lone surrogate": b"\xed\xa0\x80" * 5, "half a pair": b"\xed\xbf\xbf" * 5, "no UTF-8": b"\xff" * 15}


@pytest.mark.parametrize("what", NO_UTF8)
@pytest.mark.parametrize("method", sorted(method for method in TABLE if parameters(method)))
def test_text_that_is_none_is_the_callers_mistake_wherever_it_stands(
    shared_node: InMemoryNode, address: tuple[str, int], method: str, what: str
) -> None:
    names = parameters(method)
    good = dict(zip(names, [*arguments_for(method, "1"), *fillers(method)], strict=True))
    before = everything(shared_node)
    for name in names:
        for wrong in (MARK, [MARK], {MARK: 1}):
            payload = pack([CONTROLLER, method, list((good | {name: wrong}).values()), {}])
            assert payload.count(MARK.encode()) == 1
            bytes_ = payload.replace(MARK.encode(), NO_UTF8[what])
            assert raw_answer(address, shared_node.tokens["olga"], bytes_)["code"] == "bad_request"
    assert everything(shared_node) == before


# --- the nameserver ---

GOOD_FOR_NAMES: dict[str, list[object]] = {
    "count": [],
    "list": [],
    "lookup": [CONTROLLER],
    "ping": [],
    "register": ["theirs", "PYRO:thing@10.0.0.5:4711"],
    "remove": ["theirs"],
}


def test_the_nameservers_table_is_the_one_that_was_agreed_upon() -> None:
    assert {name: (row.access, row.whose, row.changes) for name, row in calls(Names).items()} == NAMES_TABLE


@pytest.mark.parametrize("method", sorted(NAMES_TABLE))
def test_the_nameserver_answers_strangers_what_anybody_may(
    shared_node: InMemoryNode, address: tuple[str, int], method: str
) -> None:
    for who, token in ((None, None), ("anna", shared_node.tokens["anna"])):
        names = channel(address, NAMESERVER, token)
        code = "ok"
        try:
            names.call(method, GOOD_FOR_NAMES[method], {}, TIMEOUT_S)
        except DopqError as error:
            code = error.code
        finally:
            names.close()
        assert code == ("not_logged_in" if who is None and NAMES_TABLE[method][0] == "user" else "ok")


@pytest.mark.parametrize(
    "method", ["yplookup", "set_metadata", "shutdown", "__class__", "_host", "storage", "hello", "cancel_job"]
)
def test_the_nameserver_has_no_other_call(shared_node: InMemoryNode, address: tuple[str, int], method: str) -> None:
    names = channel(address, NAMESERVER, shared_node.tokens["olga"])
    with pytest.raises(DopqError) as refused:
        names.call(method, [], {}, TIMEOUT_S)
    names.close()
    assert refused.value.code == "unknown_call"


# --- the daemon's own object ---


@pytest.mark.parametrize("target", ["Pyro.Daemon", "Pyro.Flame", "Pyro.MessageBus", "", "dopq", "remote_dopq"])
def test_there_is_no_object_but_the_controller_and_the_nameserver(
    shared_node: InMemoryNode, address: tuple[str, int], target: str
) -> None:
    with pytest.raises(Refused, match="There is no such object"):
        channel(address, target, shared_node.tokens["olga"])


@pytest.mark.parametrize("method", ["registered", "info", "ping", "get_metadata", "get_next_stream_item", "shutdown"])
def test_a_connection_reaches_no_object_but_its_own(
    shared_node: InMemoryNode, address: tuple[str, int], method: str
) -> None:
    """A stock daemon tells what it has, and takes the object's name from each call."""
    controller = channel(address, CONTROLLER, shared_node.tokens["olga"])
    for target in ("Pyro.Daemon", NAMESERVER):
        controller._target = target
        with pytest.raises(DopqError) as refused:
            controller.call(method, [CONTROLLER], {}, TIMEOUT_S)
        assert refused.value.code == "unknown_call"
    controller.close()
