"""The boundary under attack: it lives, keeps its memory, and an honest client elsewhere is answered in time throughout."""

from __future__ import annotations

import random
import socket
import ssl
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress

import msgpack
import pytest

from dopq.boundary.listener import NEWCOMERS_PER_S
from dopq.boundary.rates import BURST_S, LONGEST_WAIT_S
from dopq.protocol.channel import Channel
from dopq.protocol.frames import HEADER_BYTES, Kind, frame
from dopq.protocol.plain import pack
from dopq.protocol.stream import Stream
from dopq.wire import CONTROLLER
from tests.boundary_process import BoundaryProcess, boundary_process
from tests.waiting import wait_until

HONEST_ADDRESS = "127.0.0.2"
IN_TIME_S = 1.0
HOLD_S = 1.0
"""For so long an attack is kept up while the honest client asks: nothing is waited for, this is the attack."""
MOST_MEMORY_BYTES = 50 * 2**20

HEADER = struct.Struct("!4sHBBHHII16sHH")


def head(
    kind: int = 4,
    *,
    tag: bytes = b"PYRO",
    version: int = 502,
    serializer: int = 4,
    flags: int = 0,
    payload: int = 0,
    annotations: int = 0,
    magic: int = 0x4DC5,
) -> bytes:
    """A header in which anything may be wrong."""
    return HEADER.pack(tag, version, kind, serializer, flags, 1, payload, annotations, b"\0" * 16, 0, magic)


CONNECT = frame(Kind.CONNECT, 0, pack({"object": CONTROLLER, "handshake": {}}))
HELLO = frame(Kind.INVOKE, 1, pack([CONTROLLER, "hello", [], {}]))


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BoundaryProcess]:
    with boundary_process(tmp_path_factory.mktemp("attacked")) as running:
        yield running


class Honest(threading.Thread):
    """Somebody at another address who asks all the time, over new connections and over an old one."""

    def __init__(self, target: BoundaryProcess) -> None:
        super().__init__()
        self._target = target
        self._over = threading.Event()
        self.took_s: list[float] = []
        self.failure: Exception | None = None

    def run(self) -> None:
        try:
            old = self._connected()
            while not self._over.wait(0.02):
                for channel in (old, self._connected()):
                    began = time.monotonic()
                    assert channel.call("hello", [], {}, 10.0)["user"] == "anna"
                    self.took_s.append(time.monotonic() - began)
                    if channel is not old:
                        channel.close()
            old.close()
        except Exception as error:  # noqa: BLE001 - told to the thread that tests
            self.failure = error

    def _connected(self) -> Channel:
        began = time.monotonic()
        connected = socket.create_connection((self._target.host, self._target.port), 10.0, (HONEST_ADDRESS, 0))
        channel = Channel(Stream(connected), CONTROLLER, {"token": self._target.tokens["anna"]}, 10.0)
        self.took_s.append(time.monotonic() - began)
        return channel

    def stop(self) -> None:
        wait_until(lambda: len(self.took_s) > 5 or not self.is_alive(), 20.0)
        self._over.set()
        self.join(20)


@contextmanager
def unharmed(target: BoundaryProcess) -> Iterator[None]:
    """What must hold while the body attacks, and afterwards."""
    before = target.memory_bytes
    honest = Honest(target)
    honest.start()
    try:
        yield
    finally:
        honest.stop()
    assert target.is_alive
    assert honest.failure is None
    assert max(honest.took_s) < IN_TIME_S
    assert target.memory_bytes - before < MOST_MEMORY_BYTES


def connected(target: BoundaryProcess, source: str = "127.0.0.1") -> socket.socket:
    return socket.create_connection((target.host, target.port), 10.0, (source, 0))


def answered(client: socket.socket) -> bytes:
    """All that comes until the other end hangs up or says nothing more for a while."""
    client.settimeout(3.0)
    data = b""
    with suppress(OSError):
        while piece := client.recv(2**16):
            data += piece
    return data


def sent(target: BoundaryProcess, data: bytes) -> bytes:
    """What is answered to these bytes."""
    with connected(target) as client:
        with suppress(OSError):
            client.sendall(data)
            client.shutdown(socket.SHUT_WR)
        return answered(client)


# --- single frames ---

MARSHAL_LIKE = b"\xdb\xff\xff\xff\x7f" + b"\0" * 40

