"""The Provider is watched: one that dies or hangs is replaced, and its successor is told everything again."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection
from pathlib import Path
from typing import cast

import psutil
import pytest

from dopq.handover import Accepted, Alive, Built, Declined, Imaged, Known, OnHold, Taken
from dopq.images import Images
from dopq.job import Building, Held, ImageId, Job, JobSpec, Queued, Reason
from dopq.provider import ProviderSettings
from dopq.supervisor import Supervisor
from dopq.utils.clock import SystemClock
from tests.platforms import ANNA, Home
from tests.waiting import wait_until

LONG_S = 20.0
FULL = Reason("waiting_for_space", "Waiting for space.")


def note(pipe: Connection) -> None:
    """A Provider that writes down what it is told, and lives."""
    pipe.send(Alive())
    with Path(os.environ["DOPQ_TEST_NOTES"]).open("a") as notes:
        while True:
            if pipe.poll(0.05):
                print(f"{os.getpid()} {pipe.recv()}", file=notes, flush=True)
            pipe.send(Alive(troubles=(f"pid {os.getpid()}",)))


def taker(_: ProviderSettings, pipe: Connection) -> None:
    """One that has taken a bundle, and one of somebody who is not registered."""
    pipe.send(Taken("key-1", ANNA, "one.zip"))
    pipe.send(Taken("key-2", cast("type[ANNA]", "mallory"), "two.zip"))  # type: ignore[arg-type]
    note(pipe)


def listener(_: ProviderSettings, pipe: Connection) -> None:
    note(pipe)


def talker(_: ProviderSettings, pipe: Connection) -> None:
    """One that says far more than a pipe holds before it reads anything."""
    for number in range(20_000):
        pipe.send(Alive(troubles=(f"{number}",)))
    note(pipe)


def builder(_: ProviderSettings, pipe: Connection) -> None:
    """One that builds what it is told at once, and says so twice."""
    while True:
        message = pipe.recv()
        if isinstance(message, Accepted) and message.build:
            image = ImageId("sha256:aa")
            for _ in range(2):
                pipe.send(Imaged(message.job, image, "f1"))
                pipe.send(Built(message.job, JobSpec("built"), image, has_input=False))


def holder(_: ProviderSettings, pipe: Connection) -> None:
    """One that has no space."""
    while True:
        message = pipe.recv()
        if isinstance(message, Accepted):
            pipe.send(OnHold(message.job, FULL))


class Bench:
    def __init__(self, folder: Path) -> None:
        self.home = Home(folder)
        self.images = Images(self.home.database)
        self.notes = folder / "notes"
        self.notes.touch()
        self.supervisor: Supervisor | None = None

    def start(self, target: Callable[[ProviderSettings, Connection], None], hang_s: float = LONG_S) -> Supervisor:
        self.supervisor = Supervisor(
            self.home.platform,
            self.home.users,
            self.images,
            self.home.outbox,
            cast("ProviderSettings", None),  # these Providers need none
            SystemClock(),
            target,
            hang_s,
        )
        self.supervisor.start()
        wait_until(lambda: self.supervisor and self.supervisor.pid, LONG_S)
        return self.supervisor

    def state(self, job: Job) -> object:
        return self.home.platform.job(job.id).state

    def told(self, kind: type, pid: int | None = None) -> int:
        """How often a message of a kind was heard, by one life or by any."""
        lines = self.notes.read_text().splitlines()
        return sum(f" {kind.__name__}(" in line and (not pid or line.startswith(f"{pid} ")) for line in lines)


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    bench = Bench(tmp_path)
    monkeypatch.setenv("DOPQ_TEST_NOTES", str(bench.notes))
    yield bench
    if bench.supervisor:
        bench.supervisor.stop(LONG_S)
    bench.home.platform.assert_consistent()
    bench.home.close()


def test_what_is_taken_becomes_a_job_unless_nobody_knows_its_user(bench: Bench) -> None:
    bench.start(taker)
    wait_until(lambda: bench.told(Accepted) and bench.told(Declined), LONG_S)
    [job] = bench.home.platform.alive()
    assert (job.user, job.bundle, job.key) == (ANNA, "one.zip", "key-1")


@pytest.mark.parametrize("blow", [signal.SIGKILL, signal.SIGSTOP])
def test_a_provider_that_dies_or_hangs_is_replaced_and_takes_nothing_twice(bench: Bench, blow: signal.Signals) -> None:
    supervisor = bench.start(taker, hang_s=4.0)  # with time to import what it needs
    wait_until(lambda: bench.told(Accepted), LONG_S)
    first = supervisor.pid
    assert first is not None
    struck_at = time.monotonic()
    os.kill(first, blow)
    wait_until(lambda: supervisor.pid not in {None, first}, LONG_S)
    assert time.monotonic() - struck_at < 15
    assert not psutil.pid_exists(first), "the one that hung does not wake up beside the new one"
    second = supervisor.pid
    wait_until(lambda: bench.told(Accepted, second) >= 2, LONG_S)  # the order again, and the answer to the same drop
    assert len(bench.home.platform.alive()) == 1


def test_a_new_life_is_told_what_can_be_found_again_and_what_is_to_be_built(bench: Bench) -> None:
    bench.images.add(bench.home.queued().id, ImageId("sha256:aa"), "f1")
    bench.images.add(bench.home.queued().id, ImageId("sha256:bb"), "")
    bench.home.building()
    bench.home.platform.hold(bench.home.building().id, FULL)
    bench.start(listener)
    wait_until(lambda: bench.told(Accepted) == 2, LONG_S)
    assert bench.told(Known) == 1
    notes = bench.notes.read_text()
    assert notes.index("Known(") < notes.index("Accepted(")
    assert notes.count("held=True") == 1


def test_a_job_that_is_built_is_queued_once_and_its_image_remembered(bench: Bench) -> None:
    job = bench.home.building()
    bench.start(builder)
    wait_until(lambda: isinstance(bench.state(job), Queued), LONG_S)
    [made] = bench.images.all()
    assert (made.job, made.image, made.fingerprint, made.unneeded_since) == (job.id, "sha256:aa", "f1", None)


def test_a_job_that_has_no_space_is_held(bench: Bench) -> None:
    bench.start(holder)
    job = bench.home.building()
    wait_until(lambda: isinstance(bench.state(job), Held), LONG_S)


def test_both_sides_may_have_more_to_say_than_a_pipe_holds(bench: Bench) -> None:
    for _ in range(500):
        bench.home.building()
    bench.start(talker)
    wait_until(lambda: bench.told(Accepted) == 500, 60.0)


def test_a_share_that_refuses_does_not_end_the_provider(bench: Bench) -> None:
    bench.home.paths.outbox.rmdir()
    bench.home.paths.outbox.touch()
    supervisor = bench.start(listener)
    job = bench.home.building()
    wait_until(lambda: bench.told(Accepted), LONG_S)
    assert isinstance(bench.state(job), Building)
    first = supervisor.pid
    bench.home.building()
    wait_until(lambda: bench.told(Accepted) == 2, LONG_S)
    assert supervisor.pid == first


def test_the_last_beat_is_there_to_be_read(bench: Bench) -> None:
    supervisor = bench.start(listener)
    wait_until(lambda: supervisor.last_beat.troubles == (f"pid {supervisor.pid}",), LONG_S)
