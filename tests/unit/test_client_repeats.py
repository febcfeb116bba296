"""A connection that is cut between a change and its answer: asked again, and done once."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from dopq.errors import DopqError, ServiceUnreachable
from dopq.images import Images
from dopq.job import Held, Job, StateName
from dopq.protocol.frames import CORRELATED, EXCEPTION, HEADER_BYTES, Kind, read_header
from dopq.protocol.plain import unpack
from dopq.protocol.stream import Stream, StreamClosed, deadline
from dopq_client.client import DopqClient
from dopq_client.link import PyroLink
from dopq_client.ways import TcpWay
from tests.boundary_alone import Alone, boundary_alone
from tests.platforms import ANNA, IMAGE, Home

LARGEST = 16 * 2**20


class CutsOff:
    """A way to a node that is cut, `times` times, when the node has answered a `method` and nobody has heard it yet."""

    def __init__(self, node: Alone, method: str, times: int) -> None:
        host, _, port = node.address.rpartition(":")
        self._way = TcpWay(host, int(port))
        self._method, self.left = method, times
        self.carriers: list[threading.Thread] = []

    def connect(self, timeout_s: float) -> Stream:
        here, there = socket.socketpair()
        carrier = threading.Thread(target=self._carry, args=(Stream(there), self._way.connect(timeout_s)))
        carrier.start()
        self.carriers.append(carrier)
        return Stream(here)

    def _carry(self, client: Stream, node: Stream) -> None:
        try:
            while True:
                asked, body = self._pass(client, node)
                heard, answer = _message(node)
                called = unpack(body, 10_000)[1] if asked is Kind.INVOKE else ""
                if called == self._method and self.left:
                    self.left -= 1
                    return
                client.write(heard + answer, deadline(10))
        except StreamClosed:
            pass
        finally:
            client.close()
            node.close()

    def _pass(self, client: Stream, node: Stream) -> tuple[Kind, bytes]:
        head, body = _message(client)
        node.write(head + body, deadline(10))
        return _head(head).kind, body

    def elsewhere(self, host: str, port: int) -> CutsOff:
        raise NotImplementedError

    def doubts(self) -> str:
        return ""


def _message(stream: Stream) -> tuple[bytes, bytes]:
    head = stream.read(HEADER_BYTES, deadline(30))
    return head, stream.read(_head(head).body_bytes, deadline(10))


def _head(data: bytes) -> Any:
    return read_header(data, set(Kind), EXCEPTION | CORRELATED, LARGEST)


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Alone]:
    with boundary_alone(tmp_path / "home") as alone:
        yield alone


@pytest.fixture
def cut_off(node: Alone) -> Iterator[Callable[..., DopqClient]]:
    """Makes clients whose first call of a method is done, and its answer lost."""
    made: list[tuple[DopqClient, CutsOff]] = []

    def make(method: str, user: str = "anna", times: int = 1) -> DopqClient:
        way = CutsOff(node, method, times)
        client = DopqClient(PyroLink(way, node.tokens[user]))
        made.append((client, way))
        return client

    yield make
    for client, way in made:
        client.close()
        for carrier in way.carriers:
            carrier.join(10)
        assert way.left == 0, "no answer was lost"


def times(home: Home, job: Job, state: StateName) -> int:
    """How often a job came into a state."""
    return [event.new for event in home.platform.story(job.id)].count(state)


Client = Callable[..., DopqClient]


def test_cancel(node: Alone, cut_off: Client) -> None:
    job = node.home.running()
    assert cut_off("cancel_job").cancel(job.id)["state"] == "stopping"
    assert times(node.home, job, StateName.STOPPING) == 1


def test_hold_and_release(node: Alone, cut_off: Client) -> None:
    job = node.home.queued()
    assert cut_off("hold_job").hold(job.id)["state"] == "held"
    assert cut_off("release_job").release(job.id)["state"] == "queued"
    assert times(node.home, job, StateName.HELD) == 1
    assert times(node.home, job, StateName.QUEUED) == 2, "when it was built, and when it was released"


def test_rerun(node: Alone, cut_off: Client) -> None:
    job = node.home.ended()
    Images(node.home.database).add(job.id, IMAGE, "made-from-this")
    again = cut_off("rerun_job").rerun(job.id)
    assert again["state"] == "queued"
    assert [one.id for one in node.home.platform.alive()] == [again["id"]]


@pytest.mark.parametrize("lost", ["begin_upload", "send_chunk", "submit"])
def test_submit(node: Alone, cut_off: Client, tmp_path: Path, lost: str) -> None:
    bundle = tmp_path / "iris.zip"
    bundle.write_bytes(bytes(700_000))
    job = cut_off(lost).submit(bundle)
    assert [one.id for one in node.home.platform.alive()] == [job["id"]]


def test_lock_and_unlock(node: Alone, cut_off: Client) -> None:
    first = cut_off("dopq_system_lock", "olga").lock("a", 5)
    assert first["lock"]["owner"] == "olga"
    assert cut_off("dopq_system_lock", "olga").unlock()["lock"] is None


def test_drain_and_undrain(node: Alone, cut_off: Client) -> None:
    assert cut_off("dopq_system_drain", "olga").drain("new disks")["draining"]
    assert not cut_off("dopq_system_drain", "olga").undrain()["draining"]


def test_clearing_the_history_tells_what_the_first_call_cleared(node: Alone, cut_off: Client) -> None:
    for _ in range(3):
        node.home.ended()
    assert cut_off("clear_dopq_history", "olga").clear_history() == 3


def test_a_change_that_was_refused_is_refused_again(node: Alone, cut_off: Client) -> None:
    job = node.home.ended()
    with pytest.raises(DopqError) as refused:
        cut_off("cancel_job").cancel(job.id)
    assert refused.value.code == "wrong_state"


def test_a_change_that_is_done_and_undone_meanwhile_is_not_done_again(node: Alone, cut_off: Client) -> None:
    """The point of the key: what the second call asks is not done anew, whatever has become of it since."""
    job = node.home.queued()
    client = cut_off("hold_job")
    released: list[object] = []
    link = client._link
    assert isinstance(link, PyroLink)
    connect = link.way.connect

    def after_a_release(timeout_s: float) -> Stream:
        if isinstance(node.home.platform.job(job.id).state, Held) and not released:
            released.append(node.home.platform.release(job.id, node.home.user(ANNA)))
        return connect(timeout_s)

    link.way.connect = after_a_release  # type: ignore[method-assign]
    client.hold(job.id)
    assert released
    assert times(node.home, job, StateName.HELD) == 1


def test_what_is_cut_off_again_and_again_is_told(node: Alone, cut_off: Client) -> None:
    job = node.home.queued()
    with pytest.raises(ServiceUnreachable):
        cut_off("hold_job", times=2).hold(job.id)
    assert times(node.home, job, StateName.HELD) == 1
