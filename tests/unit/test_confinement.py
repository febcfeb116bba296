"""What a confined process cannot do any more: tried by one that wants to."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys

import pytest

TRIES = """
import ctypes, json, os, resource, signal, socket, sys
from dopq.container_handler.confinement import confine, leave_network

room, sock, secret, port = sys.argv[1:]
inherited = os.open(room, os.O_RDONLY)
leave_network()
reading, writing = os.pipe()
parent = os.getpid()
if os.fork():
    os.close(writing)
    print(os.fdopen(reading).read())
    sys.exit()
confine(inherited, memory_bytes=2**30, cpu_s=10, file_bytes=1000, parent=parent)


def unix(address):
    with socket.socket(socket.AF_UNIX) as s:
        s.connect(address)


def tcp():
    with socket.socket() as s:
        s.settimeout(2)
        s.connect(("127.0.0.1", int(port)))


def write(size):
    with open("/file", "wb") as file:
        file.write(bytes(size))


def escape():
    os.chroot("/")
    os.chdir("../../../../..")
    os.stat("etc")


tries = {
    "connect to the engine": lambda: unix(sock),
    "connect to it by way of the parent folder": lambda: unix("../" * 20 + sock),
    "connect to an abstract socket": lambda: unix(chr(0) + "dopq-test-" + port),
    "connect over the network": tcp,
    "read the state": lambda: open(secret),
    "read by way of a descriptor": lambda: os.open("../" + os.path.basename(secret), os.O_RDONLY, dir_fd=inherited),
    "see processes": lambda: os.listdir("/proc"),
    "become root": lambda: os.setuid(0),
    "leave the folder": escape,
    "start a process": os.fork,
    "signal the parent": lambda: os.kill(parent, 0),
    "write a large file": lambda: write(2000),
    "take much memory": lambda: bytearray(2**31),
    "raise a limit": lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (10**9, 10**9)),
    "write a small file": lambda: write(10),
}
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
done = {}
for name, attempt in tries.items():
    try:
        attempt()
        done[name] = True
    except (OSError, MemoryError, ValueError):
        done[name] = False
with open(writing, "w") as out:
    json.dump(done, out)
os._exit(0)
"""


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bool]:
    """What a confined process was able to do. It is one with all rights of whoever runs the tests before that."""
    top = tmp_path_factory.mktemp("state")
    secret, engine, room = top / "journal", top / "docker.sock", top / "room"
    secret.write_text("secret")
    room.mkdir()
    with socket.socket(socket.AF_UNIX) as listener, socket.socket() as tcp, socket.socket(socket.AF_UNIX) as abstract:
        listener.bind(str(engine))
        tcp.bind(("127.0.0.1", 0))
        port = str(tcp.getsockname()[1])
        abstract.bind(f"\0dopq-test-{port}")
        for each in (listener, tcp, abstract):
            each.listen()
        for file in (secret, engine):
            file.chmod(0o666)
        top.chmod(0o777)
        command = [sys.executable, "-c", TRIES, str(room), str(engine), str(secret), port]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        said = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=30, check=True)
    return dict(json.loads(said.stdout))


@pytest.mark.parametrize(
    "what",
    [
        "connect to the engine",
        "connect to it by way of the parent folder",
        "connect to an abstract socket",
        "connect over the network",
        "read the state",
        "read by way of a descriptor",
        "see processes",
        "become root",
        "leave the folder",
        "start a process",
        "signal the parent",
        "write a large file",
        "take much memory",
        "raise a limit",
    ],
)
def test_a_confined_process_cannot(done: dict[str, bool], what: str) -> None:
    assert done[what] is False


def test_a_confined_process_can_write_small_files_into_its_folder(done: dict[str, bool]) -> None:
    assert done["write a small file"] is True


def test_all_tries_are_looked_at(done: dict[str, bool]) -> None:
    assert len(done) == 15
