"""A private Docker engine in one folder: own socket, own images, own network; nothing of the system's is touched.

    with PrivateEngine(Path(".dopq/engine")) as engine:
        docker.DockerClient(base_url=engine.url)

    private_engine.py start|stop|status FOLDER
    private_engine.py run [--inside] FOLDER -- COMMAND...

It runs in namespaces of its own (`private_engine_inside.py`), so that it leaves nothing outside the folder and ends
as a whole, whatever is killed first. It needs root and `dockerd`; with `slirp4netns` its containers reach the outside
world. Ports that containers publish stay inside. Folders below /run cannot be mounted into its containers.
Only the standard library is needed.
"""

from __future__ import annotations

import argparse
import fcntl
import hashlib
import os
import select
import shutil
import signal
import socket
import struct
import subprocess
import sys
import time
from pathlib import Path
from typing import Self

from private_engine_inside import KEPT, LOCK_HELD, remove_cgroups

START_LIMIT_S = 30.0
STOP_LIMIT_S = 15.0
SOCKET_PATH_BYTES = 107  # unix(7): sun_path has 108 bytes, the last one is NUL
FLOCK = "hhqqi0q"  # struct flock of fcntl(2) on 64-bit Linux: type, whence, start, length, pid


class PrivateEngineError(Exception):
    """The engine cannot be had; the message says why and what to do."""


class PrivateEngine:
    """A Docker engine that lives as long as the `with` block, and no longer than this process.

    Args:
        folder: holds the socket, the data root (kept for the next time) and the log.
        path_prepend: a folder of programs that the engine finds before the system's.
        keep: it goes on after the block and after this process, until `stop` is called on it.

    Attributes:
        cgroup: the control group in which its containers run.

    An engine that was kept in the folder earlier is taken over as it is, and left alone at the end of the block.
    """

    def __init__(self, folder: Path, path_prepend: Path | None = None, *, keep: bool = False) -> None:
        self.folder = folder.resolve()
        self._path_prepend = path_prepend.resolve() if path_prepend else None  # Go runs nothing from a relative one
        self._keep = keep
        self._process: subprocess.Popen[bytes] | None = None
        self.cgroup = "dopq-" + hashlib.sha256(bytes(self.folder)).hexdigest()[:12]

    @property
    def url(self) -> str:
        """The address for Docker clients, `unix:///...`."""
        return f"unix://{self._socket}"

    @property
    def log(self) -> Path:
        """What dockerd had to say since its last start."""
        return self.folder / "dockerd.log"

    @property
    def pid(self) -> int | None:
        """The process that serves the folder; None when there is none. Its end is the end of the engine."""
        return lock_holder(self.folder / "lock")

    @property
    def _socket(self) -> Path:
        return self.folder / "docker.sock"

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._process is not None and not self._keep:
            self.stop()

    def start(self) -> None:
        """Return when the engine answers: a new one, or the one that was kept here.

        Raises:
            PrivateEngineError: not root, no dockerd, an unusable folder, in use by another process, or no answer
                within half a minute.
        """
        self._check()
        deadline = time.monotonic() + START_LIMIT_S
        while not (self._is_for_us() and answers(self._socket)):
            ended = self._process.poll() if self._process else LOCK_HELD
            if ended == LOCK_HELD:
                self._process = self._spawn() if self.pid is None else None
            elif ended is not None:
                self.stop()
                raise PrivateEngineError(f"dockerd ended at once. Its log, {self.log}, ends with:\n{self._log_end()}")
            if time.monotonic() > deadline:
                raise self._too_late()
            time.sleep(0.05)

    def stop(self) -> None:
        """End every process of the engine, with what runs in its containers; one that does not run is fine.

        Containers are asked first (SIGTERM, three seconds), then killed. The images stay.
        """
        try:
            self._end(signal.SIGTERM, STOP_LIMIT_S)
        except TimeoutError:
            self._end(signal.SIGKILL, STOP_LIMIT_S)
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None
        # Left by one that was killed; an engine that ends by itself takes them along.
        remove_cgroups(self.cgroup)
        self._socket.unlink(missing_ok=True)

    def _check(self) -> None:
        if os.geteuid() != 0:
            raise PrivateEngineError(
                "A private Docker engine needs root. Run this with sudo, or start Docker and let DOCKER_HOST name it."
            )
        missing = [name for name in ("dockerd", "containerd", "unshare", "nsenter") if shutil.which(name) is None]
        if missing:
            raise PrivateEngineError(
                f"Not installed: {', '.join(missing)}. On Debian and Ubuntu: apt install docker.io"
            )
        if len(bytes(self._socket)) > SOCKET_PATH_BYTES:
            raise PrivateEngineError(
                f"The path {self._socket} is longer than a Unix socket's may be ({SOCKET_PATH_BYTES} bytes). "
                "Give a folder with a shorter path."
            )
        if self.folder.parts[1:2] in (("run",), ("etc",), ("proc",), ("sys",), ("dev",)):
            raise PrivateEngineError(f"{self.folder} is inside a system folder. Give one elsewhere.")

    def _is_for_us(self) -> bool:
        """Say whether the engine that runs is our own or a kept one; any other ends with the one who started it."""
        return self.pid is not None and (self.folder / "lock").read_text() in (KEPT, str(os.getpid()))

    def _too_late(self) -> PrivateEngineError:
        if self._process is None:
            starter = (self.folder / "lock").read_text()
            return PrivateEngineError(
                f"{self.folder} is in use by process {starter}. Wait for its end, or give another folder."
            )
        self.stop()
        return PrivateEngineError(f"dockerd gave no answer in {START_LIMIT_S:.0f} s; see {self.log}.")

    def _spawn(self) -> subprocess.Popen[bytes]:
        self.folder.mkdir(parents=True, exist_ok=True)
        inside = Path(__file__).with_name("private_engine_inside.py")
        owner = KEPT if self._keep else str(os.getpid())
        path = os.pathsep.join(filter(None, (str(self._path_prepend or ""), os.environ.get("PATH"))))
        command = [
            *("unshare", "--pid", "--fork", "--mount", "--propagation=slave", "--mount-proc"),
            "--kill-child=SIGTERM",  # should `unshare` be killed, the inside still ends in good order
            *(sys.executable, "-I", "-S", str(inside), str(self.folder), owner, self.cgroup),
        ]
        with self.log.open("wb") as log:
            return subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL if self._keep else subprocess.PIPE,
                stdout=log,
                stderr=log,
                env={**os.environ, "PATH": path},
                start_new_session=True,  # Ctrl-C in a terminal is for the starter, which then ends things in its order
            )

    def _end(self, how: signal.Signals, limit_s: float) -> None:
        """Send a signal to the process that serves the folder and wait for its end.

        Raises:
            TimeoutError: it did not end in time.
        """
        pid = self.pid
        if pid is None:
            return
        try:
            handle = os.pidfd_open(pid)
        except ProcessLookupError:
            return
        try:
            if self.pid != pid:  # it ended before we had a hold of it, and its number may be another's by now
                return
            signal.pidfd_send_signal(handle, how)
            if not select.select([handle], [], [], limit_s)[0]:
                raise TimeoutError(f"process {pid} did not end in {limit_s} s")
        finally:
            os.close(handle)

    def _log_end(self) -> str:
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-10:])


