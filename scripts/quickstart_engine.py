"""A Docker engine for the quickstart, and the image that its example starts from."""

from __future__ import annotations

import io
import os
import tarfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from dopq.container_handler.base_image import bootstrap
from dopq.container_handler.docker_engine import DockerEngine, find_engine
from dopq.errors import BuildFailed
from environment import BASE_IMAGE, ENGINE, STATE, install
from private_engine import PrivateEngine
from quickstart_node import HOME, KEPT
from telling import Telling

FOLDER = HOME / "engine"
PULL_LIMIT_S = 120.0


@contextmanager
def an_engine(telling: Telling, *, keep: bool) -> Iterator[str]:
    """Address of the machine's own Docker engine, or of a private one.

    The private one ends with the body, unless a node is left running on it.

    Raises:
        SetupError, PrivateEngineError: there is none and it cannot be had; says what to do.
    """
    if url := find_engine(os.environ):
        telling.phase("engine", f"the one at {url}")
        yield url
        return
    if os.geteuid() == 0:
        install(ENGINE)
    engine = PrivateEngine(FOLDER, keep=keep)
    try:
        engine.start()
        telling.phase("engine", f"a private one at {engine.url}")
        yield engine.url
    finally:
        if not KEPT.exists():
            engine.stop()


def provide_base_image(telling: Telling, engine: DockerEngine, dockerfile: Path) -> None:
    """See to it that the image which the Dockerfile starts from can be had.

    Raises:
        SetupError, OperatorError: neither from a registry nor from the package mirror.
    """
    lines = dockerfile.read_text(encoding="utf-8").splitlines()
    reference = next(line.split()[1] for line in lines if line.startswith("FROM "))
    if engine.image(reference):
        telling.phase("base_image", f"{reference} is there")
    elif _registry_has(engine, reference):
        telling.phase("base_image", f"{reference} comes from its registry")
    else:
        telling.aside(f"no registry hands out {reference}: making it from this machine's package mirror (a minute)")
        install(BASE_IMAGE)
        bootstrap(engine, reference, STATE / "cache", telling.aside)
        telling.phase("base_image", f"{reference} made here")


def _registry_has(engine: DockerEngine, reference: str) -> bool:
    """Fetch the image the way that a job's own build will."""
    context = io.BytesIO()
    with tarfile.open(fileobj=context, mode="w") as tar:
        text = f"FROM {reference}\nLABEL dopq.quickstart=probe\n".encode()
        entry = tarfile.TarInfo("Dockerfile")
        entry.size = len(text)
        tar.addfile(entry, io.BytesIO(text))
    context.seek(0)
    probe = "dopq-quickstart/probe:1"
    try:
        engine.build(
            context, tag=probe, labels={}, log=lambda _: None, cancelled=threading.Event(), timeout_s=PULL_LIMIT_S
        )
    except BuildFailed:
        return False
    engine.remove_image(probe)
    return True
