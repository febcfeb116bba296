"""What every container engine keeps, the fake one as well as real ones, so that the fake cannot drift into fiction.

A program is written twice: as a shell script for real engines, and as what the fake shall make of it.
"""

from __future__ import annotations

import io
import re
import signal
import tarfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, timedelta
from itertools import count

import pytest

from dopq.container_handler import docker_engine as docker_engine_module
from dopq.container_handler.engine import (
    Absent,
    Alive,
    ContainerEngine,
    ContainerName,
    ContainerRequest,
    Created,
    Exited,
)
from dopq.container_handler.image_name import BaseImage
from dopq.errors import BuildFailed, EngineRefused
from dopq.job import ImageId
from tests import saved_images
from tests.fakes import FakeEngine, Program

LONG_S = 30.0  # far beyond what any step takes

SLEEPER = ("echo begun; exec sleep 600", Program(log=b"begun\n", runs_on=True))
GREETER = ("echo hello", Program(log=b"hello\n"))


class Bench:
    """An engine under test, and short ways to put containers on it."""

    def __init__(self, engine: ContainerEngine, image: str, prefix: str) -> None:
        found = engine.image(image)
        assert found is not None
        self.engine, self.base, self.image, self.prefix = engine, image, found, prefix
        self.names: list[ContainerName] = []
        self.tags: list[str] = []
        self._numbers = count(1)

    def name(self) -> ContainerName:
        name = ContainerName(f"{self.prefix}-{next(self._numbers)}")
        self.names.append(name)
        return name

    def tag(self) -> str:
        tag = f"{self.prefix}-{next(self._numbers)}:1"
        self.tags.append(tag)
        return tag

    def command(self, script: str, like: Program) -> tuple[str, ...]:
        command = ("/bin/sh", "-c", script)
        if isinstance(self.engine, FakeEngine):
            self.engine.programs[command] = like
        return command

    def request(self, program: tuple[str, Program], **settings: object) -> ContainerRequest:
        details = {"labels": {}, "image": self.image, **settings}
        return ContainerRequest(name=self.name(), command=self.command(*program), **details)  # type: ignore[arg-type]

    def created(self, program: tuple[str, Program], **settings: object) -> ContainerName:
        request = self.request(program, **settings)
        self.engine.create(request)
        return request.name

    def started(self, program: tuple[str, Program], **settings: object) -> ContainerName:
        name = self.created(program, **settings)
        self.engine.start(name)
        return name

    def ended(self, program: tuple[str, Program], **settings: object) -> tuple[ContainerName, Exited]:
        name = self.started(program, **settings)
        end = self.engine.wait(name, LONG_S)
        assert isinstance(end, Exited)
        return name, end

    def says(self, image: ImageId) -> bytes:
        """What the image's own command writes."""
        name = self.name()
        self.engine.create(ContainerRequest(name, image, labels={}))
        self.engine.start(name)
        return b"".join(self.engine.log(name))

    def build(
        self,
        *lines: str,
        log: Callable[[bytes], object] = lambda _: None,
        cancelled: threading.Event | None = None,
        timeout_s: float = LONG_S,
        memory_bytes: int | None = None,
        bases: tuple[BaseImage, ...] = (),
    ) -> tuple[str, ImageId]:
        tag = self.tag()
        context, labels = dockerfile(*lines), {"dopq.test": self.prefix}
        cancelled = cancelled or threading.Event()
        image = self.engine.build(
            context,
            tag=tag,
            labels=labels,
            log=log,
            cancelled=cancelled,
            timeout_s=timeout_s,
            memory_bytes=memory_bytes,
            bases=bases,
        )
        return tag, image

    def tidy(self) -> None:
        for name in self.names:
            self.engine.remove(name)
        for tag in self.tags:
            self.engine.remove_image(tag)


REAL = pytest.param("real", marks=pytest.mark.engine)
CLASSIC = pytest.param("classic", marks=pytest.mark.engine)