def lock_holder(lock: Path) -> int | None:
    """The living process that holds the lock, by the kernel's word (fcntl(2), F_GETLK); None when nobody does."""
    try:
        with lock.open("rb") as file:
            asked = struct.pack(FLOCK, fcntl.F_RDLCK, os.SEEK_SET, 0, 0, 0)
            kind, _, _, _, pid = struct.unpack(FLOCK, fcntl.fcntl(file, fcntl.F_GETLK, asked))
    except FileNotFoundError:
        return None
    return None if kind == fcntl.F_UNLCK else pid


def answers(path: Path) -> bool:
    """Say whether a Docker engine answers at the socket (Docker Engine API, `GET /_ping`)."""
    with socket.socket(socket.AF_UNIX) as link:
        link.settimeout(2)
        try:
            link.connect(str(path))
            link.sendall(b"GET /_ping HTTP/1.0\r\n\r\n")
            return b" 200 " in link.recv(64)
        except OSError:
            return False


def main(arguments: list[str]) -> int:
    """Do what the command line says; exit code 2 when the engine cannot be had."""
    parser = argparse.ArgumentParser(description="A private Docker engine in one folder.")
    parser.add_argument("action", choices=("start", "stop", "status", "run"))
    parser.add_argument("folder", type=Path)
    parser.add_argument("--path-prepend", type=Path, help="programs that the engine finds before the system's")
    parser.add_argument("--inside", action="store_true", help="with `run`: where process numbers are the engine's own")
    parser.add_argument("command", nargs="*", help="with `run`: what to run while the engine is up, after `--`")
    options = parser.parse_args(arguments)
    engine = PrivateEngine(options.folder, options.path_prepend, keep=options.action == "start")
    try:
        match options.action:
            case "start":
                engine.start()
                print(engine.url)
            case "stop":
                engine.stop()
            case "status":
                print(f"{engine.url} is served by process {engine.pid}" if engine.pid else "stopped")
                return 0 if engine.pid else 1
            case "run":
                with engine:
                    environment = {**os.environ, "DOCKER_HOST": engine.url}
                    enter = (
                        ["nsenter", f"--target={engine.pid}", "--pid", "--mount", "--wd=."] if options.inside else []
                    )
                    return subprocess.run([*enter, *options.command], env=environment, check=False).returncode
    except KeyboardInterrupt:
        return 130
    except PrivateEngineError as problem:
        print(f"private engine: {problem}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
