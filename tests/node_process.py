"""A real node in a process of its own, as an admin would run it, for the acceptance tests."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dopq_client.client import DopqClient
from tests.waiting import wait_until


@dataclass
class NodeProcess:
    """One node's folder, and the process that serves it, if one does; `prefix`: a command that runs this process."""

    folder: Path
    engine_url: str
    port: int
    settings: tuple[str, ...] = ()
    environment: dict[str, str] = field(default_factory=dict)
    prefix: tuple[str, ...] = ()
    umask: int = -1
    process: subprocess.Popen[bytes] | None = None

    @property
    def config(self) -> Path:
        return self.folder / "config.toml"

    @property
    def share(self) -> Path:
        return self.folder / "share"

    @property
    def state(self) -> Path:
        return self.folder / "state"

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def log(self) -> str:
        return (self.folder / "node.log").read_text()

    def dopq(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run the owner's tool on this node's settings."""
        return subprocess.run(
            [sys.executable, "-m", "dopq", *arguments, "--config", str(self.config)],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def write_config(self) -> None:
        settings = (
            "node.name=lab1",
            f"remote.port={self.port}",
            "remote.socket=off",
            f"engine.url={self.engine_url}",
            "container.network=none",
            "container.stop_grace_s=1",
            *self.settings,
        )
        changes = [part for setting in settings for part in ("--set", setting)]
        command = [sys.executable, "-m", "dopq", "config", "write", str(self.config), "--force", *changes]
        subprocess.run(command, check=True, capture_output=True, timeout=60)

    def add_user(self, name: str, *, role: str = "user") -> DopqClient:
        """Register a user and connect as them."""
        made = self.dopq("user", "add", name, "--role", role, "--json")
        assert made.returncode == 0, made.stderr
        return DopqClient.connect(self.address, json.loads(made.stdout)["token"])

    def start(self) -> None:
        self.spawn()
        wait_until(lambda: (self.state / "node.json").exists() or self._died(), 30.0)
        assert self.process is not None
        assert self.process.poll() is None, self.log

    def spawn(self) -> None:
        """Begin to start; it answers when `node.json` is there."""
        with (self.folder / "node.log").open("ab") as log:
            self.process = subprocess.Popen(
                [*self.prefix, sys.executable, "-m", "dopq", "serve", "--config", str(self.config)],
                stdout=log,
                stderr=log,
                env=os.environ | self.environment,
                umask=self.umask,
            )

    def _died(self) -> bool:
        return self.process is not None and self.process.poll() is not None

    def stop(self) -> int:
        """SIGTERM, and the exit code."""
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(30)

    def kill(self) -> None:
        """SIGKILL, as a power cut would."""
        assert self.process is not None
        self.process.kill()
        self.process.wait(30)
        (self.state / "node.json").unlink(missing_ok=True)

    def drop(self, user: str, bundle: Path, name: str | None = None) -> None:
        """Copy a bundle into a user's inbox, as a file manager would."""
        shutil.copyfile(bundle, self.share / "inbox" / user / (name or bundle.name))

    def status(self, user: str, bundle: str) -> dict[str, Any] | None:
        """What the share says of the newest job made of a bundle, without any client."""
        found = []
        for file in (self.share / "outbox" / user).glob("*/status.json"):
            job = json.loads(file.read_text())["job"]
            if job["bundle"] == bundle:
                found.append(job)
        return max(found, key=lambda job: job["id"], default=None)

    def wait_for(self, user: str, bundle: str, *states: str, timeout_s: float = 60.0) -> dict[str, Any]:
        """Wait until the share says that a job is in one of `states`; the job as the share tells it."""

        def there() -> bool:
            job = self.status(user, bundle)
            return job is not None and job["state"] in states

        try:
            wait_until(there, timeout_s)
        except AssertionError:
            raise AssertionError(f"{bundle} is {self.status(user, bundle)}\n{self.log}") from None
        job = self.status(user, bundle)
        assert job is not None
        return job

    def outbox(self, user: str, job: dict[str, Any]) -> Path:
        return self.share / "outbox" / user / f"{job['id']}-{job['name']}"


MakeNode = Callable[..., NodeProcess]
