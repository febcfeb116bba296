"""Whatever is killed while bundles arrive, each is taken exactly once.

The full form kills each process 200 times while 50 bundles arrive. It takes the better part of an hour, since a Provider
that dies young is given more and more time before the next one:

    DOPQ_TEST_KILLS=200 scripts/test.sh tests/acceptance/test_killed_intake.py
"""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path

import psutil
import pytest

from tests.acceptance.conftest import MakeBundle
from tests.node_process import MakeNode, NodeProcess
from tests.waiting import wait_until

KILLS = int(os.environ.get("DOPQ_TEST_KILLS", "5"))
BUNDLES = 50 if KILLS >= 50 else 15
LONGEST_LIFE_S = 2.5
USER = "ada"
ALL_END_WITHIN_S = 240.0


@pytest.fixture
def chance(record_property: Callable[[str, object], None]) -> random.Random:
    """The moments of death; other ones in each run."""
    seed = random.SystemRandom().randrange(2**32)
    record_property("seed", seed)
    return random.Random(seed)


@pytest.fixture
def arrivals(bundle: MakeBundle) -> list[Path]:
    return [bundle(f"b{n:02}.zip", f"echo {n} >> /output/runs", name=f"b{n:02}") for n in range(BUNDLES)]


@pytest.mark.timeout(120 + 30 * KILLS)
def test_a_killed_provider_takes_every_bundle_exactly_once(
    make_node: MakeNode, arrivals: list[Path], chance: random.Random
) -> None:
    node = make_node()
    node.start()
    node.add_user(USER).close()
    killed = set[int]()

    def kill() -> None:
        wait_until(lambda: _provider(node) not in {0, *killed}, 30.0)
        provider = _provider(node)
        _let_live(chance.uniform(0, LONGEST_LIFE_S))
        os.kill(provider, signal.SIGKILL)
        killed.add(provider)

    _drop_among(node, arrivals, kill, chance)
    _each_was_taken_once(node, arrivals)


@pytest.mark.timeout(120 + 30 * KILLS)
def test_a_killed_node_takes_every_bundle_exactly_once(
    make_node: MakeNode, arrivals: list[Path], chance: random.Random
) -> None:
    node = make_node()
    node.start()
    node.add_user(USER).close()

    def kill() -> None:
        _let_live(chance.uniform(0, LONGEST_LIFE_S))
        node.kill()
        node.start()

    _drop_among(node, arrivals, kill, chance)
    _each_was_taken_once(node, arrivals)


def _drop_among(node: NodeProcess, arrivals: list[Path], kill: Callable[[], None], chance: random.Random) -> None:
    """Kill again and again, and between two deaths let some bundles arrive: the last ones with the last death."""
    deaths = sorted(chance.randrange(KILLS) for _ in arrivals)
    waiting = iter(zip(deaths, arrivals, strict=True))
    due, path = next(waiting)
    for death in range(KILLS):
        while path and due <= death:
            node.drop(USER, path)
            due, path = next(waiting, (KILLS, None))
        kill()


def _let_live(seconds: float) -> None:
    """The one thing that is waited for here is the moment of death."""
    time.sleep(seconds)


def _each_was_taken_once(node: NodeProcess, arrivals: list[Path]) -> None:
    wait_until(lambda: [state for _, _, state in _jobs(node)].count("succeeded") >= len(arrivals), ALL_END_WITHIN_S)
    jobs = _jobs(node)
    assert sorted(name for name, _, _ in jobs) == sorted(path.stem for path in arrivals)
    assert len({key for _, key, _ in jobs}) == len(arrivals)
    assert {state for _, _, state in jobs} == {"succeeded"}
    assert list((node.share / "inbox" / USER).iterdir()) == []
    outbox = node.share / "outbox" / USER
    assert sorted(path.read_text() for path in outbox.glob("*/output/runs")) == sorted(
        f"{n}\n" for n in range(len(arrivals))
    )
    wait_until(lambda: list((node.state / "spool").iterdir()) == [], 10.0)
    assert [line for line in node.log.splitlines() if "Traceback" in line or "defect" in line] == []


def _jobs(node: NodeProcess) -> list[tuple[str, str, str]]:
    """Name, key and state of every job in the journal."""
    with closing(sqlite3.connect(f"file:{node.state / 'journal.sqlite3'}?mode=ro", uri=True)) as journal:
        return journal.execute("SELECT name, key, state FROM jobs").fetchall()


def _provider(node: NodeProcess) -> int:
    """Process id of the Provider; 0 between two lives."""
    assert node.process is not None
    with suppress(psutil.Error):
        for child in psutil.Process(node.process.pid).children():
            with suppress(psutil.Error):
                if "spawn_main" in " ".join(child.cmdline()):
                    return child.pid
    return 0