@pytest.fixture(params=["fake", REAL])
def bench(request: pytest.FixtureRequest) -> Iterator[Bench]:
    yield from make_bench(request)


@pytest.fixture(params=["fake", REAL, CLASSIC])
def builder(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    """Like `bench`, and once more with the builder of an engine that has no BuildKit."""
    if request.param == "classic":
        monkeypatch.setattr(docker_engine_module, "_has_buildkit", lambda _: False)
    yield from make_bench(request)


def make_bench(request: pytest.FixtureRequest) -> Iterator[Bench]:
    unique = request.getfixturevalue("unique")
    if request.param == "fake":
        fake = FakeEngine()
        fake.add_image("busybox:1")
        bench = Bench(fake, "busybox:1", unique)
    else:
        real, image = request.getfixturevalue("docker_engine"), request.getfixturevalue("busybox_image")
        bench = Bench(real, image, f"{unique}-{next(_bench_numbers)}")
    yield bench
    bench.tidy()


_bench_numbers = count(1)


def dockerfile(*lines: str) -> io.BytesIO:
    """A build context that holds only a Dockerfile."""
    text, stream = "\n".join(lines).encode(), io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as tar:
        entry = tarfile.TarInfo("Dockerfile")
        entry.size = len(text)
        tar.addfile(entry, io.BytesIO(text))
    stream.seek(0)
    return stream


# --- the engine itself -------------------------------------------------------------------------------------------------


def test_the_engine_says_what_it_has(bench: Bench) -> None:
    capacity = bench.engine.capacity()
    assert capacity.version
    assert capacity.cpus >= 1
    assert capacity.memory_bytes > 1 << 28
    assert capacity.has_buildkit


# --- images ------------------------------------------------------------------------------------------------------------


def test_an_image_is_found_by_name_and_by_id(bench: Bench) -> None:
    assert bench.image.startswith("sha256:")
    assert bench.engine.image(bench.image) == bench.image


def test_an_unknown_image_is_none(bench: Bench) -> None:
    assert bench.engine.image(f"{bench.prefix}-nothing:1") is None


def test_an_imported_image_runs_its_command(bench: Bench, busybox_root: io.BytesIO) -> None:
    tag, _ = bench.tag(), bench.command("echo imported", Program(log=b"imported\n"))
    image = bench.engine.import_image(busybox_root, reference=tag, changes=("ENV PATH=/bin", "CMD echo imported"))
    assert bench.engine.image(tag) == image
    assert bench.says(image) == b"imported\n"


def test_a_loaded_image_runs_its_command_under_the_tag_that_it_was_given(
    bench: Bench, busybox_root: io.BytesIO
) -> None:
    root = busybox_root.read()
    command = bench.command("echo loaded", Program(log=b"loaded\n"))
    archive = saved_images.archive(
        [root], saved_images.config_of([root], Cmd=list(command), Env=["PATH=/bin"]), tags=None
    )
    tag = bench.tag()
    image = bench.engine.load(io.BytesIO(archive), tag=tag)
    assert bench.engine.image(tag) == image
    assert bench.says(image) == b"loaded\n"
    assert bench.engine.load(io.BytesIO(archive), tag=tag) == image


@pytest.mark.parametrize("data", [b"", b"hello" * 1000, saved_images.layer({"a": b"1"})])
def test_what_is_no_image_is_not_loaded(bench: Bench, data: bytes) -> None:
    with pytest.raises(EngineRefused):
        bench.engine.load(io.BytesIO(data), tag=bench.tag())


def test_a_removed_image_is_gone_and_removing_it_again_is_fine(bench: Bench) -> None:
    tag, _ = bench.build(f"FROM {bench.base}")
    bench.engine.remove_image(tag)
    assert bench.engine.image(tag) is None
    bench.engine.remove_image(tag)


def test_an_image_stays_as_long_as_it_bears_a_name(bench: Bench) -> None:
    tag, image = bench.build(f"FROM {bench.base}", f"ENV ONLY={bench.prefix}")
    second = bench.tag()
    assert bench.engine.tag(image, second)
    assert bench.engine.tag(image, second)
    bench.engine.remove_image(tag)
    assert bench.engine.image(second) == image
    bench.engine.remove_image(second)
    assert bench.engine.image(image) is None
    assert not bench.engine.tag(image, second)


def test_a_name_goes_over_to_the_image_that_it_is_given_to(bench: Bench) -> None:
    tag, first = bench.build(f"FROM {bench.base}", f"ENV FIRST={bench.prefix}")
    other, second = bench.build(f"FROM {bench.base}", f"ENV SECOND={bench.prefix}")
    assert bench.engine.tag(second, tag)
    assert bench.engine.image(tag) == bench.engine.image(other) == second
    bench.engine.remove_image(first)


def test_an_image_has_a_size_while_it_is_there(bench: Bench) -> None:
    tag, image = bench.build(f"FROM {bench.base}", f"ENV SIZE={bench.prefix}")
    assert 2**19 <= (bench.engine.image_bytes(image) or 0) < 2**30
    bench.engine.remove_image(tag)
    assert bench.engine.image_bytes(image) is None


def test_a_build_returns_the_image_that_its_tag_names(builder: Bench) -> None:
    builder.command("true", Program())
    tag, image = builder.build(f"FROM {builder.base}", "RUN true", "CMD echo built")
    assert builder.engine.image(tag) == image


def test_a_build_starts_from_an_image_that_only_this_machine_has(builder: Bench) -> None:
    builder.command("echo from here", Program(log=b"from here\n"))
    base, _ = builder.build(f"FROM {builder.base}", "CMD echo from here")
    _, image = builder.build(f"FROM {base}")
    assert builder.says(image) == b"from here\n"


def test_a_build_logs_its_steps_and_what_they_say(builder: Bench) -> None:
    step = f"echo $((6 * 7)) {builder.prefix}"  # unlike any other, so that it runs instead of coming from the cache
    builder.command(step, Program(log=f"42 {builder.prefix}\n".encode()))
    said: list[bytes] = []
    builder.build(f"FROM {builder.base}", f"RUN {step}", log=said.append)
    text = b"".join(said).decode()
    assert f"RUN {step}" in text
    assert f"\n42 {builder.prefix}\n" in text


def test_a_step_that_fails_is_named_with_its_last_words(builder: Bench) -> None:
    builder.command("echo no such package; exit 7", Program(log=b"no such package\n", exit_code=7))
    with pytest.raises(BuildFailed) as failed:
        builder.build(f"FROM {builder.base}", "RUN echo no such package; exit 7")
    assert "RUN echo no such package; exit 7" in failed.value.message
    assert "exit code 7" in failed.value.message
    assert '"no such package"' in failed.value.message


def test_a_build_whose_later_stage_fails_has_failed(builder: Bench) -> None:
    builder.command("exit 7", Program(exit_code=7))
    with pytest.raises(BuildFailed, match="exit code 7"):
        builder.build(f"FROM {builder.base}", f"FROM {builder.base}", "RUN exit 7")


def test_a_base_image_that_brings_instructions_of_its_own_is_refused(builder: Bench) -> None:
    base, _ = builder.build(f"FROM {builder.base}", "ONBUILD ADD http://127.0.0.1:1/ /x")
    with pytest.raises(BuildFailed, match=r"brings instructions of its own.*http://127"):
        builder.build(f"FROM {base}", bases=(BaseImage(base),))


def test_a_base_image_is_had_for_one_platform(builder: Bench) -> None:
    builder.build(f"FROM {builder.base}", bases=(BaseImage(builder.base, "linux/amd64"),))
    with pytest.raises(BuildFailed, match="for linux/s390x, and this node has"):
        builder.build(f"FROM {builder.base}", bases=(BaseImage(builder.base, "linux/s390x"),))


def test_a_base_image_that_is_nowhere_is_named_before_anything_is_built(builder: Bench) -> None:
    nowhere = BaseImage("127.0.0.1:1/nobody/has/this:1")
    with pytest.raises(BuildFailed, match=r"base image 127\.0\.0\.1:1/nobody/has/this:1 is not on this machine"):
        builder.build(f"FROM {builder.base}", bases=(nowhere,))


def test_a_base_image_that_cannot_be_had_is_named(builder: Bench) -> None:
    with pytest.raises(BuildFailed, match=r"127\.0\.0\.1:1/nobody/has/this"):
        builder.build("FROM 127.0.0.1:1/nobody/has/this:1")


def test_a_cancelled_build_ends_within_a_second(builder: Bench) -> None:
    builder.command("echo begun; sleep 600", Program(log=b"begun\n", runs_on=True))
    cancelled, cancelled_at = threading.Event(), list[float]()

    def cancel_when_begun(text: bytes) -> None:
        if b"begun\n" in text.replace(b"echo begun", b"") and not cancelled_at:
            cancelled_at.append(time.monotonic())
            cancelled.set()

    with pytest.raises(BuildFailed, match="cancelled"):
        builder.build(
            f"FROM {builder.base}",
            "RUN echo begun; sleep 600",
            log=cancel_when_begun,
            cancelled=cancelled,
        )
    assert time.monotonic() - cancelled_at[0] < 1


def test_a_build_that_is_cancelled_beforehand_does_nothing(builder: Bench) -> None:
    cancelled = threading.Event()
    cancelled.set()
    builder.command("sleep 600", Program(runs_on=True))
    with pytest.raises(BuildFailed, match="cancelled"):
        builder.build(f"FROM {builder.base}", "RUN sleep 600", cancelled=cancelled)


def test_a_build_that_takes_too_long_is_broken_off(builder: Bench) -> None:
    builder.command("sleep 600", Program(runs_on=True))
    with pytest.raises(BuildFailed, match=r"longer than 0\.5 seconds"):
        builder.build(f"FROM {builder.base}", "RUN sleep 600", timeout_s=0.5)


# --- the life of a container -------------------------------------------------------------------------------------------


def test_a_container_goes_from_absent_to_absent(bench: Bench) -> None:
    request = bench.request(SLEEPER)
    assert bench.engine.observe(request.name) == Absent()
    bench.engine.create(request)
    assert bench.engine.observe(request.name) == Created()
    bench.engine.start(request.name)
    alive = bench.engine.observe(request.name)
    assert isinstance(alive, Alive)
    bench.engine.stop(request.name, grace_s=5)
    exited = bench.engine.observe(request.name)
    assert isinstance(exited, Exited)
    assert exited.started_at == alive.started_at
    bench.engine.remove(request.name)
    assert bench.engine.observe(request.name) == Absent()


def test_times_are_utc_and_in_order(bench: Bench) -> None:
    _, end = bench.ended(GREETER)
    assert end.started_at.tzinfo is end.finished_at.tzinfo is UTC
    assert timedelta(0) <= end.finished_at - end.started_at < timedelta(seconds=LONG_S)


@pytest.mark.parametrize("exit_code", [0, 3, 255])
def test_the_exit_code_comes_back(bench: Bench, exit_code: int) -> None:
    _, end = bench.ended((f"exit {exit_code}", Program(exit_code=exit_code)))
    assert (end.exit_code, end.out_of_memory, end.error) == (exit_code, False, "")


def test_a_process_that_a_signal_ends_exits_with_128_and_its_number(bench: Bench) -> None:
    _, end = bench.ended(("kill -SEGV $$", Program(exit_code=139)))
    assert end.exit_code == 128 + signal.SIGSEGV


def test_running_out_of_memory_is_told(bench: Bench) -> None:
    script = "dd if=/dev/zero of=/dev/null bs=256M count=1; code=$?; sleep 0.2; exit $code"
    _, end = bench.ended((script, Program(exit_code=137, out_of_memory=True)), memory_bytes=32 << 20)
    assert end.out_of_memory
    assert end.exit_code == 137


def test_a_container_tells_what_it_was_made_from(bench: Bench) -> None:
    name = bench.created(GREETER, labels={"dopq.test.origin": "1"})
    origin = bench.engine.origin(name)
    assert origin is not None
    assert origin.image == bench.image
    assert origin.labels["dopq.test.origin"] == "1"
    bench.engine.remove(name)
    assert bench.engine.origin(name) is None


def test_creating_twice_leaves_the_first_container_as_it_is(bench: Bench) -> None:
    request = bench.request(SLEEPER, labels={"dopq.test": "mine"})
    bench.engine.create(request)
    bench.engine.start(request.name)
    before = bench.engine.observe(request.name)
    bench.engine.create(request)
    assert bench.engine.observe(request.name) == before


def test_a_name_that_somebody_else_uses_is_refused(bench: Bench) -> None:
    theirs = bench.request(GREETER, labels={"dopq.test": "theirs"})
    bench.engine.create(theirs)
    mine = replace(theirs, labels={"dopq.test": "mine"})
    with pytest.raises(EngineRefused, match="in use"):
        bench.engine.create(mine)


def test_an_image_that_is_not_there_is_refused(bench: Bench) -> None:
    with pytest.raises(EngineRefused, match="No such image"):
        bench.created(GREETER, image=f"{bench.prefix}-nothing:1")


def test_starting_twice_is_starting_once(bench: Bench) -> None:
    name = bench.started(SLEEPER)
    before = bench.engine.observe(name)
    bench.engine.start(name)
    assert bench.engine.observe(name) == before


def test_a_container_that_has_run_is_not_run_again(bench: Bench) -> None:
    name, end = bench.ended(GREETER)
    bench.engine.start(name)
    assert bench.engine.observe(name) == end
    assert b"".join(bench.engine.log(name)) == b"hello\n"


def test_starting_what_is_not_there_is_refused(bench: Bench) -> None:
    with pytest.raises(EngineRefused, match="No such container"):
        bench.engine.start(bench.name())


def test_a_container_joins_the_network_of_one_that_runs_and_of_no_other(bench: Bench) -> None:
    other = bench.started(SLEEPER)
    joins = bench.created(GREETER, namespace=other)
    bench.engine.start(joins)
    assert isinstance(bench.engine.wait(joins, LONG_S), Exited)
    late = bench.created(GREETER, namespace=other)
    bench.engine.remove(other)
    with pytest.raises(EngineRefused):
        bench.engine.start(late)


def test_a_process_that_cannot_be_started_is_refused_and_counts_as_ended(bench: Bench) -> None:
    words = "unable to find user nobody-knows-me"
    bench.command("true", Program(start_error=words))
    _, image = bench.build(f"FROM {bench.base}", "USER nobody-knows-me")
    name = bench.created(("true", Program(start_error=words)), image=image)
    for _ in range(2):
        with pytest.raises(EngineRefused, match=words):
            bench.engine.start(name)
    end = bench.engine.observe(name)
    assert isinstance(end, Exited)
    assert words in end.error
    assert end.exit_code != 0
    assert bench.engine.wait(name, LONG_S) == end


def test_a_command_that_does_not_exist_ends_with_127(bench: Bench) -> None:
    _, end = bench.ended(("exec /no/such/command", Program(exit_code=127)))
    assert end.exit_code == 127


# --- waiting -----------------------------------------------------------------------------------------------------------


def test_waiting_for_a_container_that_runs_on_ends_with_none(bench: Bench) -> None:
    assert bench.engine.wait(bench.started(SLEEPER), 0.2) is None


def test_waiting_for_no_time_is_looking(bench: Bench) -> None:
    assert bench.engine.wait(bench.started(SLEEPER), 0) is None
    name, end = bench.ended(GREETER)
    assert bench.engine.wait(name, 0) == end


def test_waiting_for_what_is_not_there_ends_at_once(bench: Bench) -> None:
    assert bench.engine.wait(bench.name(), LONG_S) == Absent()


def test_a_container_that_was_not_started_yet_is_waited_for(bench: Bench) -> None:
    assert bench.engine.wait(bench.created(GREETER), 0.2) is None


def test_a_waiting_thread_hears_of_the_end(bench: Bench) -> None:
    name = bench.started(SLEEPER)
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(bench.engine.wait, name, LONG_S)
        bench.engine.stop(name, grace_s=5)
        assert isinstance(waiting.result(LONG_S), Exited)


# --- the log -----------------------------------------------------------------------------------------------------------


def test_the_log_is_the_same_bytes_each_time(bench: Bench) -> None:
    script = "i=0; while test $i -lt 200; do echo out $i; echo err $i >&2; i=$((i+1)); done"
    text = b"".join(b"out %d\nerr %d\n" % (i, i) for i in range(200))
    name, _ = bench.ended((script, Program(log=text)))
    first = b"".join(bench.engine.log(name))
    assert sorted(first.splitlines()) == sorted(text.splitlines())
    assert b"".join(bench.engine.log(name)) == first


def test_the_log_keeps_control_characters_and_lines_that_have_no_end(bench: Bench) -> None:
    script = r"printf '10%%\r20%%\000\001\342\226\210 no newline'"
    text = b"10%\r20%\x00\x01\xe2\x96\x88 no newline"
    name, _ = bench.ended((script, Program(log=text)))
    assert b"".join(bench.engine.log(name)) == text


def test_bytes_of_the_log_that_are_not_utf8_are_marked(bench: Bench) -> None:
    name, _ = bench.ended((r"printf '\377!\n'", Program(log=b"\xff!\n")))
    assert b"".join(bench.engine.log(name)) == "\ufffd!\n".encode()


def test_a_line_of_any_length_comes_whole(bench: Bench) -> None:
    script = "yes x | head -c 200000 | tr -d '\\n'; echo"
    name, _ = bench.ended((script, Program(log=b"x" * 100_000 + b"\n")))
    assert b"".join(bench.engine.log(name)) == b"x" * 100_000 + b"\n"


def test_the_log_is_followed_while_the_process_runs(bench: Bench) -> None:
    name = bench.started(SLEEPER)
    log = bench.engine.log(name)
    assert next(log) == b"begun\n"
    assert isinstance(bench.engine.observe(name), Alive)
    bench.engine.stop(name, grace_s=5)
    assert list(log) == []


def test_a_log_may_be_left_before_its_end(bench: Bench) -> None:
    name = bench.started(SLEEPER)
    log = bench.engine.log(name)
    next(log)
    log.close()  # type: ignore[attr-defined]
    assert isinstance(bench.engine.observe(name), Alive)


def test_a_container_that_has_not_run_has_an_empty_log(bench: Bench) -> None:
    assert list(bench.engine.log(bench.created(GREETER))) == []


def test_the_log_of_what_is_not_there_is_refused(bench: Bench) -> None:
    with pytest.raises(EngineRefused, match="No such container"):
        next(bench.engine.log(bench.name()))


# --- use, stop, remove, list -------------------------------------------------------------------------------------------


def test_a_running_container_uses_something(bench: Bench) -> None:
    use = bench.engine.use(bench.started(SLEEPER))
    assert use.cpu_s is not None
    assert use.cpu_s >= 0
    assert use.memory_peak_bytes is not None
    assert use.memory_peak_bytes > 0
    assert use.memory_bytes is not None
    assert 0 <= use.memory_bytes <= use.memory_peak_bytes


def test_what_has_ended_or_is_not_there_tells_no_use(bench: Bench) -> None:
    name, _ = bench.ended(GREETER)
    for use in (bench.engine.use(name), bench.engine.use(bench.name())):
        assert (use.cpu_s, use.memory_bytes, use.memory_peak_bytes) == (None, None, None)


def test_a_process_that_obeys_its_stop_signal_ends_well_before_the_grace_period(bench: Bench) -> None:
    name, begun = bench.started(SLEEPER), time.monotonic()
    bench.engine.stop(name, grace_s=20)
    assert time.monotonic() - begun < 10
    end = bench.engine.observe(name)
    assert isinstance(end, Exited)
    assert end.exit_code == 128 + signal.SIGTERM


def test_a_process_that_ignores_its_stop_signal_is_killed_after_the_grace_period(bench: Bench) -> None:
    stubborn = "trap '' TERM; echo begun; sleep 600", Program(log=b"begun\n", runs_on=True, ignores_stop=True)
    name = bench.started(stubborn)
    next(bench.engine.log(name))  # it ignores the signal from here on
    bench.engine.stop(name, grace_s=1)
    end = bench.engine.observe(name)
    assert isinstance(end, Exited)
    assert end.exit_code == 128 + signal.SIGKILL
    assert end.finished_at - end.started_at >= timedelta(seconds=0.9)


def test_stopping_what_does_not_run_is_fine(bench: Bench) -> None:
    name, end = bench.ended(GREETER)
    bench.engine.stop(name, grace_s=1)
    assert bench.engine.observe(name) == end
    unstarted = bench.created(GREETER)
    bench.engine.stop(unstarted, grace_s=1)
    assert bench.engine.observe(unstarted) == Created()
    bench.engine.stop(bench.name(), grace_s=1)


def test_a_running_container_can_be_removed_and_removing_it_again_is_fine(bench: Bench) -> None:
    name = bench.started(SLEEPER)
    bench.engine.remove(name)
    assert bench.engine.observe(name) == Absent()
    bench.engine.remove(name)


def test_removing_from_many_threads_removes_once_and_is_fine(bench: Bench) -> None:
    name = bench.started(SLEEPER)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(bench.engine.remove, [name] * 4))
    assert bench.engine.observe(name) == Absent()


