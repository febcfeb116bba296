"""Making a base image: an interrupted or failed run harms nobody, the second run takes the cached one. Needs root."""

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import docker
import pytest

from dopq.container_handler import base_image
from dopq.container_handler.docker_engine import DockerEngine
from dopq.errors import OperatorError

pytestmark = pytest.mark.engine

# What debootstrap does, small and quick: it puts a system at its last argument but one or two.
STAND_IN = r"""#!/bin/sh
for word in "$@"; do case $word in /*) root=$word;; esac; done
mkdir -p $root/bin $root/usr/bin $root/usr/sbin $root/proc $root/tmp
for part in doc man info locale; do mkdir -p $root/usr/share/$part/some; done
cp /bin/busybox $root/bin/busybox
for tool in sh ln find rm; do ln -s busybox $root/bin/$tool; done
printf '#!/bin/sh\n' > $root/usr/sbin/update-ca-certificates; chmod 755 $root/usr/sbin/update-ca-certificates
echo made > $root/made
"""


@pytest.fixture
def debootstrap(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A program in front of the real debootstrap, for the test to fill."""
    program = tmp_path / "bin" / "debootstrap"
    program.parent.mkdir()
    program.write_text(STAND_IN)
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    return program


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


def files(cache: Path) -> set[str]:
    return {path.name for path in cache.iterdir()} - {"lock"}


def test_the_image_is_made_once_and_then_taken_from_the_cache(
    engine_url: str, debootstrap: Path, cache: Path, tmp_path: Path
) -> None:
    engine = DockerEngine(engine_url)
    reference = "dopq-test/made-base:1"
    try:
        first = base_image.bootstrap(engine, reference, cache, lambda _line: None)
        assert engine.image(reference) == first
        assert files(cache) == {base_image.machine_recipe().key + ".tar"}
        debootstrap.write_text("#!/bin/sh\nexit 1\n")
        second = base_image.bootstrap(engine, reference, cache, lambda _line: None)
        assert engine.image(reference) == second
        client = docker.DockerClient(base_url=engine_url)
        try:
            assert client.containers.run(reference, ["/bin/busybox", "cat", "/made"], remove=True) == b"made\n"
            settings = client.images.get(reference).attrs["Config"]
        finally:
            client.close()
        assert settings["Cmd"] == ["python3"]
        assert "PIP_BREAK_SYSTEM_PACKAGES=1" in settings["Env"]
    finally:
        engine.remove_image(reference)


def test_a_failing_mirror_is_told_with_its_last_words_and_leaves_nothing(
    engine_url: str, debootstrap: Path, cache: Path
) -> None:
    debootstrap.write_text("#!/bin/sh\necho E: Failed getting release file; exit 1\n")
    with pytest.raises(OperatorError, match="Failed getting release file"):
        base_image.bootstrap(DockerEngine(engine_url), "dopq-test/never:1", cache, lambda _line: None)
    assert files(cache) == set()


def test_what_a_killed_run_left_is_removed_by_the_next_and_its_processes_are_gone(
    engine_url: str, debootstrap: Path, cache: Path, tmp_path: Path
) -> None:
    begun = tmp_path / "begun"
    debootstrap.write_text(f"#!/bin/sh\nsleep 1000 & echo $$ > {begun}; wait\n")
    program = f"""
from pathlib import Path
from dopq.container_handler import base_image
from dopq.container_handler.docker_engine import DockerEngine
base_image.bootstrap(DockerEngine({engine_url!r}), "dopq-test/never:1", Path({str(cache)!r}), print)
"""
    with subprocess.Popen([sys.executable, "-c", program]) as run:
        try:
            wait_until(lambda: begun.exists() or run.poll() is not None)
            assert commands_naming(debootstrap) != []
        finally:
            run.kill()
    wait_until(lambda: commands_naming(debootstrap) == [])
    assert [name for name in files(cache) if name.startswith("work-")] != []
    debootstrap.write_text("#!/bin/sh\nexit 1\n")
    with pytest.raises(OperatorError):
        base_image.bootstrap(DockerEngine(engine_url), "dopq-test/never:1", cache, lambda _line: None)
    assert files(cache) == set()


def commands_naming(program: Path) -> list[int]:
    """Processes that run the program."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            words = (entry / "cmdline").read_bytes().decode().split("\0")
        except (FileNotFoundError, ProcessLookupError):
            continue
        if str(program) in words:
            found.append(int(entry.name))
    return found


def wait_until(condition: Callable[[], bool], limit_s: float = 15) -> None:
    deadline = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)
