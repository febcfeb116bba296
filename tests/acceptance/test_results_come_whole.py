"""Logs and results come whole, whatever happens to the node and to the client on the way."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import threading
from pathlib import Path

from tests.acceptance.conftest import MakeBundle
from tests.node_process import NodeProcess
from tests.waiting import wait_until

NUMBERED = "i=0; while [ $i -lt 100000 ]; do i=$((i+1)); echo line $i; done; sleep 2; echo the end"
SOME_FILES = """
mkdir /output/many
i=0; while [ $i -lt 300 ]; do i=$((i+1)); head -c 100000 /dev/urandom > /output/many/$i; done
head -c 20000000 /dev/urandom > /output/large
"""


def test_a_hundred_thousand_lines_are_followed_from_the_build_through_two_deaths_of_the_node(
    node: NodeProcess, bundle: MakeBundle
) -> None:
    with node.add_user("alice") as alice:
        file = bundle("numbered.zip", NUMBERED)
        job = alice.submit(file)
        seen, lines = bytearray(), "".join(f"line {n}\n" for n in range(1, 100_001)).encode() + b"the end\n"
        follower = threading.Thread(target=lambda: [seen.extend(it) for it in alice.logs(job["id"], follow=True)])
        follower.start()
        for _ in range(2):
            before = len(seen)
            wait_until(lambda before=before: len(seen) > before, 60.0)
            node.kill()
            node.start()
        follower.join(90)
        assert not follower.is_alive()
        assert bytes(seen) == lines
        assert b"".join(alice.logs(job["id"], tail=2)) == b"line 100000\nthe end\n"
        assert b"".join(alice.logs(job["id"])) == lines


def test_a_fetch_goes_on_after_kill_9_of_the_client_and_of_the_node(
    node: NodeProcess, bundle: MakeBundle, tmp_path: Path
) -> None:
    with node.add_user("alice") as alice:
        [job] = alice.wait([alice.submit(bundle("files.zip", SOME_FILES))["id"]], timeout_s=120)
        assert job["state"] == "succeeded"
        token = json.loads(node.dopq("user", "token", "alice", "--json").stdout)["token"]
        target, sent = tmp_path / "results", node.outbox("alice", job) / "output"
        wanted = _sums(sent)
        for part in (0.2, 0.7):
            fetching = _fetch(node, token, job["id"], target)
            _wait_for_part(target, part * _size(sent))
            fetching.kill()
            fetching.communicate()
        fetching = _fetch(node, token, job["id"], target)
        _wait_for_part(target, 0.85 * _size(sent))
        node.kill()
        node.start()
        out, error = fetching.communicate(timeout=90)
        assert fetching.returncode == 0, error
        assert _sums(target / "output") == wanted
        assert not (target / ".dopq-fetch").exists()
        assert sum(file["kept"] for file in json.loads(out)["files"]) >= 100


def _fetch(node: NodeProcess, token: str, job: int, target: Path) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "dopq_client.cli", "fetch", str(job), "-o", str(target), "--json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=os.environ | {"DOPQ_HOST": node.address, "DOPQ_TOKEN": token},
    )


def _wait_for_part(target: Path, size: float) -> None:
    wait_until(lambda: _size(target) > size, 60.0)


def _size(folder: Path) -> int:
    size = 0
    for path in folder.rglob("*"):
        try:
            size += path.stat().st_size
        except FileNotFoundError:  # it has just got its name
            continue
    return size


def _sums(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file()
    }