WRONG_HEADS = {
    "no header": b"GET / HTTP/1.1\r\nHost: dopq\r\n\r\n" + b"x" * 40,
    "garbage": bytes(range(256)),
    "nothing but zeros": bytes(4096),
    "another tag": head(1, tag=b"PYRX"),
    "another magic": head(1, magic=0),
    "an old version": head(1, version=501),
    "a new version": head(1, version=65535),
    "a call before the handshake": HELLO,
    "an answer": head(5),
    "an unknown type": head(99),
    **{
        f"serializer {number}": head(1, serializer=number, payload=len(MARSHAL_LIKE)) + MARSHAL_LIKE
        for number in (0, 1, 2, 3, 5, 255)
    },
    "4 GiB declared": head(1, payload=2**32 - 1),
    "4 GiB of annotations": head(1, annotations=2**32 - 1),
    "8 GiB altogether": head(1, payload=2**32 - 1, annotations=2**32 - 1),
    "more than a handshake needs": head(1, payload=4097) + bytes(4097),
    **{f"flag {1 << bit}": head(1, flags=1 << bit, payload=0) for bit in range(16) if bit != 6},
}


@pytest.mark.parametrize("what", WRONG_HEADS)
def test_what_is_no_handshake_ends_the_connection_and_says_why(target: BoundaryProcess, what: str) -> None:
    with unharmed(target):
        for _ in range(3):
            answer = sent(target, WRONG_HEADS[what])
    kind = HEADER.unpack(answer[:HEADER_BYTES])[2]
    assert kind == Kind.CONNECT_FAIL
    assert isinstance(msgpack.unpackb(answer[HEADER_BYTES:]), str)


WRONG_HANDSHAKES: dict[str, object] = {
    "no object": {"handshake": {}},
    "an object of another type": {"object": 5, "handshake": {}},
    "no such object": {"object": "dopq.nothing", "handshake": {}},
    "the daemon itself": {"object": "Pyro.Daemon", "handshake": {}},
    "a list": [1, 2],
    "nothing": None,
}


@pytest.mark.parametrize("what", WRONG_HANDSHAKES)
def test_a_handshake_for_nothing_that_is_served_is_refused(target: BoundaryProcess, what: str) -> None:
    answer = sent(target, frame(Kind.CONNECT, 7, pack(WRONG_HANDSHAKES[what])))
    _, _, kind, serializer, _, seq, *_ = HEADER.unpack(answer[:HEADER_BYTES])
    assert (kind, serializer, seq) == (Kind.CONNECT_FAIL, 4, 7)


PAYLOADS = {
    "cut short": pack([CONTROLLER, "hello", [], {}])[:-1],
    "with a tail": pack([CONTROLLER, "hello", [], {}]) + b"\0",
    "empty": b"",
    "an extension": msgpack.packb([CONTROLLER, "get_limits", [msgpack.ExtType(0x30, b"x" * 16)], {}]),
    "a time": msgpack.packb([CONTROLLER, "get_limits", [msgpack.Timestamp(1)], {}]),
    "no text": b"\x94\xa2\xff\xfe\xa5hello\x90\x80",
    "a key twice": b"\x94\xafdopq.controller\xa5hello\x90\x82\xa1a\x01\xa1a\x02",
    "a key that is no text": b"\x94\xafdopq.controller\xa5hello\x90\x81\x01\x02",
    "no number": msgpack.packb([CONTROLLER, "hello", [float("nan")], {}]),
    "infinity": msgpack.packb([CONTROLLER, "hello", [float("inf")], {}]),
    "deep": b"\x94\xafdopq.controller\xa5hello" + b"\x91" * 200 + b"\xc0" + b"\x80",
    "very deep": b"\x91" * 15_000,
    "many empty objects": b"\xdc\x3a\x98" + b"\x80" * 15_000,
    "a long list that is not there": b"\xdd\xff\xff\xff\xff",
    "an object that is not there": b"\xdf\xff\xff\xff\xff",
    "lists in lists that are not there": b"\xdd\0\0\x3f\xff" * 1_020 + bytes(16_384 - 5 * 1_020),
    "4 GiB of text that are not there": b"\xdb\xff\xff\xff\xff",
    "no call": pack(5),
    "no list of arguments": pack([CONTROLLER, "hello", {}, {}]),
    "no method": pack([CONTROLLER, 5, [], {}]),
}


@pytest.mark.parametrize("what", PAYLOADS)
def test_a_payload_that_is_no_call_is_refused_and_the_connection_goes_on(target: BoundaryProcess, what: str) -> None:
    with unharmed(target), connected(target) as client:
        stream = Stream(client)
        until = time.monotonic() + 10
        client.sendall(CONNECT)
        stream.read(HEADER.unpack(stream.read(HEADER_BYTES, until))[6], until)
        client.sendall(head(payload=len(PAYLOADS[what])) + PAYLOADS[what])
        fields = HEADER.unpack(stream.read(HEADER_BYTES, until))
        assert fields[4] & 1, "an error"
        assert msgpack.unpackb(stream.read(fields[6], until))["code"] == "bad_request"
        client.sendall(HELLO)
        assert not HEADER.unpack(stream.read(HEADER_BYTES, until))[4] & 1


