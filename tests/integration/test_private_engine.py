"""A private engine leaves nothing behind and starts again, whatever was killed. Needs root and dockerd."""

import io
import os
import signal
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import docker
import pytest

import private_engine
from private_engine import PrivateEngine, PrivateEngineError, answers, lock_holder

pytestmark = pytest.mark.engine


@pytest.fixture
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    path = tmp_path_factory.mktemp("e")
    yield path
    PrivateEngine(path).stop()


def wait_until(condition: Callable[[], bool], limit_s: float = 15) -> None:
    deadline = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)


def processes(folder: Path) -> dict[str, int]:
    """Name and host pid of every process whose command line names the folder."""
    found = {}
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            words = (entry / "cmdline").read_bytes().decode().split("\0")
        except (FileNotFoundError, ProcessLookupError):
            continue
        if any(str(folder) in word for word in words):
            found["inside" if "-I" in words and words[0] != "unshare" else Path(words[0]).name] = int(entry.name)
    return found


def part(folder: Path, name: str) -> int:
    """The host pid of one part of the engine."""
    if name != "containerd":
        return processes(folder)[name]
    inside = processes(folder)["inside"]
    children = Path(f"/proc/{inside}/task/{inside}/children").read_text().split()
    return next(int(pid) for pid in children if Path(f"/proc/{pid}/comm").read_text() == "containerd\n")


def traces(folder: Path) -> set[str]:
    """What an engine could leave on the machine: folders, network interfaces, control groups, mounts."""
    where = ("/etc/docker", "/opt/containerd", "/run/docker", "/run/containerd", "/var/lib/docker")
    links = {path.name for path in Path("/sys/class/net").iterdir()}
    groups = {str(path) for path in Path("/sys/fs/cgroup").rglob(PrivateEngine(folder).cgroup)}
    return {path for path in where if Path(path).exists()} | links | groups


def start_sleeper(engine: PrivateEngine) -> str:
    """Run a container whose process does not heed SIGTERM; its id."""
    root = io.BytesIO()
    with tarfile.open(fileobj=root, mode="w") as tar:
        tar.add("/bin/busybox", "bin/busybox")
    client = docker.DockerClient(base_url=engine.url)
    try:
        client.api.import_image_from_data(root.getvalue(), repository="sleeper")
        return client.containers.run("sleeper", ["/bin/busybox", "sleep", "1000"], detach=True).id
    finally:
        client.close()


def states(engine: PrivateEngine) -> dict[str, str]:
    client = docker.DockerClient(base_url=engine.url)
    try:
        return {container.id: container.status for container in client.containers.list(all=True)}
    finally:
        client.close()


def test_an_engine_with_a_running_container_stops_soon_and_leaves_nothing_behind(folder: Path) -> None:
    before = traces(folder)
    with PrivateEngine(folder) as engine:
        start_sleeper(engine)
        assert traces(folder) != before
        begin = time.monotonic()
    assert time.monotonic() - begin < 8
    assert traces(folder) == before
    assert processes(folder) == {}
    assert not (folder / "docker.sock").exists()


@pytest.mark.parametrize("name", ["unshare", "inside", "dockerd", "containerd"])
def test_it_ends_as_a_whole_and_starts_again_when_a_part_is_killed(folder: Path, name: str) -> None:
    before = traces(folder)
    with PrivateEngine(folder) as engine:
        container = start_sleeper(engine)
        os.kill(part(folder, name), signal.SIGKILL)
        wait_until(lambda: processes(folder) == {})
    assert traces(folder) == before
    with PrivateEngine(folder) as engine:
        assert states(engine) == {container: "exited"}


def test_it_ends_with_its_starter_even_when_that_is_killed(folder: Path) -> None:
    command = [sys.executable, private_engine.__file__, "run", str(folder), "--", "sleep", "1000"]
    starter = subprocess.Popen(command)
    wait_until(lambda: answers(folder / "docker.sock"))
    child = int(Path(f"/proc/{starter.pid}/task/{starter.pid}/children").read_text().split()[-1])
    starter.kill()
    starter.wait()
    os.kill(child, signal.SIGKILL)
    with PrivateEngine(folder) as engine:  # at once: it has to wait for the end of the one before
        assert states(engine) == {}


def test_a_kept_engine_outlives_its_starter_and_is_taken_over(folder: Path) -> None:
    command = [sys.executable, private_engine.__file__]
    started = subprocess.run([*command, "start", folder], check=True, capture_output=True, text=True)
    kept = lock_holder(folder / "lock")
    with PrivateEngine(folder) as engine:
        assert started.stdout == engine.url + "\n"
        assert engine.pid == kept
    assert subprocess.run([*command, "status", folder], check=False).returncode == 0
    subprocess.run([*command, "stop", folder], check=True)
    assert subprocess.run([*command, "status", folder], check=False).returncode == 1


def test_a_folder_that_another_process_uses_is_refused_with_its_pid(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(private_engine, "START_LIMIT_S", 0.5)
    starter = subprocess.Popen(
        [sys.executable, private_engine.__file__, "run", folder, "--", "cat"], stdin=subprocess.PIPE
    )
    wait_until(lambda: answers(folder / "docker.sock"))
    with pytest.raises(PrivateEngineError, match=f"in use by process {starter.pid}"):
        PrivateEngine(folder).start()
    starter.communicate()


def test_programs_in_the_given_folder_come_first(folder: Path, tmp_path: Path) -> None:
    fake = tmp_path / "dockerd"
    fake.write_text("#!/bin/sh\necho no engine today\nexit 5\n")
    fake.chmod(0o755)
    with pytest.raises(PrivateEngineError, match="no engine today"):
        PrivateEngine(folder, path_prepend=tmp_path).start()


def test_without_an_outside_network_it_starts_all_the_same_and_says_so(folder: Path, tmp_path: Path) -> None:
    fake = tmp_path / "slirp4netns"
    fake.write_text("#!/bin/sh\nexit 1\n")
    fake.chmod(0o755)
    with PrivateEngine(folder, path_prepend=tmp_path) as engine:
        assert answers(folder / "docker.sock")
        assert "no outside network" in engine.log.read_text()


def test_a_path_too_long_for_a_socket_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PrivateEngineError, match="shorter path"):
        PrivateEngine(tmp_path / ("x" * 100)).start()


def test_without_root_it_says_so(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert private_engine.main(["start", str(folder)]) == 2
    assert "sudo" in capsys.readouterr().err


def test_without_dockerd_it_says_what_to_install(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    assert private_engine.main(["start", str(folder)]) == 2
    assert "apt install docker.io" in capsys.readouterr().err
