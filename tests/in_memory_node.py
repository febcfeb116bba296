"""A node without network, engine or processes: the real controller, journal, queue and outbox behind a link.

What crosses the link goes through msgpack both ways and past the boundary's own guard, so that the client meets real data and real refusals.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from itertools import count
from pathlib import Path
from typing import Any

from dopq.accounts import Accounts
from dopq.boundary.doors import Evidence
from dopq.boundary.guard import Guard
from dopq.boundary.identity import identify_by
from dopq.caller import LOCAL
from dopq.config import QueueSettings
from dopq.container_handler.archive import Limits
from dopq.container_handler.container_config import SpecDefaults
from dopq.container_handler.rules import Rules, rules_to_wire
from dopq.controller import DopqController
from dopq.data_platform import DataPlatform
from dopq.errors import DopqError, UserError
from dopq.images import Images
from dopq.job import GpuId, ImageId, Job, JobSpec, Outcome, Problem, Reason, StateName, UserName
from dopq.outbox import Outbox
from dopq.protocol.plain import NotPlain, pack, unpack
from dopq.results import Results
from dopq.store import Database, Journal
from dopq.tokens import Tokens
from dopq.uploads import Uploads
from dopq.users import Role, Users
from dopq.wire import CONTROLLER, Plain, error_from_wire, error_to_wire, time_to_wire
from tests.fakes import FakeClock
from tests.neighbours import lone

MAX_ITEMS = 1_000_000


class InMemoryNode:
    """A node with the users `anna`, `bert` and the admin `olga`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.clock = FakeClock()
        self.database = Database(folder / "journal.sqlite")
        self.users = Users(self.database)
        self.logins = Tokens(self.database, self.clock, days=90)
        self.tokens = {
            name: self._register(name, role)
            for name, role in {"anna": Role.USER, "bert": Role.USER, "olga": Role.ADMIN}.items()
        }
        self.platform = DataPlatform(Journal(self.database), self.users, self.clock, QueueSettings(), "node1")
        (folder / "outbox").mkdir()
        self.outbox = Outbox(folder / "outbox")
        self.results = Results(self.outbox, folder / "jobs")
        self.stopped = False
        self.rules = Rules(SpecDefaults(gpus=1, max_time_limit_s=86400), Limits(bundle_bytes=10 * 2**20))
        self.images = Images(self.database)
        self._drops = count()
        (folder / "uploads").mkdir()
        (folder / "spool").mkdir()
        self.spool = folder / "spool"
        self.controller = DopqController(
            platform=self.platform,
            results=self.results,
            uploads=Uploads(folder / "uploads", self.spool, 10 * 2**20, lambda _bytes: None),
            system=self._system,
            nodes=lone(folder),
            request_shutdown=self._stop,
            limits=rules_to_wire(self.rules),
            accounts=Accounts(self.database, self.logins, self.clock, lambda _user: None),
        )

        self.guard = Guard(identify_by(self.users, self.logins), lambda *_: None, 1e6, threading.Event())
        self.guard.serve(CONTROLLER, self.controller)

    def link(self, token: str | None) -> MemoryLink:
        """A link as the client opens it."""
        return MemoryLink(self, token)

    def close(self) -> None:
        """Close the journal."""
        self.database.close()

    # --- what else happens on a node ----------------------------------------------------------------------------------

    def building(self, user: str = "anna", bundle: str = "iris.zip") -> Job:
        """A job whose bundle was just taken."""
        return self.platform.accept(UserName(user), bundle, f"drop-{next(self._drops)}", bundle.removesuffix(".zip"))

    def queued(self, user: str = "anna", name: str = "iris", gpus: int = 0) -> Job:
        """A job that waits for its turn."""
        spec = JobSpec(name=name, gpus=gpus)
        return self.platform.enqueue(
            self.building(user, f"{name}.zip").id, spec, ImageId("sha256:1234"), has_input=False
        )

    def running(self, user: str = "anna", name: str = "iris", gpus: frozenset[GpuId] = frozenset()) -> Job:
        """A job whose process runs."""
        job = self.queued(user, name, gpus=len(gpus))
        self.platform.begin(job.id, gpus)
        return self.platform.mark_running(job.id, self.clock.now())

    def ended(self, outcome: Outcome = StateName.SUCCEEDED, exit_code: int | None = 0, **running: Any) -> Job:
        """A job that ran and ended."""
        return self.end(self.running(**running), outcome, exit_code)

    def end(self, job: Job, outcome: Outcome = StateName.SUCCEEDED, exit_code: int | None = 0) -> Job:
        """The end of a job that runs."""
        if outcome is StateName.CANCELLED:
            self.platform.cancel(job.id, by=job.user)
        sentence = {0: "It did what it should."}.get(exit_code or 0, f"It ended with exit code {exit_code}.")
        return self.platform.finish(
            job.id,
            outcome,
            Reason("exited", sentence),
            at=self.clock.now(),
            exit_code=exit_code,
            started_at=self.clock.now(),
        )

    def refused(self, problems: tuple[Problem, ...]) -> Job:
        """A job whose bundle was no good."""
        reason = Reason("bundle_rejected", f"The bundle has {len(problems)} problems.")
        return self.platform.reject(self.building().id, StateName.INVALID, reason, problems)

    def leaves(self, job: Job, path: str, data: bytes, *, executable: bool = False) -> None:
        """A result of a job."""
        file = self.outbox.folder(job) / path
        file.parent.mkdir(parents=True, exist_ok=True)
        with file.open("ab") as sink:
            sink.write(data)
        file.chmod(0o755 if executable else 0o644)

    def _register(self, name: str, role: Role) -> str:
        user = self.users.add(name, role=role, weight=1.0, uid=None, now=self.clock.now())
        return self.logins.issue(user.name, "a test").token

    def _system(self) -> Plain:
        return {
            "node": "node1",
            "version": "2.0.0",
            "started_at": time_to_wire(self.clock.now() - timedelta(hours=3)),
            "uptime_s": 10800.0,
            "engine": {"version": "20.10", "cpus": 8, "memory_bytes": 33 * 2**30},
            "machine": {
                "load_1m": 0.25,
                "memory_total_bytes": None,
                "disks": [{"folder": "/srv/dopq", "total_bytes": 2**40, "free_bytes": 2**39}],
            },
            "gpus": [
                {
                    "uuid": "GPU-1",
                    "index": 0,
                    "model": "A100",
                    "memory_used_bytes": 2**30,
                    "memory_total_bytes": 40 * 2**30,
                    "utilisation_percent": 12,
                    "temperature_c": 41,
                    "power_w": 65.5,
                    "processes": [{"pid": 4711, "memory_bytes": 2**29, "user": "eve", "job": None, "by": "stranger"}],
                    "withheld": {"code": "gpu_foreign", "sentence": "GPU GPU-1 is used past the queue: …"},
                    "jobs": [],
                },
                {"uuid": "GPU-2", "model": "A100", "memory_used_bytes": None, "utilisation_percent": None, "jobs": [7]},
            ],
            "deferred": [
                {
                    "user": "anna",
                    "name": "iris.zip.part",
                    "size_bytes": 5 * 2**20,
                    "since_at": time_to_wire(self.clock.now() - timedelta(minutes=5)),
                    "why": "it has the name of a temporary file; rename it when it is complete",
                }
            ],
            "warnings": ["The disk is nearly full."],
        }

    def _stop(self) -> None:
        self.stopped = True


@dataclass
class MemoryLink:
    """`dopq_client.link.Link` to an `InMemoryNode`.

    Attributes:
        answers: replaces the node's answer to a method: what a hostile or broken service could say.
        calls: the methods that were called.
    """

    node: InMemoryNode
    token: str | None
    answers: dict[str, Callable[..., Any]] = field(default_factory=dict)
    calls: list[str] = field(default_factory=list)

    def call(self, method: str, *arguments: object) -> Any:
        self.calls.append(method)
        try:
            sent = unpack(pack(list(arguments)), MAX_ITEMS)
        except NotPlain as error:
            raise UserError(f"The service cannot take this message: {error}.") from None
        try:
            if method in self.answers:
                return unpack(pack(self.answers[method](*sent)), MAX_ITEMS)
            visit = self.node.guard.admit(CONTROLLER, {"token": self.token}, Evidence(LOCAL))
            return unpack(self.node.guard.call(visit, CONTROLLER, method, sent, {}), MAX_ITEMS)
        except DopqError as error:
            raise error_from_wire(unpack(pack(error_to_wire(error)), MAX_ITEMS)) from None

    def close(self) -> None:
        self.calls.append("close")
