"""A node for the quickstart: configured, started and stopped with `dopq`, as an operator would do it."""

from __future__ import annotations

import json
import random
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from environment import STATE, VENV, SetupError
from telling import Telling

HOME = STATE / "quickstart"
CONFIG = HOME / "config.toml"
LOG = HOME / "node.log"
NODE_FILE = HOME / "state" / "node.json"
KEPT = HOME / "kept"  # process id of a node that is to go on
SHARE = HOME / "share"

LIMIT_S = 30.0
LOOK_EVERY_S = 0.05


@dataclass(frozen=True, slots=True)
class User:
    """Who drops the example."""

    token: str
    name: ClassVar[str] = "demo"
    inbox: ClassVar[Path] = SHARE / "inbox" / name
    outbox: ClassVar[Path] = SHARE / "outbox" / name


@contextmanager
def a_node(telling: Telling, engine_url: str, *, keep: bool) -> Iterator[User]:
    """A user of a running node: of the one that `--keep` left, or of a new one that ends with the body.

    Raises:
        SetupError: the node does not start; says why.
    """
    if kept := _kept_node():
        telling.phase("node", f"the one that was kept, process {kept}")
        yield _user()
        return
    stop_node()  # one whose starter was killed may still be stopping by itself
    settings = {
        "node.state": HOME / "state",
        "node.share": SHARE,
        "remote.port": _free_port(),
        "remote.socket": "off",
        "engine.url": engine_url,
    }
    _dopq("config", "write", str(CONFIG), "--force", *(f"--set={key}={value}" for key, value in settings.items()))
    user = _user()
    with _serving(keep=keep) as process:
        deadline = time.monotonic() + LIMIT_S
        while not NODE_FILE.exists() and process.poll() is None and time.monotonic() < deadline:
            time.sleep(LOOK_EVERY_S)
        if not NODE_FILE.exists():
            last = "\n".join(LOG.read_text(errors="replace").splitlines()[-12:])
            raise SetupError(f"The node does not start; {LOG} ends with:\n{last}")
        telling.phase("node", f"process {process.pid}, its share is {SHARE}")
        yield user


def stop_node() -> None:
    """Stop the node that runs, and wait for its end; none is fine."""
    _dopq("shutdown_queue", f"--config={CONFIG}", check=False)
    KEPT.unlink(missing_ok=True)


def address() -> str:
    """Where clients find the running node."""
    return str(json.loads(NODE_FILE.read_text())["nameserver"])


def _kept_node() -> int | None:
    """Process id of the node that an earlier `--keep` left running; None when there is none."""
    try:
        kept, facts = KEPT.read_text(), json.loads(NODE_FILE.read_text())
        command = Path(f"/proc/{kept}/cmdline").read_bytes()
    except FileNotFoundError:
        return None
    return int(kept) if str(facts["pid"]) == kept and bytes(CONFIG) in command else None


@contextmanager
def _serving(*, keep: bool) -> Iterator[subprocess.Popen[bytes]]:
    """A node for the time of the body, or longer with `keep`; without, it stops when we are killed, too."""
    NODE_FILE.unlink(missing_ok=True)
    with_us = [] if keep else ["setpriv", "--pdeathsig=TERM"]
    with LOG.open("wb") as log:
        process = subprocess.Popen(
            [*with_us, str(VENV / "bin" / "dopq"), "serve", "--config", str(CONFIG)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,  # Ctrl-C is for us: we stop the node, then the engine
        )
    try:
        yield process
    except BaseException:
        _end(process)
        raise
    if keep:
        KEPT.write_text(str(process.pid))
    else:
        _end(process)


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(LIMIT_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _user() -> User:
    """Register the user, or give the one from an earlier run a new token."""
    added = _dopq("user", "add", User.name, f"--config={CONFIG}", "--json", check=False)
    if added.returncode != 0:
        added = _dopq("user", "token", User.name, f"--config={CONFIG}", "--json")
    return User(token=json.loads(added.stdout)["token"])


def _dopq(*arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    """Run `dopq` with these arguments."""
    command = [str(VENV / "bin" / "dopq"), *arguments]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=90, check=False)
    if check and done.returncode != 0:
        raise SetupError(f"dopq {arguments[0]} failed with exit code {done.returncode}: {done.stderr.strip()}")
    return done


def _free_port() -> int:
    """One below those that the kernel gives to outgoing connections, so that it stays free while a node restarts."""
    while True:
        port = random.randrange(15_000, 32_000)
        with suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port
