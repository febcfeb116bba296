"""The Provider: whose image is made next, what holds it up, and that every order gets one answer."""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn, TypeVar

import pytest

from dopq.config import NodeSettings, Paths, Settings
from dopq.container_handler.rules import rules_of
from dopq.disk import Floor
from dopq.errors import EngineRefused, EngineUnavailable
from dopq.handover import Abandon, Accepted, Alive, Built, FromProvider, GoesOn, Imaged, OnHold, Rejected
from dopq.image_maker import BuildLimits
from dopq.inbox_watch import WatchSettings
from dopq.job import JobId, StateName, UserName
from dopq.provider import Provider, ProviderSettings
from dopq.share import Share
from dopq.utils.cpu import Disk
from tests.bundles import config, zip_of
from tests.fakes import FakeClock, FakeEngine, Program
from tests.platforms import ANNA, BERT
from tests.waiting import wait_until

Message = TypeVar("Message", bound=FromProvider)
LONG_S = 20.0


class Bench:
    """A Provider with a fake engine and a disk as full as the test wants."""

    def __init__(self, folder: Path, places: int = 1) -> None:
        self.paths = Paths(folder, NodeSettings())
        self.paths.make()
        share = Share(self.paths)
        share.open()
        self.engine = FakeEngine()
        self.engine.add_image("base:1")
        self.said: list[FromProvider] = []
        self.free = 100
        settings = ProviderSettings(
            watch=WatchSettings(self.paths.inbox, self.paths.spool, self.paths.invalid, 0.2, 0.1, 0.5),
            share=share,
            jobs=self.paths.jobs,
            rules=rules_of(Settings(), folder, has_gpus=False),
            engine_url="",
            node_id="node",
            concurrency=places,
            build_limits=BuildLimits(60.0, None, 2**30),
            floor=Floor(10, 0),
            log_level="info",
            log_json=False,
        )
        self.provider = Provider(
            settings, self.engine, self.said.append, FakeClock(), lambda f: Disk(f, 1000, self.free)
        )

    def order(self, job: int, user: UserName = ANNA, *, step: str = "true", held: bool = False) -> None:
        """Order an image whose one step is `step`."""
        files = {"Dockerfile": f"FROM base:1\nRUN {step}\n", "container_config.json": config()}
        zip_of(self.paths.spool / f"key-{job}", files)
        log = self.paths.jobs / f"{job}.log"
        self.provider.hear(Accepted(f"key-{job}", JobId(job), user, f"{job}.zip", str(log), build=True, held=held))

    def block(self, step: str) -> None:
        """A step that goes on until its build is cancelled."""
        self.engine.programs["/bin/sh", "-c", step] = Program(runs_on=True)

    def heard(self, kind: type[Message]) -> list[Message]:
        return [message for message in self.said if isinstance(message, kind)]

    def wait_for(self, kind: type[Message], job: int) -> Message:
        wait_until(lambda: any(m.job == job for m in self.heard(kind)), LONG_S)  # type: ignore[union-attr]
        return next(m for m in self.heard(kind) if m.job == job)  # type: ignore[union-attr]


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    bench = Bench(tmp_path)
    yield bench
    bench.provider.stop()


def test_an_image_is_told_of_before_the_job_that_it_is_for(bench: Bench) -> None:
    bench.order(1)
    built = bench.wait_for(Built, 1)
    [imaged] = bench.heard(Imaged)
    assert (imaged.job, imaged.image) == (built.job, built.image)
    assert bench.said.index(imaged) < bench.said.index(built)


def test_one_users_builds_do_not_hold_up_anothers_first(bench: Bench) -> None:
    bench.block("sleep")
    bench.order(1, ANNA, step="sleep")
    for job in range(2, 7):
        bench.order(job, ANNA, step=f"echo {job}")
    bench.order(7, BERT, step="echo 7")
    bench.provider.hear(Abandon(JobId(1)))
    for job in range(2, 8):
        bench.wait_for(Built, job)
    assert [built.job for built in bench.heard(Built)].index(JobId(7)) == 0


def test_no_more_images_are_made_at_once_than_there_are_places(tmp_path: Path) -> None:
    bench = Bench(tmp_path, places=2)
    for job in range(1, 5):
        bench.block(f"sleep {job}")
        bench.order(job, UserName(f"user{job}"), step=f"sleep {job}")
    running = [thread.name for thread in threading.enumerate() if thread.name.startswith("build-")]
    assert sorted(running) == ["build-1", "build-2"]
    bench.provider.stop()


def test_an_order_that_waits_is_cancelled_without_a_build(bench: Bench) -> None:
    bench.block("sleep")
    bench.order(1, step="sleep")
    bench.order(2)
    bench.provider.hear(Abandon(JobId(2)))
    bench.provider.hear(Abandon(JobId(1)))
    bench.wait_for(Rejected, 1)
    bench.order(3)
    bench.wait_for(Built, 3)
    assert not [m for m in bench.said if getattr(m, "job", None) == 2]


def test_an_order_is_carried_out_once(bench: Bench) -> None:
    for _ in range(3):
        bench.order(1)
    bench.wait_for(Built, 1)
    bench.order(1)
    bench.order(2)
    bench.wait_for(Built, 2)
    assert len(bench.heard(Built)) == 2


