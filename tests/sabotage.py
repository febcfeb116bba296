"""A node that is killed again and again while users hand in jobs, and what became of each job in the end.

The users hold what they were told; the jobs hold what they saw: each writes its number, attempt and pid into a FIFO that
this process reads, which no death of the node touches. What does not fit together is a `Toll`.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sqlite3
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable
from contextlib import closing, suppress
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

import psutil

from dopq.errors import DopqError, TryAgain
from dopq_client.client import DopqClient
from dopq_client.upload import send
from tests.node_process import NodeProcess
from tests.waiting import wait_until

USER = "ada"
WITNESS = "starts"
TELL = f"echo $DOPQ_JOB $DOPQ_ATTEMPT $$ > /data/{WITNESS}"
IN_FLIGHT = 8
PAUSE_S = 0.05
ALL_END_WITHIN_S = 180.0
_ENOUGH = b"enough"


@dataclass(frozen=True)
class Wish:
    """A job that a user wants, and how it has to end."""

    bundle: Path
    state: str
    exit_code: int | None
    cancelled: bool = False


@dataclass
class Toll:
    """What the deaths have cost. The bar is nothing but the deaths."""

    kills: int
    jobs: int = 0
    lost: list[str] = field(default_factory=list)
    doubled: list[str] = field(default_factory=list)
    wrong_state: list[str] = field(default_factory=list)
    findings: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        counts = f"lost {len(self.lost)}, doubled {len(self.doubled)}, wrong state {len(self.wrong_state)}"
        line = f"{self.kills} kills, {self.jobs} jobs: {counts}, findings of the audit {len(self.findings)}"
        return "\n  ".join([line, *self.lost, *self.doubled, *self.wrong_state, *self.findings])

    @property
    def is_nothing(self) -> bool:
        return not (self.lost or self.doubled or self.wrong_state or self.findings)


class Sabotage:
    """One node, its users, and whoever kills it."""

    def __init__(self, node: NodeProcess, data: Path, wishes: list[Wish], chance: random.Random) -> None:
        """`data` is the node's `node.data`, with the FIFO of the witness; see `make_witness`."""
        self.node = node
        self.chance = chance
        self.kills = 0
        self._wishes = wishes
        self._data = data
        self._numbers = count(1)
        self._wanted: dict[str, Wish] = {}  # by the name of the job
        self._told: dict[int, str] = {}  # what was acknowledged: the job's number, and its name
        self._lock = threading.Lock()
        self._over = threading.Event()
        self._troubles: list[str] = []
        self._witness = os.open(data / WITNESS, os.O_RDWR)  # for writing, too: a FIFO without a writer ends
        self._witnessed = data.parent / "witnesses"
        self._witnessed.mkdir()
        self._threads = [threading.Thread(target=self._read_witness, daemon=True)]
        node.start()
        node.add_user(USER).close()
        token = node.dopq("user", "token", USER, "--json")
        self._token: str = json.loads(token.stdout)["token"]
        self._threads[0].start()

    def close(self) -> None:
        """Hear no witness any more."""
        os.write(self._witness, _ENOUGH)
        self._threads[0].join(10)
        os.close(self._witness)

    # --- users ---

    def begin(self, users: int) -> None:
        """Have so many users hand in one job after the other, by upload and by drop, until `end`."""
        for _ in range(users):
            thread = threading.Thread(target=self._use, daemon=True)
            self._threads.append(thread)
            thread.start()

    def begin_one(self, wish: Wish, *, by_drop: bool = False) -> None:
        """Have a user hand in one job; one that is to be cancelled is so when it runs."""
        options = {"by_drop": by_drop, "cancel_running": True}
        thread = threading.Thread(target=self.want, args=(wish,), kwargs=options, daemon=True)
        self._threads.append(thread)
        thread.start()

    def end(self) -> None:
        """Nobody hands in anything any more; what was begun is brought to its acknowledgement."""
        self._over.set()
        for thread in self._threads[1:]:
            thread.join(60)
            assert not thread.is_alive(), "a user still waits for an answer"
        del self._threads[1:]
        self._over.clear()

    def want(self, wish: Wish, *, by_drop: bool = False, cancel_running: bool = False) -> str:
        """Hand in a job, and go on until it is acknowledged (a drop: until it lies in the inbox); the job's name."""
        name = f"j{next(self._numbers)}"
        self._wanted[name] = wish
        if by_drop:
            target = self.node.share / "inbox" / USER / f"{name}.zip"
            target.with_suffix(".part").write_bytes(wish.bundle.read_bytes())
            target.with_suffix(".part").rename(target)
            return name
        number = self._patiently(lambda client: self._submit(client, wish, name))
        with self._lock:
            self._told[number] = name
        if wish.cancelled:
            if cancel_running:
                wait_until(lambda: self._state(number) == "running", ALL_END_WITHIN_S)
            else:
                time.sleep(self.chance.uniform(0, 1.0))
            self._patiently(lambda client: client.cancel(number))
        return name

    def _submit(self, client: DopqClient, wish: Wish, name: str) -> int:
        with wish.bundle.open("rb") as file:
            return int(send(client._link, file, f"{name}.zip", key=f"sabotage-{name}")["id"])

    def _patiently(self, ask: Callable[[DopqClient], Any]) -> Any:
        """Ask until an answer comes, as often as the node dies."""
        while True:
            try:
                with DopqClient.connect(self.node.address, self._token) as client:
                    return ask(client)
            except TryAgain:
                time.sleep(PAUSE_S)

    def _use(self) -> None:
        try:
            while not self._over.is_set():
                if self._alive() < IN_FLIGHT:
                    wish = self.chance.choice(self._wishes)
                    self.want(wish, by_drop=not wish.cancelled and self.chance.random() < 0.3)
                self._over.wait(PAUSE_S)
        except DopqError as error:
            self._troubles.append(f"a user got an error: {error}")

    # --- killers ---

    def kill_node(self) -> None:
        self.node.kill()
        self.kills += 1

    def kill_provider(self) -> bool:
        """Whether there was one."""
        assert self.node.process is not None
        with suppress(psutil.Error):
            for child in psutil.Process(self.node.process.pid).children():
                with suppress(psutil.Error):
                    if "spawn_main" in " ".join(child.cmdline()):
                        os.kill(child.pid, signal.SIGKILL)
                        self.kills += 1
                        return True
        return False

    def revive(self) -> None:
        """Start the node, unless the last who was killed was another."""
        if self.node.process is None or self.node.process.poll() is not None:
            self.node.start()

    def settle(self) -> None:
        """Return when the node is up and every job has ended."""
        self.revive()
        wait_until(lambda: self._none_is_left() or self._died(), ALL_END_WITHIN_S)
        assert not self._died(), self.node.log[-5000:]

    def toll(self) -> Toll:
        """Compare what users were told and what jobs saw with what the journal says."""
        toll = Toll(self.kills, findings=list(self._troubles))
        rows = self._rows("SELECT id, name, state, json_extract(record, '$.state.exit_code') FROM jobs")
        toll.jobs = len(rows)
        numbers = {number: name for number, name, _, _ in rows}
        named = Counter(numbers.values())
        toll.lost += [f"job {n} ({name}) is lost" for n, name in self._told.items() if numbers.get(n) != name]
        toll.lost += [f"{name} never became a job" for name in self._wanted if not named[name]]
        toll.doubled += [f"{name} became {times} jobs" for name, times in named.items() if times > 1]
        toll.doubled += [f"job {job} ran {times} times" for job, times in self._starts().items() if times > 1]
        for number, name, state, code in rows:
            wish = self._wanted[name]
            if (state, code) != (wish.state, wish.exit_code) and not (wish.cancelled and state == "cancelled"):
                toll.wrong_state.append(f"job {number} is {state} ({code}), not {wish.state} ({wish.exit_code})")
        toll.findings += self._audit()
        return toll

    def _audit(self) -> Iterable[str]:
        checked = self.node.dopq("audit", "check", "--witnesses", str(self._witnessed), "--json")
        if not checked.stdout:
            return [checked.stderr]
        return [f"{f['code']}: job {f['job']}: {f['sentence']}" for f in json.loads(checked.stdout)["findings"]]

    # --- what there is to see ---

    def _starts(self) -> Counter[int]:
        lines = (self._witnessed / WITNESS).read_text().splitlines() if (self._witnessed / WITNESS).exists() else []
        return Counter(int(line.split()[0]) for line in lines)

    def _read_witness(self) -> None:
        with (self._witnessed / WITNESS).open("ab", buffering=0) as file:
            while (seen := os.read(self._witness, 2**16)) != _ENOUGH:
                file.write(seen)

    def _state(self, number: int) -> str:
        return str(self._rows(f"SELECT state FROM jobs WHERE id = {number}")[0][0])

    def _alive(self) -> int:
        return int(self._rows("SELECT count(*) FROM jobs WHERE finished_at IS NULL")[0][0])

    def _none_is_left(self) -> bool:
        drops = [path for path in (self.node.share / "inbox" / USER).iterdir() if path.suffix == ".zip"]
        return not drops and self._alive() == 0

    def _died(self) -> bool:
        return self.node.process is not None and self.node.process.poll() is not None

    def _rows(self, statement: str) -> list[tuple[Any, ...]]:
        with closing(sqlite3.connect(f"file:{self.node.state / 'journal.sqlite3'}?mode=ro", uri=True)) as journal:
            return journal.execute(statement).fetchall()


def make_witness(folder: Path) -> Path:
    """The folder for `node.data`, with the FIFO in it. Jobs may write to a FIFO on a mount that is read-only."""
    data = folder / "data"
    data.mkdir()
    os.mkfifo(data / WITNESS)
    (data / WITNESS).chmod(0o666)
    return data
