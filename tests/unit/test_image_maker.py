"""The image of a job: found again, built, or refused for its size."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from dopq import image_maker
from dopq.errors import BuildFailed, EngineUnavailable
from dopq.handover import Accepted, Imaged, Known
from dopq.image_maker import BuildLimits, ImageMaker
from dopq.job import ImageId, JobId
from tests.fakes import FakeEngine, Program
from tests.platforms import ANNA, BERT
from tests.unit.test_fingerprint import context


class Bench:
    def __init__(self, folder: Path) -> None:
        self.engine = FakeEngine()
        self.engine.add_image("base:1")
        self.maker = self.new_life()
        self.folder = folder
        self.log: list[bytes] = []
        self.jobs = 0

    def new_life(self) -> ImageMaker:
        return ImageMaker(self.engine, BuildLimits(60.0, None, 2**20), "node")

    def make(
        self, dockerfile: str = "FROM base:1\n", user: str = ANNA, cancelled: threading.Event | None = None
    ) -> tuple[Imaged, bool]:
        """What is to be remembered, and whether the image was built for it."""
        self.jobs += 1
        order = Accepted(f"key-{self.jobs}", JobId(self.jobs), user, "a.zip", "", build=True)  # type: ignore[arg-type]
        self.log.clear()
        cancelled = cancelled or threading.Event()
        tar = context(self.folder / f"{self.jobs}.tar", dockerfile)
        image = self.maker.make(order, tar, self.log.append, cancelled)
        made = self.maker.admit(order, image, cancelled)
        assert self.engine.image(f"dopq/{user}/{self.jobs}") == image
        return made, b"used again" not in b"".join(self.log)


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def test_the_same_content_is_not_built_again(bench: Bench) -> None:
    first, _ = bench.make()
    second, built = bench.make()
    assert not built
    assert (second.image, second.fingerprint) == (first.image, first.fingerprint)
    assert second.job != first.job


def test_a_later_life_finds_it_too(bench: Bench) -> None:
    first, _ = bench.make()
    bench.maker = bench.new_life()
    bench.maker.learn(Known(ANNA, first.fingerprint, first.image))
    assert not bench.make()[1]


def test_another_users_image_is_not_given_out(bench: Bench) -> None:
    bench.make(user=ANNA)
    assert bench.make(user=BERT)[1]


def test_an_image_that_is_gone_is_built_again(bench: Bench) -> None:
    first, _ = bench.make()
    bench.engine.remove_image(first.image)
    assert bench.make()[1]


def test_a_base_image_that_moved_is_built_on_again(bench: Bench) -> None:
    bench.make()
    bench.engine.add_image("base:1", ("another", "command"))
    assert bench.make()[1]


def test_too_large_an_image_is_removed_and_both_numbers_are_told(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    first, _ = bench.make()
    bench.engine.remove_image(first.image)
    bench.maker = bench.new_life()
    monkeypatch.setattr(bench.engine, "image_bytes", lambda _: 2**20 + 1)
    with pytest.raises(BuildFailed, match=r"has 1048577 bytes; this node allows 1048576"):
        bench.make()
    assert bench.engine.image(f"dopq/anna/{bench.jobs}") is None


@pytest.mark.parametrize("verb", ["image", "build", "image_bytes"])
def test_an_engine_that_is_away_is_waited_for(bench: Bench, monkeypatch: pytest.MonkeyPatch, verb: str) -> None:
    monkeypatch.setattr(image_maker, "ENGINE_RETRY_S", 0.01)
    bench.engine.fail_next(verb, EngineUnavailable("It is away."), times=3)
    assert bench.make()[1]


def test_waiting_for_an_engine_can_be_cancelled(bench: Bench) -> None:
    bench.engine.fail_next("build", EngineUnavailable("It is away."), times=1000)
    cancelled = threading.Event()
    cancelled.set()
    with pytest.raises(BuildFailed):
        bench.make(cancelled=cancelled)


def test_a_build_that_runs_can_be_cancelled(bench: Bench) -> None:
    bench.engine.programs["/bin/sh", "-c", "sleep"] = Program(log=b"begun\n", runs_on=True)
    cancelled = threading.Event()
    bench.log = _Watching(lambda text: cancelled.set() if text == b"begun\n" else None)
    with pytest.raises(BuildFailed, match="cancelled"):
        bench.make("FROM base:1\nRUN sleep\n", cancelled=cancelled)


class _Watching(list[bytes]):
    def __init__(self, seen: Callable[[bytes], None]) -> None:
        super().__init__()
        self._seen = seen

    def append(self, text: bytes) -> None:
        super().append(text)
        self._seen(text)


def test_what_the_engine_calls_an_image_by_is_kept(bench: Bench) -> None:
    made, built = bench.make()
    assert built
    assert made.image == ImageId(bench.engine.image("dopq/anna/1") or "")
