"""What a user sees of each verb, as a transcript that can be read: screens/transcript_80.txt and _120.txt.

After a wanted change: `UPDATE_SCREENS=1 pytest tests/unit/test_client_transcript.py`, then read the difference.
"""

from __future__ import annotations

import os
import shlex
from datetime import timedelta, timezone
from pathlib import Path

import pytest

from dopq.job import GpuId, ImageId, Problem, StateName
from dopq.room import Capacity
from tests.client_terminal import Terminal
from tests.in_memory_node import InMemoryNode

SCREENS = Path(__file__).parent / "screens"
HOSTILE = "\x1b[31mred\x1b[0m\u202egnp.exe [bold]x[/bold] :smiley: \x07"
ZONE = timezone(timedelta(hours=1))  # the reader's

COMMANDS = (
    "status", "status --limit 2", "status --limit 2 --skip 4", "status --user nobody", "status --mine --state queued",
    "status training", "status 4 99", "status trainin", "why 6 7", "why --mine --explain", "history", "history --csv",
    "history --state lost", "users", "system", "whoami", "hold 6 2", "release --mine", "cancel --mine", "cancel --mine --yes",
    "rerun 1", "rerun 1 --set gpus=4096 --set nmae=x --set python=3.12", "rerun 1 --set gpus=0 --set name=again",
    "wait 1", "wait 2", "wait 4", "wait 5 --timeout 0s", "wait 5 --timeout 20", "wait", "lock --minutes 5", "drain", "undrain",
    "clear-history", "status --state lost", "--help", "status --help", "rerun --help",
)  # fmt: skip


def furnish(node: InMemoryNode) -> None:
    """A job in every state that a list can show, with hostile names, and more of anna's than a handful."""
    node.images.add(node.ended(name="iris").id, ImageId("sha256:1234"), "")
    failed = node.running(name="resnet-50-with-a-long-name")
    node.leaves(failed, "job.log", b"loading\n\x1b[31mout of memory\n")
    node.end(failed, StateName.FAILED, 3)
    node.ended(StateName.CANCELLED, 137, user="bert")
    node.refused((Problem("Dockerfile", "is missing", "Put one into the bundle's top folder."),))
    node.clock.advance(4000)
    node.running(name="training", gpus=frozenset({GpuId("GPU-1")}))
    node.clock.advance(100)
    for _ in range(5):
        node.queued(name="next-one", gpus=2)
    node.queued("bert", HOSTILE)
    node.platform.decide(Capacity(frozenset({GpuId("GPU-0"), GpuId("GPU-1")}), places=9))
    node.building(bundle="new.zip")
    node.clock.advance(30)


@pytest.mark.parametrize("width", [80, 120])
def test_every_verb_says_what_the_transcript_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, width: int) -> None:
    node = InMemoryNode(tmp_path)
    furnish(node)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("platformdirs.user_config_path", lambda name: tmp_path / name)
    monkeypatch.setattr("dopq_client.session.local_now", lambda: node.clock.now().astimezone(ZONE))
    told = "".join(transcript(Terminal(node, node.link(None)), node, width))
    node.close()
    file = SCREENS / f"transcript_{width}.txt"
    if os.environ.get("UPDATE_SCREENS"):
        file.write_text(told, encoding="utf-8")
    assert not {"\x1b", "\u202e", "\x07"} & set(told)
    assert told == file.read_text(encoding="utf-8")


def transcript(run: Terminal, node: InMemoryNode, width: int) -> list[str]:
    """Each command with what it said, stderr after stdout, and its exit code where that is not 0."""
    parts = []
    for command in COMMANDS:
        who = "olga" if command.split()[0] in {"lock", "drain", "undrain", "clear-history"} else "anna"
        token = node.tokens[who]
        result = run(*shlex.split(command), COLUMNS=str(width), DOPQ_HOST="gpu1:9090", DOPQ_TOKEN=token, NO_COLOR="1")
        code = f"[exit code {result.exit_code}]\n" if result.exit_code else ""
        parts.append(f"$ dopq-client {command}\n{result.stdout}{result.stderr}{code}\n")
    return ["\n".join(line.rstrip() for line in part.split("\n")) for part in parts]