def test_containers_are_found_by_all_their_labels(bench: Bench) -> None:
    node = {"dopq.test.node": bench.prefix}
    first, second = node | {"job": "1", "odd": "a=b c"}, node | {"job": "2"}
    one, two = bench.created(GREETER, labels=first), bench.started(SLEEPER, labels=second)
    found = bench.engine.containers(node)
    assert set(found) == {one, two}
    assert first.items() <= found[one].items()
    assert set(bench.engine.containers(node | {"job": "2"})) == {two}
    assert set(bench.engine.containers({"odd": "a=b c"} | node)) == {one}
    assert bench.engine.containers({"dopq.test.node": "another"}) == {}
    ids = bench.engine.ids(node)
    assert set(ids.values()) == {one, two}
    assert all(re.fullmatch("[0-9a-f]{64}", it) for it in ids)


def test_many_threads_share_one_engine(bench: Bench) -> None:
    with ThreadPoolExecutor(4) as pool:
        ends = list(pool.map(lambda n: bench.ended((f"exit {n}", Program(exit_code=n)))[1].exit_code, range(6)))
    assert ends == list(range(6))


def test_a_process_that_is_killed_while_the_engine_goes_on_did_not_go_down_with_it(bench: Bench) -> None:
    name = bench.started(SLEEPER)
    bench.engine.stop(name, grace_s=0)
    seen = bench.engine.observe(name)
    assert isinstance(seen, Exited)
    assert (seen.exit_code in {137, 143}, seen.with_engine) == (True, False)
