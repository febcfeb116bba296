"""A whole node, as in a lab: real service, real client, real Docker engine, real share."""

from __future__ import annotations

import os
import random
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from dopq.container_handler.docker_engine import DockerEngine
from dopq_client.client import DopqClient
from tests.bundles import Content, config, zip_of
from tests.node_process import MakeNode, NodeProcess

MakeBundle = Callable[..., Path]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "acceptance" in item.path.parts:
            item.add_marker(pytest.mark.engine)


@pytest.fixture
def make_node(tmp_path: Path, engine_url: str, docker_engine: DockerEngine) -> Iterator[MakeNode]:
    """Makes nodes with settings of their own; ends them, and removes their containers, whatever the test did."""
    made: list[NodeProcess] = []

    def make(*settings: str, environment: dict[str, str] | None = None, prefix: tuple[str, ...] = ()) -> NodeProcess:
        folder = tmp_path / f"node{len(made)}"
        folder.mkdir()
        node = NodeProcess(folder, engine_url, free_port(), settings, environment or {}, prefix)
        node.write_config()
        made.append(node)
        return node

    yield make
    for node in made:
        if node.process and node.process.poll() is None:
            node.kill()
        for name in docker_engine.containers({"dopq.node": node_id(node)}):
            docker_engine.remove(name)


@pytest.fixture
def node(make_node: MakeNode) -> NodeProcess:
    node = make_node()
    node.start()
    return node


@pytest.fixture
def alice(node: NodeProcess) -> Iterator[DopqClient]:
    with node.add_user("alice") as client:
        yield client


@pytest.fixture
def chance(record_property: Callable[[str, object], None]) -> random.Random:
    """The moments of death; other ones in each run."""
    seed = int(os.environ.get("DOPQ_SABOTAGE_SEED", random.SystemRandom().randrange(2**32)))
    record_property("seed", seed)
    sys.stderr.write(f"DOPQ_SABOTAGE_SEED={seed}\n")
    return random.Random(seed)


@pytest.fixture
def bundle(tmp_path: Path, busybox_image: str) -> MakeBundle:
    """Makes bundles that run a shell script."""

    def make(bundle: str, script: str, files: dict[str, Content] | None = None, **settings: object) -> Path:
        dockerfile = f'FROM {busybox_image}\nCOPY run.sh /run.sh\nCMD ["/run.sh"]\n'
        content = {
            "Dockerfile": dockerfile,
            "run.sh": f"#!/bin/sh\n{script}\n",
            "container_config.json": config(**settings),
        }
        return zip_of(tmp_path / bundle, content | (files or {}), executable=("run.sh",))

    return make


def free_port() -> int:
    """A port that stays free while its node is killed and started again.

    Below those that the kernel gives to outgoing connections (32768 and more: ip(7), ip_local_port_range): one of these
    could take it meanwhile.
    """
    while True:
        port = random.randrange(15_000, 32_000)
        with suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port


def node_id(node: NodeProcess) -> str:
    from dopq.store import Database, Journal

    journal = node.state / "journal.sqlite3"
    if not journal.exists():
        return "none"
    database = Database(journal)
    try:
        return Journal(database).noted("node_id") or "none"
    finally:
        database.close()