@pytest.mark.parametrize(
    "message",
    [
        *(head(flags=1 << bit) for bit in range(16) if bit != 6),
        *(head(serializer=number, payload=4) + b"xxxx" for number in (0, 1, 2, 3, 5)),
        head(payload=16 * 1024 + 1) + bytes(16 * 1024 + 1),
        head(1),
        head(5),
        head(9),
        head(version=1),
        b"x" * 40,
    ],
)
def test_what_is_no_call_ends_the_connection(target: BoundaryProcess, message: bytes) -> None:
    answer = sent(target, CONNECT + message + HELLO)
    assert answer.count(b"PYRO") <= 2, "no call after it is answered"
    assert b'"dopq"' not in answer


def test_a_known_user_may_send_a_megabyte_and_no_more(target: BoundaryProcess) -> None:
    handshake = frame(Kind.CONNECT, 0, pack({"object": CONTROLLER, "handshake": {"token": target.tokens["anna"]}}))
    with unharmed(target):
        for size, lives in ((2**20 - 100, True), (2**20 + 1, False)):
            message = head(payload=size) + pack([CONTROLLER, "hello", [], {}]) + bytes(size)
            answer = sent(target, handshake + message[: size + HEADER_BYTES] + HELLO)
            assert (answer.count(b"PYRO") == 3) == lives


# --- many at once ---


def silent(target: BoundaryProcess) -> None:
    with ExitStack() as stack:
        for _ in range(500):
            with suppress(OSError):
                stack.enter_context(connected(target))
        time.sleep(HOLD_S)


def half_a_handshake(target: BoundaryProcess) -> None:
    with ExitStack() as stack:
        for _ in range(200):
            client = stack.enter_context(connected(target))
            with suppress(OSError):
                client.sendall(CONNECT[:60])
        time.sleep(HOLD_S)


def a_byte_at_a_time(target: BoundaryProcess) -> None:
    with ExitStack() as stack:
        clients = [stack.enter_context(connected(target)) for _ in range(50)]
        until = time.monotonic() + 8.0
        sent_bytes = 0
        while time.monotonic() < until and sent_bytes < len(CONNECT) - 1:
            for client in clients:
                with suppress(OSError):
                    client.sendall(CONNECT[sent_bytes : sent_bytes + 1])
            sent_bytes += 1
            time.sleep(0.5)
        for client in clients:
            assert client.recv(1) == b"", "a handshake that takes 5 seconds has failed"


def asks_and_does_not_read(target: BoundaryProcess) -> None:
    with ExitStack() as stack:
        for _ in range(50):
            client = stack.enter_context(connected(target))
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            client.setblocking(False)
            with suppress(OSError):
                client.send(CONNECT + HELLO * 2000)
        time.sleep(HOLD_S)


def one_way_storm(target: BoundaryProcess) -> None:
    call = pack([CONTROLLER, "hello", [], {}])
    one_way = head(flags=4, payload=len(call)) + call
    for _ in range(50):
        sent(target, CONNECT + one_way * 500)


def batches(target: BoundaryProcess) -> None:
    calls = pack([CONTROLLER, "<batch>", [["hello", [], {}]] * 1000, {}])
    for _ in range(20):
        sent(target, CONNECT + head(flags=8, payload=len(calls)) + calls)


def comes_and_goes(target: BoundaryProcess) -> None:
    for _ in range(1000):
        client = connected(target)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # goes with a reset
        client.close()


def comes_and_goes_as_quickly_as_it_can(target: BoundaryProcess) -> None:
    """In processes of its own, so that it does not hold up the honest client in this one."""
    program = (
        "import socket, struct, sys, time\n"
        "until = time.monotonic() + 3\n"
        "while time.monotonic() < until:\n"
        "    client = socket.create_connection((sys.argv[1], int(sys.argv[2])), 10)\n"
        "    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 0))\n"
        "    client.close()\n"
    )
    command = [sys.executable, "-c", program, target.host, str(target.port)]
    attackers = [subprocess.Popen(command) for _ in range(2)]
    assert [attacker.wait(60) for attacker in attackers] == [0, 0]


def bodies_that_never_come(target: BoundaryProcess) -> None:
    with ExitStack() as stack:
        for _ in range(100):
            client = stack.enter_context(connected(target))
            with suppress(OSError):
                client.sendall(CONNECT + head(payload=16 * 1024) + bytes(16 * 1023))
        time.sleep(HOLD_S)


