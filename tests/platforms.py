"""A DataPlatform over a real journal in a folder of its own, and short ways to bring a job into any state."""

from __future__ import annotations

from itertools import count
from pathlib import Path
from typing import Any

from dopq.accounts import Accounts
from dopq.config import GpuSettings, NodeSettings, Paths, QueueSettings
from dopq.container_handler.bundle_name import name_from_bundle
from dopq.data_platform import DataPlatform
from dopq.database import Database
from dopq.invariants.evidence import Evidence
from dopq.job import GpuId, ImageId, Job, JobSpec, Outcome, Reason, StateName, UserName
from dopq.ledger import Ledger
from dopq.outbox import Outbox
from dopq.results import Results
from dopq.store import Journal
from dopq.tokens import Tokens
from dopq.users import Role, User, Users
from tests.fakes import FakeClock

ANNA, BERT, OLGA = UserName("anna"), UserName("bert"), UserName("olga")
IMAGE = ImageId("sha256:" + "0" * 64)


def gpu(number: int) -> GpuId:
    return GpuId(f"GPU-{number}")


def open_descriptors() -> int:
    """How many files, sockets and pipes this process has open."""
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


class Home:
    """The folders, the journal and the owner of the truth of one node; users anna, bert and the admin olga.

    `restart` is what a new life of the node does: everything in memory is forgotten.
    """

    def __init__(
        self,
        folder: Path,
        settings: QueueSettings | None = None,
        clock: Any = None,
        gpu: GpuSettings | None = None,
    ) -> None:
        self.paths = Paths(folder, NodeSettings())
        self.paths.make()
        self.clock = clock or FakeClock()
        self.settings = settings or QueueSettings()
        self.gpu_settings = gpu or GpuSettings()
        self.outbox = Outbox(self.paths.outbox)
        self.results = Results(self.outbox, self.paths.jobs)
        self._keys = count()
        self.welcomed: list[UserName] = []
        self._open()
        self.tokens = {
            name: self.register(name, role)
            for name, role in {ANNA: Role.USER, BERT: Role.USER, OLGA: Role.ADMIN}.items()
        }

    def _open(self) -> None:
        self.database = Database(self.paths.journal)
        self.journal, self.users = Journal(self.database), Users(self.database)
        self.logins = Tokens(self.database, self.clock, days=90)
        self.accounts = Accounts(self.database, self.logins, self.clock, lambda user: self.welcomed.append(user.name))
        self.platform = DataPlatform(
            self.journal, self.users, self.clock, self.settings, "node1", gpu=self.gpu_settings
        )

    def restart(self, settings: QueueSettings | None = None, gpu: GpuSettings | None = None) -> DataPlatform:
        self.settings = settings or self.settings
        self.gpu_settings = gpu or self.gpu_settings
        self.close()
        self._open()
        return self.platform

    def register(self, name: str, role: Role = Role.USER) -> str:
        """Make somebody a user; their token."""
        user = self.users.add(name, role=role, weight=1.0, uid=None, now=self.clock.now())
        return self.logins.issue(user.name, "a test").token

    def evidence(self) -> Evidence:
        """What the invariants are held against, without an engine."""
        accounts = self.journal.accounts()
        ledger = Ledger(accounts, self.settings.half_life_s, self.settings.cpu_job_rate)
        with self.database.snapshot():
            return Evidence(self.journal.changed_since(0), self.journal.events(), accounts, ledger, self.clock.now())

    def close(self) -> None:
        self.database.close()

    def user(self, name: UserName) -> User:
        """Somebody who is registered."""
        user = self.users.by_name(name)
        assert user is not None
        return user

    # --- jobs ---

    def building(self, user: UserName = ANNA, bundle: str = "train.zip", key: str | None = None) -> Job:
        return self.platform.accept(user, bundle, key or f"key-{next(self._keys)}", name_from_bundle(bundle))

    def queued(
        self,
        user: UserName = ANNA,
        *,
        gpus: int = 0,
        slots: int | None = None,
        name: str = "train",
        image: ImageId = IMAGE,
        priority: int = 0,
        time_limit_s: int | None = None,
        has_input: bool = False,
        retries: int = 0,
    ) -> Job:
        spec = JobSpec(name, gpus=gpus, slots=slots, priority=priority, time_limit_s=time_limit_s, retries=retries)
        return self.platform.enqueue(self.building(user).id, spec, image, has_input=has_input)

    def starting(self, user: UserName = ANNA, gpus: frozenset[GpuId] = frozenset(), image: ImageId = IMAGE) -> Job:
        return self.platform.begin(self.queued(user, gpus=len(gpus), image=image).id, gpus)

    def running(self, user: UserName = ANNA, gpus: frozenset[GpuId] = frozenset(), image: ImageId = IMAGE) -> Job:
        return self.platform.mark_running(self.starting(user, gpus, image).id, self.clock.now())

    def ended(self, outcome: Outcome = StateName.SUCCEEDED, user: UserName = ANNA, after_s: float = 1.0) -> Job:
        job = self.running(user)
        self.clock.advance(after_s)
        reason = Reason(outcome, f"It is {outcome}.")
        return self.platform.finish(job.id, outcome, reason, at=self.clock.now(), exit_code=0)
