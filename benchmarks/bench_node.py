"""A node to be measured: with an engine of its own, a user, and a locked queue, so that nothing runs."""

from __future__ import annotations

import json
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import psutil

from dopq.container_handler.docker_engine import DockerEngine
from dopq_client.client import DopqClient
from private_engine import PrivateEngine
from tests.acceptance.conftest import free_port
from tests.bundles import Content, zip_of
from tests.conftest import root_with_busybox
from tests.node_process import NodeProcess

USER = "ada"
BASE = "bench/busybox:1"
ALL_WITHIN_S = 600.0


class BenchNode:
    """Its share as a user sees it, and its Provider."""

    def __init__(self, node: NodeProcess, staging: Path, admin: DopqClient) -> None:
        self._node = node
        self._staging = staging
        self._admin = admin
        self.inbox = node.share / "inbox" / USER

    def stage(self, name: str, files: Mapping[str, Content]) -> Path:
        """A bundle beside the inbox, to be renamed into it."""
        return zip_of(self._staging / name, files)

    def queued(self, name: str) -> bool:
        """Whether the share says that the job of a bundle without a spec is queued."""
        for status in (self._node.share / "outbox" / USER).glob(f"*-{name.removesuffix('.zip')}/status.json"):
            return bool(json.loads(status.read_text())["job"]["state"] == "queued")
        return False

    def refused(self, name: str) -> bool:
        """Whether the reason lies beside a bundle in `invalid`."""
        return (self._node.share / "invalid" / USER / f"{name}.reason.txt").exists()

    def number_queued(self) -> int:
        """Jobs in the queue."""
        return int(self._admin.system()["queue"]["jobs"].get("queued", 0))

    @contextmanager
    def provider_memory(self) -> Iterator[dict[str, int]]:
        """The Provider's highest resident set in bytes while the block runs: its `own`, and `all` with its children."""
        pids = {process["name"]: process["pid"] for process in self._admin.system()["processes"]}
        provider = psutil.Process(pids["provider"])
        peak, over = {"own": 0, "all": 0}, threading.Event()

        def watch() -> None:
            while not over.wait(0.05):
                own = resident(provider)
                together = own + sum(resident(child) for child in provider.children(recursive=True))
                peak.update(own=max(peak["own"], own), all=max(peak["all"], together))

        watcher = threading.Thread(target=watch)
        watcher.start()
        try:
            yield peak
        finally:
            over.set()
            watcher.join()


@contextmanager
def bench_node(folder: Path, *settings: str) -> Iterator[BenchNode]:
    """A node in `folder`, with the image `BASE`; it and its engine end with the block."""
    with ExitStack() as stack:
        engine = stack.enter_context(PrivateEngine(folder / "engine"))
        DockerEngine(engine.url).import_image(root_with_busybox(), reference=BASE, changes=("ENV PATH=/bin",))
        home, staging = folder / "node", folder / "staging"
        home.mkdir()
        staging.mkdir()
        node = NodeProcess(home, engine.url, free_port(), settings)
        node.write_config()
        node.start()
        stack.callback(node.kill)
        node.add_user(USER).close()
        admin = stack.enter_context(node.add_user("boss", role="admin"))
        admin.lock("so that jobs stay queued", minutes=60)
        yield BenchNode(node, staging, admin)


def until(condition: Callable[[], bool], every_s: float = 0.002) -> None:
    """Return as soon as the condition holds; give the benchmark up when that takes ten minutes."""
    deadline = time.monotonic() + ALL_WITHIN_S
    while not condition():
        if time.monotonic() > deadline:
            sys.exit(f"Not within {ALL_WITHIN_S:g} s; given up.")
        time.sleep(every_s)


def resident(process: psutil.Process) -> int:
    """Bytes of memory of a process; none when it has just ended."""
    with suppress(psutil.Error):
        return int(process.memory_info().rss)
    return 0
