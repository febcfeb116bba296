"""How the command ends as a process: whatever becomes of its output, with words and a code, and never a traceback."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from dopq.job import ImageId, JobSpec
from tests.boundary_alone import Alone, boundary_alone
from tests.platforms import ANNA

CLIENT = [sys.executable, "-m", "dopq_client.cli"]


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Alone]:
    with boundary_alone(tmp_path_factory.mktemp("node")) as alone:
        platform = alone.home.platform
        for number in range(300):
            job = platform.accept(ANNA, "iris.zip", f"key-{number:08}", "iris")
            platform.enqueue(job.id, JobSpec("iris"), ImageId("sha256:1"), has_input=False)
        yield alone


@pytest.fixture
def environment(service: Alone, tmp_path: Path) -> dict[str, str]:
    """That of a user of the service: nothing else of this machine's."""
    return {
        "PATH": os.environ["PATH"],
        "XDG_CONFIG_HOME": str(tmp_path),
        "DOPQ_HOST": service.address,
        "DOPQ_TOKEN": service.tokens[ANNA],
    }


def ended(environment: Mapping[str, str], *words: str) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [*CLIENT, *words], env=dict(environment), capture_output=True, text=True, timeout=60, check=False
    )
    assert "Traceback" not in done.stderr
    return done


def test_whoever_reads_no_more_ends_it_quietly(environment: dict[str, str]) -> None:
    ours = subprocess.Popen(
        [*CLIENT, "status", "--limit", "300", "--json"], env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert ours.stdout
    assert ours.stderr
    ours.stdout.close()  # as `head` does when it has enough
    assert ours.stderr.read() == b""
    ours.stderr.close()
    assert ours.wait(60) == 141


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="only Linux has a device that is always full")
@pytest.mark.parametrize("words", [["status"], ["status", "--json"], ["history", "--csv"], ["--help"]])
def test_a_full_disk_below_its_output_is_told(environment: dict[str, str], words: list[str]) -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [*CLIENT, *words], env=environment, stdout=full, stderr=subprocess.PIPE, text=True, timeout=60, check=False
        )
    assert done.stderr == "Error: Not all could be written to standard output: No space left on device.\n"
    assert done.returncode == 74


@pytest.mark.parametrize("locale", [{"LANG": "C"}, {"LC_ALL": "C"}, {"LC_ALL": "POSIX"}, {"PYTHONIOENCODING": "ascii"}])
def test_any_locale_will_do(environment: dict[str, str], locale: dict[str, str]) -> None:
    for words in (["status"], ["status", "1"], ["why", "1"], ["users"], ["--help"], ["status", "nothing"]):
        assert ended(environment | locale | {"COLUMNS": "20"}, *words).returncode in (0, 3)


def test_ctrl_c_ends_it_in_words(environment: dict[str, str]) -> None:
    ours = subprocess.Popen(
        [*CLIENT, "status", "--watch"], env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert ours.stdout
    assert "JOB" in "".join(ours.stdout.readline() for _ in range(2))
    ours.send_signal(signal.SIGINT)
    _, told = ours.communicate(timeout=60)
    assert "Traceback" not in told
    assert ours.returncode == 130


def test_a_node_that_takes_no_packet_is_given_up_on_in_five_seconds(environment: dict[str, str]) -> None:
    """A full backlog drops what comes, as a firewall does (tcp(7), tcp_abort_on_overflow)."""
    with socket.socket() as deaf:
        deaf.bind(("127.0.0.1", 0))
        deaf.listen(0)
        waiting = [socket.socket() for _ in range(3)]
        for one in waiting:
            one.setblocking(False)
            one.connect_ex(deaf.getsockname())
        host = f"127.0.0.1:{deaf.getsockname()[1]}"
        began = time.monotonic()
        done = ended(environment | {"DOPQ_HOST": host}, "status")
        assert time.monotonic() - began < 5.5
        for one in waiting:
            one.close()
    assert done.returncode == 5
    assert host in done.stderr
    assert "dopq serve" in done.stderr


def test_a_port_where_nobody_listens_is_told_at_once(environment: dict[str, str]) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        host = f"127.0.0.1:{free.getsockname()[1]}"
        done = ended(environment | {"DOPQ_HOST": host}, "status", "--json")
    assert done.returncode == 5
    assert '"service_unreachable"' in done.stdout