def test_a_low_disk_holds_every_order_and_space_lets_them_go_on(bench: Bench) -> None:
    bench.free = 5
    bench.order(1)
    bench.order(2, BERT)
    bench.provider.beat()
    assert [hold.job for hold in bench.heard(OnHold)] == [1, 2]
    assert bench.heard(OnHold)[0].reason.code == "waiting_for_space"
    assert bench.heard(Built) == []
    bench.free = 10
    bench.provider.beat()
    for job in (1, 2):
        bench.wait_for(Built, job)
    assert [goes.job for goes in bench.heard(GoesOn)] == [1, 2]


def test_a_job_that_was_held_in_an_earlier_life_goes_on_in_this_one(bench: Bench) -> None:
    bench.order(1, held=True)
    bench.wait_for(Built, 1)
    assert next(type(m) for m in bench.said if not isinstance(m, Alive)) is GoesOn


def test_a_held_job_can_be_cancelled(bench: Bench) -> None:
    bench.free = 5
    bench.order(1)
    bench.provider.hear(Abandon(JobId(1)))
    bench.free = 100
    bench.order(2)
    bench.wait_for(Built, 2)
    assert [goes.job for goes in bench.heard(GoesOn)] == []


def test_a_build_that_fills_the_disk_is_held_and_built_again_when_there_is_space(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    def disk_full(*_: object, **__: object) -> None:
        bench.free = 0
        monkeypatch.undo()
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(bench.engine, "build", disk_full)
    bench.order(1)
    bench.wait_for(OnHold, 1)
    assert bench.heard(Rejected) == []
    bench.free = 100
    bench.provider.beat()
    bench.wait_for(Built, 1)


def test_a_build_that_fills_the_disk_each_time_is_given_up(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    tries = []

    def fills_the_disk(*_: object, **__: object) -> None:
        tries.append(1)
        bench.free = 0
        raise EngineRefused("The build stopped because the engine's disk is full.")

    monkeypatch.setattr(bench.engine, "build", fills_the_disk)
    bench.order(1)
    bench.wait_for(OnHold, 1)
    bench.free = 100
    bench.provider.beat()
    assert "disk is full" in bench.wait_for(Rejected, 1).reason.sentence
    assert len(tries) == 2


def test_what_the_engine_refuses_is_that_jobs_reason(bench: Bench) -> None:
    bench.engine.fail_next("build", EngineRefused("The disk quota is used up.", "Make room."))
    bench.order(1)
    rejected = bench.wait_for(Rejected, 1)
    assert rejected.outcome is StateName.BUILD_FAILED
    assert "quota" in rejected.reason.sentence


def test_a_defect_of_ours_is_that_jobs_reason_and_the_next_is_built(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    def defect(*_: object, **__: object) -> None:
        monkeypatch.undo()
        raise ZeroDivisionError

    monkeypatch.setattr(bench.engine, "build", defect)
    bench.order(1)
    assert bench.wait_for(Rejected, 1).reason.code == "internal"
    bench.order(2)
    bench.wait_for(Built, 2)


def test_too_large_an_image_fails_its_build(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench.engine, "image_bytes", lambda _: 2**31)
    bench.order(1)
    rejected = bench.wait_for(Rejected, 1)
    assert rejected.outcome is StateName.BUILD_FAILED
    assert "2147483648 bytes; this node allows 1073741824" in rejected.reason.sentence
    assert bench.heard(Imaged) == []


def test_a_build_log_that_the_share_refuses_ends_no_build(bench: Bench) -> None:
    files = {"Dockerfile": "FROM base:1\n", "container_config.json": config()}
    zip_of(bench.paths.spool / "key-1", files)
    nowhere = bench.paths.outbox / "away" / "build.log"
    bench.provider.hear(Accepted("key-1", JobId(1), ANNA, "1.zip", str(nowhere), build=True))
    bench.wait_for(Built, 1)


def test_the_heartbeat_tells_what_is_wrong(bench: Bench) -> None:
    bench.paths.share.rename(bench.paths.share.with_name("away"))
    bench.paths.share.mkdir()
    bench.provider.watch.look()
    bench.provider.beat()
    [beat] = bench.heard(Alive)
    assert "not mounted" in beat.troubles[0]
    assert beat.share_disk is not None


def test_an_engine_that_hangs_keeps_the_provider_from_nothing(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    answers, gave_up = threading.Event(), threading.Event()

    def hangs() -> NoReturn:
        answers.wait(LONG_S)
        gave_up.set()
        raise EngineUnavailable("It does not answer.")

    monkeypatch.setattr(bench.engine, "capacity", hangs)
    bench.order(1)
    bench.provider.beat()
    assert bench.heard(Alive)
    assert not gave_up.is_set(), "nobody has waited for it"
    bench.wait_for(Built, 1)
    answers.set()


def test_builds_end_with_the_provider(bench: Bench) -> None:
    bench.block("sleep")
    bench.order(1, step="sleep")
    bench.order(2)
    bench.provider.stop()
    assert bench.heard(Rejected) == []
    assert bench.heard(Built) == []
