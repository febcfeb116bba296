"""The thread that keeps tables together: every few seconds a few exchanges, each in a slot of its own."""

from __future__ import annotations

import re
import socket
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from random import SystemRandom

from dopq.config import SEED
from dopq.errors import DopqError, OperatorError
from dopq.peers.calling import Calling
from dopq.peers.choices import ChoicesFile
from dopq.peers.link import Place
from dopq.peers.liveness import Liveness
from dopq.peers.neighbourhood import Neighbourhood
from dopq.peers.node_key import NodeId
from dopq.peers.record import Facts
from dopq.peers.table import Table
from dopq.peers.table_file import save
from dopq.utils.log import logger

log = logger(__name__)

PARTNERS = 3
"""With how many nodes tables are exchanged in one round."""

SLOTS = 16
"""How many calls may be under way; those that hang take theirs until they are given up, and no other's."""

SHORTEST_PAUSE_S = 1.0
"""However often something changes: no more than one round in so many seconds."""


class Rounds:
    """One thread, and those of the calls that are under way.

    Attributes:
        trouble: what the admin has to mend; None if nothing.
    """

    def __init__(
        self,
        neighbourhood: Neighbourhood,
        calling: Calling,
        choices: ChoicesFile,
        own_facts: Callable[[], Facts],
        seeds: list[str],
        port: int,
        round_s: float,
        table_file: Path,
    ) -> None:
        """`own_facts`: what is so of this node now; `seeds`: those of the settings; `port`: of a seed without one."""
        self.trouble: str | None = None
        self._ours = neighbourhood
        self._calling = calling
        self._choices = choices
        self._own_facts = own_facts
        self._seeds = seeds
        self._port = port
        self._round_s = round_s
        self._table_file = table_file
        self._saved: Table = {}
        self._found: dict[str, NodeId] = {}
        self._busy: set[str] = set()
        self._random = SystemRandom()
        self._lock = threading.Lock()
        self._wake = threading.Event()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="peer-rounds", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def wake(self) -> None:
        """Something of this node has changed: tell others without waiting for the next round."""
        self._wake.set()

    def stop(self, timeout_s: float) -> None:
        """Begin no more rounds, and save the table. Calls that are under way end by their deadlines."""
        self._stopping.set()
        self._wake.set()
        if self._thread.is_alive():
            self._thread.join(timeout_s)
        self._save()

    def _run(self) -> None:
        due = time.monotonic()
        while not self._stopping.is_set():
            try:
                if self._ours.renew(self._own_facts()) or time.monotonic() >= due:
                    due = time.monotonic() + self._round_s
                    self.one_round()
            except Exception:
                log.exception("peer_round_failed")
            self._wake.wait(max(0.0, due - time.monotonic()))
            self._wake.clear()
            self._stopping.wait(SHORTEST_PAUSE_S)

    def one_round(self) -> None:
        """Forget who is gone, and begin the exchanges of one round; waits for none of them."""
        for node in self._ours.tidy():
            log.info("node_forgotten", node_id=node)
        for seed in self._seeds_to_ask():
            self._begin(f"seed {seed}", partial(self._ask_seed, seed))
        for record in self._ours.partners(PARTNERS, self._random):
            self._begin(record.node_id, partial(self._calling.exchange, record))
        self._save()

    def _begin(self, slot: str, call: Callable[[], object]) -> None:
        with self._lock:
            if slot in self._busy or len(self._busy) >= SLOTS:
                return
            self._busy.add(slot)
        threading.Thread(target=self._in_slot, args=(slot, call), name=f"peer-{slot[:12]}", daemon=True).start()

    def _in_slot(self, slot: str, call: Callable[[], object]) -> None:
        try:
            call()
        except Exception:
            log.exception("peer_call_failed", slot=slot)
        finally:
            with self._lock:
                self._busy.discard(slot)

    def _seeds_to_ask(self) -> list[str]:
        """Those of which it is not known who answers there, or who is not there now."""
        try:
            chosen = self._choices.read().seeds
        except OperatorError as error:
            chosen = []
            self.trouble = str(error)
        else:
            self.trouble = None
        alive = {node for node in self._ours.table if self._ours.liveness(node) is Liveness.ALIVE}
        return [seed for seed in dict.fromkeys([*self._seeds, *chosen]) if self._found.get(seed) not in alive]

    def _ask_seed(self, seed: str) -> None:
        try:
            self._found[seed] = self._calling.exchange_at(places_of(seed, self._port))
        except DopqError as error:
            log.debug("seed_does_not_answer", seed=seed, cause=str(error))

    def _save(self) -> None:
        known = self._ours.known
        if known.table is self._saved:
            return
        try:
            save(self._table_file, known)
            self._saved = known.table
        except OperatorError as error:
            self.trouble = str(error)


def is_seed(text: str) -> bool:
    """Whether it can be the address of a seed."""
    return re.fullmatch(SEED, text) is not None


def places_of(seed: str, port: int) -> list[Place]:
    """Where a seed is, by its address or name, IPv6 first; `port` where it names none. Empty: nobody knows."""
    host, colon, own_port = seed.rpartition(":")
    if not colon or (":" in host and not host.startswith("[")):
        host, own_port = seed, str(port)
    try:
        found = socket.getaddrinfo(host.strip("[]"), int(own_port), type=socket.SOCK_STREAM)
    except (OSError, UnicodeError, ValueError):
        return []
    places = dict.fromkeys((str(address[0]), int(address[1])) for *_, address in found)
    return sorted(places, key=lambda place: ":" not in place[0])
