"""A real Docker engine for the tests that need one, and images that build in a second."""

from __future__ import annotations

import io
import os
import tarfile
import uuid
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings as hypothesis_settings

from dopq.container_handler.docker_engine import DockerEngine
from dopq_client import settings
from private_engine import PrivateEngine
from tests import fake_gpus

# No deadline per example: two cores that also run an engine are slow at times. A failing example prints how to repeat it.
hypothesis_settings.register_profile("dopq", deadline=None, print_blob=True)
hypothesis_settings.load_profile("dopq")

BUSYBOX = Path("/bin/busybox")  # Debian and Ubuntu: package busybox-static


def pytest_configure(config: pytest.Config) -> None:
    # docker-py (7.2, unixconn.py) drops a Unix socket that it could not connect without closing it. Only a socket
    # that never had a peer looks like this; one that we forgot to close would still be an error.
    unconnected = r"unclosed <socket\.socket fd=\d+, family=1, type=1, proto=0>"
    config.addinivalue_line("filterwarnings", f"ignore:{unconnected}:ResourceWarning")  # in each test
    warnings.filterwarnings("ignore", unconnected, ResourceWarning)  # and after the last one


@pytest.fixture(autouse=True)
def stays_in_its_folder() -> Iterator[None]:
    """A test that leaves the process elsewhere breaks another, one that comes after it only by chance."""
    before = Path.cwd()
    yield
    assert Path.cwd() == before, "this test changed the current folder; use contextlib.chdir or monkeypatch.chdir"


@pytest.fixture(autouse=True)
def no_service_of_this_machine(stays_in_its_folder: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """What runs on the machine of the tests is not theirs to talk to.

    `stays_in_its_folder` looks once monkeypatch, which is asked for after it, has gone back where it came from.
    """
    monkeypatch.setattr(settings, "SYSTEM_SOCKET", Path("/nonexistent/dopq.sock"))
    monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)


@pytest.fixture(scope="session")
def engine_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Address of the engine under test: DOPQ_TEST_ENGINE, or a private one that lives as long as the tests."""
    if given := os.environ.get("DOPQ_TEST_ENGINE"):
        yield given
        return
    folder = tmp_path_factory.mktemp("engine")
    with PrivateEngine(folder, path_prepend=fake_gpus.install_hook(folder / "hook")) as engine:
        yield engine.url


@pytest.fixture(scope="session")
def docker_engine(engine_url: str) -> DockerEngine:
    return DockerEngine(engine_url)


@pytest.fixture(scope="session")
def unique() -> str:
    """A part for names, so that several test workers can share an engine."""
    return f"dopq-test-{uuid.uuid4().hex[:8]}"


@pytest.fixture(scope="session")
def busybox_image(docker_engine: DockerEngine, unique: str) -> Iterator[str]:
    """Reference of an image with a shell and nothing else."""
    reference = f"{unique}-busybox:1"
    docker_engine.import_image(root_with_busybox(), reference=reference, changes=("ENV PATH=/bin",))
    yield reference
    docker_engine.remove_image(reference)


@pytest.fixture
def busybox_root() -> io.BytesIO:
    """Tar of a root file system, to make an image of."""
    return root_with_busybox()


def root_with_busybox() -> io.BytesIO:
    """Tar of a root file system with busybox as every command that it knows."""
    assert BUSYBOX.exists(), f"the tests build their images from {BUSYBOX}: apt install busybox-static"
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as tar:
        tar.add(BUSYBOX, "bin/busybox")
        for applet in (
            "sh",
            "echo",
            "sleep",
            "cat",
            "env",
            "dd",
            "touch",
            "test",
            "true",
            "false",
            "kill",
            "head",
            "yes",
        ):
            link = tarfile.TarInfo(f"bin/{applet}")
            link.type, link.linkname = tarfile.SYMTYPE, "busybox"
            tar.addfile(link)
        for folder in ("tmp", "etc", "proc", "dev", "sys"):
            entry = tarfile.TarInfo(folder)
            entry.type, entry.mode = tarfile.DIRTYPE, 0o755
            tar.addfile(entry)
    stream.seek(0)
    return stream
