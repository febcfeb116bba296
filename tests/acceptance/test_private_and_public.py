"""Whatever umask a node is started with: nobody else sees its state folder, and users can read what is theirs."""

from __future__ import annotations

import os
import stat
import subprocess
from pathlib import Path

import pytest

from tests.acceptance.conftest import MakeBundle
from tests.node_process import MakeNode
from tests.waiting import wait_until

UID = 54001
SCRIPT = "umask 077; echo hello; mkdir /output/deep; echo 42 > /output/deep/answer"


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can have a job run as somebody else, and look as them")
@pytest.mark.parametrize("umask", [0o000, 0o077], ids=oct)
def test_results_can_be_read_and_the_state_folder_cannot(make_node: MakeNode, bundle: MakeBundle, umask: int) -> None:
    node = make_node()
    node.umask = umask
    node.dopq("user", "add", "early")
    node.state.chmod(0o755)
    (node.state / "journal.sqlite3").chmod(0o644)
    node.start()
    with node.add_user("alice"):
        node.drop("alice", bundle("good.zip", SCRIPT))
        job = node.wait_for("alice", "good.zip", "succeeded")
        (node.share / "inbox" / "alice" / "bad.zip").write_bytes(b"no zip")
        node.wait_for("alice", "bad.zip", "invalid")
        wait_until((node.share / "invalid" / "alice" / "bad.zip").exists, 5.0)
    assert (node.outbox("alice", job) / "output" / "deep" / "answer").read_text() == "42\n"
    for path in [node.share, *node.share.rglob("*")]:
        assert mode(path) == (0o755 if path.is_dir() else 0o644), path
    assert mode(node.state) == 0o700
    for path in node.state.iterdir():
        assert mode(path) == (0o700 if path.is_dir() else 0o600), path
    looked = subprocess.run(
        ["ls", str(node.state)], user=UID, group=UID, extra_groups=[], capture_output=True, check=False
    )
    assert looked.returncode != 0


def test_check_looks_at_a_real_engine_and_says_what_it_is_open_to(make_node: MakeNode) -> None:
    node = make_node()
    said = node.dopq("check", "--json")
    assert '"runc"' in said.stdout, said.stdout + said.stderr
    assert '"confine"' in said.stdout
    assert '"restore"' in said.stdout