def flood_of_calls(target: BoundaryProcess) -> None:
    with ExitStack() as stack:
        clients = [stack.enter_context(connected(target)) for _ in range(20)]
        until = time.monotonic() + 3.0
        for client in clients:
            client.sendall(CONNECT)
            client.setblocking(False)
        while time.monotonic() < until:
            for client in clients:
                with suppress(OSError):
                    client.send(HELLO * 20)
                with suppress(OSError):
                    client.recv(2**16)
            time.sleep(0.01)


def flood_of_pings(target: BoundaryProcess) -> None:
    ping = head(6)
    with ExitStack() as stack:
        clients = [stack.enter_context(connected(target)) for _ in range(20)]
        pongs = 0
        for client in clients:
            client.sendall(CONNECT)
            client.setblocking(False)
        until = time.monotonic() + 3.0
        while time.monotonic() < until:
            for client in clients:
                with suppress(OSError):
                    client.send(ping * 100)
                with suppress(OSError):
                    pongs += client.recv(2**16).count(b"pong")
            time.sleep(0.01)
        assert pongs < 200, "they count as calls do: 20 a second from one address"


def announced_lists(target: BoundaryProcess) -> None:
    bomb = PAYLOADS["lists in lists that are not there"]
    for _ in range(20):
        sent(target, CONNECT + (head(payload=len(bomb)) + bomb) * 4)


def tls_to_a_plain_port(target: BoundaryProcess) -> None:
    context = ssl.create_default_context()
    for _ in range(20):
        with connected(target) as client, suppress(OSError):
            client.settimeout(2.0)
            context.wrap_socket(client, server_hostname="dopq")


@pytest.mark.parametrize(
    "attack",
    [
        silent, half_a_handshake, a_byte_at_a_time, asks_and_does_not_read, one_way_storm, batches, comes_and_goes,
        comes_and_goes_as_quickly_as_it_can, bodies_that_never_come, flood_of_calls, flood_of_pings, announced_lists,
        tls_to_a_plain_port,
    ],
)  # fmt: skip
def test_an_attack_harms_nobody_else(target: BoundaryProcess, attack: Callable[[BoundaryProcess], None]) -> None:
    with unharmed(target):
        attack(target)
    assert target.threads < 350


def test_who_connects_too_often_is_hung_up_on_before_it_costs_anything(target: BoundaryProcess) -> None:
    began, served = time.monotonic(), 0
    for _ in range(3000):
        with suppress(OSError), socket.create_connection((target.host, target.port), 10.0, ("127.0.0.3", 0)) as client:
            client.sendall(CONNECT)
            served += bool(client.recv(1))
    at_once = (BURST_S + LONGEST_WAIT_S) * NEWCOMERS_PER_S
    assert 0 < served <= at_once + NEWCOMERS_PER_S * (time.monotonic() - began) + 1


def test_four_thousand_mutated_frames(target: BoundaryProcess) -> None:
    random_bytes = random.Random(20261121)
    known = frame(Kind.CONNECT, 0, pack({"object": CONTROLLER, "handshake": {"token": target.tokens["bert"]}}))
    seeds = [
        CONNECT + HELLO,
        known + frame(Kind.INVOKE, 1, pack([CONTROLLER, "get_job", ["1"], {}])),
        known + frame(Kind.INVOKE, 1, pack([CONTROLLER, "read_log", ["1", False, 0, 10, 0.0], {"key": "k" * 10}])),
        known + frame(Kind.INVOKE, 1, pack([CONTROLLER, "cancel_job", ["iris"], {"key": "k" * 10}])),
    ]
    with unharmed(target):
        for number in range(4000):
            mutated = bytearray(seeds[number % len(seeds)])
            for _ in range(random_bytes.randint(1, 8)):
                place = random_bytes.randrange(len(mutated))
                match random_bytes.randrange(4):
                    case 0:
                        mutated[place] = random_bytes.randrange(256)
                    case 1:
                        del mutated[place : place + random_bytes.randint(1, 20)]
                    case 2:
                        mutated[place:place] = random_bytes.randbytes(random_bytes.randint(1, 20))
                    case _:
                        mutated[place] ^= 1 << random_bytes.randrange(8)
            # From many addresses: one alone would be hung up on for its haste.
            with connected(target, f"127.0.1.{number % 50 + 1}") as client, suppress(OSError):
                client.sendall(mutated)
                client.shutdown(socket.SHUT_WR)
                client.settimeout(0.5)
                client.recv(2**16)
