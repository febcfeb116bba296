"""Whatever is killed while bundles arrive, each is taken exactly once."""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from functools import partial
from pathlib import Path

import psutil
import pytest

from tests.acceptance.conftest import MakeBundle
from tests.node_process import MakeNode, NodeProcess
from tests.waiting import wait_until

PROVIDER_KILLS = 200
NODE_KILLS = 10
NODE_LIVES_S = 1.5
BUNDLES = 50
PROGRAMS = 10  # so that some bundles have an image built, and for others it is found again
DIE_EARLY = 0.2  # of the Providers, before they are up
LIVES = 1.5  # the longest life after coming up takes so many times the coming up, on a busy machine as on a quiet one
MOST_STEPS = 8
POLL_S = 0.002
USER = "ada"
ALL_END_WITHIN_S = 120.0


@pytest.fixture
def chance(record_property: Callable[[str, object], None]) -> random.Random:
    """The moments of death; other ones in each run."""
    seed = random.SystemRandom().randrange(2**32)
    record_property("seed", seed)
    return random.Random(seed)


@pytest.fixture
def arrivals(bundle: MakeBundle) -> list[Path]:
    script = "cat /input/n >> /output/runs # program {}"
    return [bundle(f"b{n:02}.zip", script.format(n % PROGRAMS), {"input/n": f"{n}\n"}) for n in range(BUNDLES)]


@pytest.fixture
def node(make_node: MakeNode) -> NodeProcess:
    node = make_node("intake.settle_s=0.05")
    node.start()
    node.add_user(USER).close()
    return node


@pytest.mark.timeout(600)
def test_a_killed_provider_takes_every_bundle_exactly_once(
    node: NodeProcess, arrivals: list[Path], chance: random.Random
) -> None:
    killed, up_s = {0}, 0.5
    for due in _portions(arrivals, PROVIDER_KILLS, chance):
        wait_until(lambda: _provider(node) not in killed, 30.0)
        provider, born_s = _provider(node), time.monotonic()
        _drop(node, due)
        if chance.random() < DIE_EARLY:
            time.sleep(chance.uniform(0, up_s))
        else:
            wait_until(partial(_is_up, node, provider), 30.0)
            up_s = time.monotonic() - born_s
            _let_live(node, LIVES * up_s, chance)
        os.kill(provider, signal.SIGKILL)
        killed.add(provider)
    assert len(killed - {0}) == PROVIDER_KILLS
    _each_was_taken_once(node, arrivals)
    assert "Traceback" not in node.log


@pytest.mark.timeout(300)
def test_a_killed_node_takes_every_bundle_exactly_once(
    node: NodeProcess, arrivals: list[Path], chance: random.Random
) -> None:
    for due in _portions(arrivals, NODE_KILLS, chance):
        _drop(node, due)
        _let_live(node, NODE_LIVES_S, chance)
        node.kill()
        node.start()
    _each_was_taken_once(node, arrivals)


def _portions(arrivals: list[Path], lives: int, chance: random.Random) -> Iterator[list[Path]]:
    """The bundles that arrive in each of so many lives; in many of them none does."""
    lots = [chance.randrange(lives) for _ in arrivals]
    for life in range(lives):
        yield [path for path, lot in zip(arrivals, lots, strict=True) if lot == life]


def _drop(node: NodeProcess, paths: list[Path]) -> None:
    for path in paths:
        node.drop(USER, path)


def _let_live(node: NodeProcess, longest_s: float, chance: random.Random) -> None:
    """Return at the moment of death: right after some step of a bundle's way, or at any other moment."""
    until_s = time.monotonic() + chance.uniform(0, longest_s)
    steps, last = chance.randrange(MOST_STEPS), _whereabouts(node)
    while steps and time.monotonic() < until_s:
        time.sleep(POLL_S)
        last, before = _whereabouts(node), last
        steps -= last != before


def _whereabouts(node: NodeProcess) -> list[list[str]]:
    """Where bundles are on their way: it changes with every step of one."""
    folders = [node.share / "inbox" / USER, node.state / "spool", node.state / "jobs"]
    return [sorted(path.name for path in folder.iterdir()) for folder in folders]


def _each_was_taken_once(node: NodeProcess, arrivals: list[Path]) -> None:
    wait_until(lambda: [state for _, _, state in _jobs(node)].count("succeeded") >= len(arrivals), ALL_END_WITHIN_S)
    jobs = _jobs(node)
    assert sorted(name for name, _, _ in jobs) == sorted(path.stem for path in arrivals)
    assert len({key for _, key, _ in jobs}) == len(arrivals)
    assert {state for _, _, state in jobs} == {"succeeded"}
    ran = [path.read_text() for path in (node.share / "outbox" / USER).glob("*/output/runs")]
    assert sorted(ran) == sorted(f"{n}\n" for n in range(len(arrivals)))
    wait_until(lambda: _whereabouts(node) == [[], [], []], 10.0)
    assert [line for line in node.log.splitlines() if "defect" in line] == []


def _jobs(node: NodeProcess) -> list[tuple[str, str, str]]:
    """Name, key and state of every job in the journal."""
    with closing(sqlite3.connect(f"file:{node.state / 'journal.sqlite3'}?mode=ro", uri=True)) as journal:
        return journal.execute("SELECT name, key, state FROM jobs").fetchall()


def _is_up(node: NodeProcess, provider: int) -> bool:
    return f"provider_ready pid={provider}\n" in node.log


def _provider(node: NodeProcess) -> int:
    """Process id of the Provider; 0 between two lives."""
    assert node.process is not None
    with suppress(psutil.Error):
        for child in psutil.Process(node.process.pid).children():
            with suppress(psutil.Error):
                if "spawn_main" in " ".join(child.cmdline()):
                    return child.pid
    return 0
