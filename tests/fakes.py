"""Stand-ins for the outside world that keep its contracts, and misbehave on demand.

`FakeEngine` is held to the same contract suite as the real one (tests/integration/test_engine_contract.py).
"""

from __future__ import annotations

import hashlib
import json
import tarfile
from collections import deque
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Condition, Event
from typing import IO, BinaryIO

from dopq.container_handler import pause_image
from dopq.container_handler.engine import (
    Absent,
    Alive,
    Capacity,
    ContainerName,
    ContainerRequest,
    Created,
    Exited,
    Observation,
    Origin,
    Sample,
)
from dopq.container_handler.image_name import BaseImage
from dopq.errors import BuildFailed, DopqError, EngineRefused
from dopq.job import ImageId


class FakeClock:
    """Time that passes only when told to."""

    def __init__(self, start: datetime = datetime(2026, 1, 5, 9, 0, tzinfo=UTC)) -> None:
        self._start = start
        self._elapsed_s = 0.0

    def now(self) -> datetime:
        return self._start + timedelta(seconds=self._elapsed_s)

    def monotonic(self) -> float:
        return self._elapsed_s

    def advance(self, seconds: float) -> None:
        self._elapsed_s += seconds


@dataclass(frozen=True, slots=True)
class Program:
    """What a command does when a container, or a build step, runs it.

    Attributes:
        runs_on: it does not end by itself, only by `FakeEngine.release` or by being stopped.
        ignores_stop: it takes SIGKILL to end it.
        start_error: the engine cannot start it, and says so.
    """

    log: bytes = b""
    exit_code: int = 0
    runs_on: bool = False
    ignores_stop: bool = False
    out_of_memory: bool = False
    start_error: str = ""


@dataclass(slots=True)
class _Container:
    request: ContainerRequest
    program: Program
    log: bytes = b""
    state: Observation = field(default_factory=Created)

    def write(self, text: bytes) -> None:
        self.log += text.decode(errors="replace").encode()


@dataclass(slots=True)
class _Trouble:
    error: DopqError
    after: bool


class FakeEngine:
    """A container engine in memory; thread-safe, and as patient as its caller.

    Attributes:
        programs: what commands do, by command line; those not named here write nothing and succeed at once. A `RUN`
            line of a Dockerfile is the command `("/bin/sh", "-c", line)`.
        requests: every container that was ever created, in order.
        image_sizes: bytes of images that are not 1 MiB.
        networks: those that were made.
        starts: every process that was ever started, by its container.
    """

    def __init__(self, clock: FakeClock | None = None) -> None:
        self.clock = clock or FakeClock()
        self.programs: dict[tuple[str, ...], Program] = {pause_image.COMMAND: Program(runs_on=True)}
        self.requests: list[ContainerRequest] = []
        self.image_sizes: dict[ImageId, int] = {}
        self.starts: list[ContainerName] = []
        self.networks: set[str] = set()
        self._commands: dict[ImageId, tuple[str, ...]] = {}  # of every image, what it runs when not told otherwise
        self._triggers: dict[ImageId, str] = {}
        self._tags: dict[str, ImageId] = {}
        self._containers: dict[ContainerName, _Container] = {}
        self._trouble: dict[str, deque[_Trouble]] = {}
        self._changed = Condition()
        self._interruptions = 0

    # --- for the test ---

    def fail_next(self, verb: str, error: DopqError, *, times: int = 1, after: bool = False) -> None:
        """Let the next `times` calls of a method raise; with `after`, they do their work first, like a late answer."""
        assert hasattr(type(self), verb), f"the engine has no verb {verb}"
        self._trouble.setdefault(verb, deque()).extend(_Trouble(error, after) for _ in range(times))

    def recover(self) -> None:
        """Forget all ordered trouble."""
        with self._changed:
            self._trouble.clear()

    def restart(self) -> None:
        """The engine is stopped, and every process with it; then it is there again."""
        with self._changed:
            for container in self._containers.values():
                if isinstance(container.state, Alive):
                    container.state = Exited(143, container.state.started_at, self.clock.now(), with_engine=True)
            self._changed.notify_all()

    def interrupt_logs(self) -> None:
        """Let everybody who follows a log stop, as when the process that follows is killed."""
        with self._changed:
            self._interruptions += 1
            self._changed.notify_all()

    def add_image(self, reference: str, command: tuple[str, ...] = ()) -> ImageId:
        """Have a local image that runs `command`."""
        image = ImageId("sha256:" + hashlib.sha256(repr((reference, command)).encode()).hexdigest())
        with self._changed:
            self._commands[image] = command
            self._tags[_with_tag(reference)] = image
        return image

    def say(self, name: ContainerName, text: bytes) -> None:
        """Let a running container's process write something."""
        with self._changed:
            self._containers[name].write(text)
            self._changed.notify_all()

    def release(self, name: ContainerName, exit_code: int = 0, *, out_of_memory: bool = False) -> None:
        """Let a running container's process end by itself."""
        with self._changed:
            self._end(self._containers[name], exit_code, out_of_memory=out_of_memory)

    # --- ContainerEngine ---

    def capacity(self) -> Capacity:
        with self._scripted("capacity"):
            return Capacity(version="20.10.0-fake", cpus=8, memory_bytes=32 << 30, has_buildkit=True, root=Path("/"))

    def image(self, reference: str) -> ImageId | None:
        with self._scripted("image"):
            return self._find_image(reference)

    def image_bytes(self, image: ImageId) -> int | None:
        with self._scripted("image_bytes"):
            return self.image_sizes.get(image, 1 << 20) if image in self._commands else None

    def tag(self, image: ImageId, reference: str) -> bool:
        with self._scripted("tag"):
            if image not in self._commands:
                return False
            self._tags[_with_tag(reference)] = image
            return True

    def build(
        self,
        context: BinaryIO,
        *,
        tag: str,
        labels: Mapping[str, str],
        log: Callable[[bytes], object],
        cancelled: Event,
        timeout_s: float,
        memory_bytes: int | None = None,
        bases: Collection[BaseImage] = (),
    ) -> ImageId:
        with self._troubled("build"):  # not locked: a build may go on for long
            for base in sorted(bases):
                self._admit(base)
            return self._build(_dockerfile(context), tag, log, cancelled, timeout_s)

    def _build(
        self, lines: list[str], tag: str, log: Callable[[bytes], object], cancelled: Event, timeout_s: float
    ) -> ImageId:
        command: tuple[str, ...] = ()
        for line in lines:
            log(line.encode() + b"\n")
            instruction, _, rest = line.partition(" ")
            if instruction == "FROM":
                command = self._base_command(line, rest)
            elif instruction == "RUN":
                self._run_step(line, self.programs.get(("/bin/sh", "-c", rest), Program()), log, cancelled, timeout_s)
            elif instruction == "CMD":
                command = ("/bin/sh", "-c", rest)
        image = self.add_image(tag, command)
        if triggers := [line for line in lines if line.startswith("ONBUILD ")]:
            self._triggers[image] = triggers[0]
        return image

    def _admit(self, base: BaseImage) -> None:
        image = self._find_image(base.reference)
        if image is None:
            raise BuildFailed(f"The base image {base.reference} is not on this machine and could not be fetched.")
        if trigger := self._triggers.get(image):
            raise BuildFailed(f"The base image {base.reference} brings instructions of its own: {trigger}.")
        if base.platform not in {"", "linux/amd64"}:
            raise BuildFailed(f"FROM asks for {base.reference} for {base.platform}, and this node has linux/amd64.")

    def import_image(self, root: BinaryIO, *, reference: str, changes: tuple[str, ...] = ()) -> ImageId:
        with self._scripted("import_image"):
            root.read()
            commands = [("/bin/sh", "-c", c.removeprefix("CMD ")) for c in changes if c.startswith("CMD ")]
            return self.add_image(reference, commands[-1] if commands else ())

    def load(self, archive: BinaryIO, *, tag: str) -> ImageId:
        with self._scripted("load"):
            return self.add_image(tag, _saved_command(archive))

    def remove_image(self, reference: str) -> None:
        with self._scripted("remove_image"):
            image = self._find_image(reference)
            gone = (
                {_with_tag(reference)} if reference != image else {t for t, its in self._tags.items() if its == image}
            )
            self._tags = {tag: its for tag, its in self._tags.items() if tag not in gone}
            if image and image not in self._tags.values():
                del self._commands[image]

    def provide_network(self, name: str) -> bool:
        with self._scripted("provide_network"):
            is_new = name not in self.networks
            self.networks.add(name)
            return is_new

    def create(self, request: ContainerRequest) -> None:
        with self._scripted("create"):
            if there := self._containers.get(request.name):
                if not request.labels.items() <= there.request.labels.items():
                    raise EngineRefused(f"The name {request.name} is in use by a container that is not this node's.")
                return
            image = self._find_image(request.image)
            if image is None:
                raise EngineRefused(f"No such image: {request.image}.")
            command = (*(request.entrypoint or ()), *(request.command or self._commands[image]))
            self._containers[request.name] = _Container(request, self.programs.get(command, Program()))
            self.requests.append(request)

    def start(self, name: ContainerName) -> None:
        with self._scripted("start"):
            container = self._existing(name)
            match container.state:
                case Created():
                    self._begin(container)
                case Exited(error=error) if error:
                    raise EngineRefused(f"The container engine would not start the container {name}: {error}.")

    def observe(self, name: ContainerName) -> Observation:
        with self._scripted("observe"):
            return self._state(name)

    def origin(self, name: ContainerName) -> Origin | None:
        with self._scripted("origin"):
            there = self._containers.get(name)
            return Origin(there.request.image, there.request.labels) if there else None

    def wait(self, name: ContainerName, timeout_s: float) -> Exited | Absent | None:
        with self._scripted("wait"):
            self._changed.wait_for(lambda: isinstance(self._state(name), Exited | Absent), timeout_s)
            state = self._state(name)
            return state if isinstance(state, Exited | Absent) else None

    def log(self, name: ContainerName) -> Iterator[bytes]:
        with self._scripted("log"):
            container, interruptions = self._existing(name), self._interruptions
        position = 0
        while True:
            with self._changed:
                text, alive = container.log[position:], isinstance(container.state, Alive)
                if alive and not text and interruptions == self._interruptions:
                    self._changed.wait()
                    continue
            if not text:
                return
            position += len(text)
            yield text

    def use(self, name: ContainerName) -> Sample:
        with self._scripted("use"):
            state = self._state(name)
            if not isinstance(state, Alive):
                return Sample()
            cpu_s = (self.clock.now() - state.started_at).total_seconds()
            return Sample(cpu_s=cpu_s, memory_bytes=48 << 20, memory_peak_bytes=64 << 20)

    def stop(self, name: ContainerName, grace_s: int) -> None:
        with self._scripted("stop"):
            container = self._containers.get(name)
            if container and isinstance(container.state, Alive):
                if container.program.ignores_stop:
                    self.clock.advance(grace_s)
                self._end(container, 137 if container.program.ignores_stop else 143)

    def remove(self, name: ContainerName) -> None:
        with self._scripted("remove"):
            if container := self._containers.pop(name, None):
                if isinstance(container.state, Alive):
                    self._end(container, 137)
                self._changed.notify_all()

    def containers(self, labels: Mapping[str, str]) -> Mapping[ContainerName, Mapping[str, str]]:
        with self._scripted("containers"):
            all_labels = {name: c.request.labels for name, c in self._containers.items()}
            return {name: its for name, its in all_labels.items() if labels.items() <= its.items()}

    def ids(self, labels: Mapping[str, str]) -> Mapping[str, ContainerName]:
        with self._scripted("ids"):
            named = [name for name, c in self._containers.items() if labels.items() <= c.request.labels.items()]
            return {hashlib.sha256(name.encode()).hexdigest(): name for name in named}

    # --- inside ---

    @contextmanager
    def _scripted(self, verb: str) -> Iterator[None]:
        """One call at a time, with the trouble that the test ordered."""
        with self._changed, self._troubled(verb):
            yield

    @contextmanager
    def _troubled(self, verb: str) -> Iterator[None]:
        with self._changed:
            waiting = self._trouble.get(verb)
            trouble = waiting.popleft() if waiting else None
        if trouble and not trouble.after:
            raise trouble.error
        yield
        if trouble:
            raise trouble.error

    def _find_image(self, reference: str) -> ImageId | None:
        known = ImageId(reference)
        return known if known in self._commands else self._tags.get(_with_tag(reference))

    def _existing(self, name: ContainerName) -> _Container:
        if name not in self._containers:
            raise EngineRefused(f"No such container: {name}.")
        return self._containers[name]

    def _state(self, name: ContainerName) -> Observation:
        return self._containers[name].state if name in self._containers else Absent()

    def _begin(self, container: _Container) -> None:
        if (joined := container.request.namespace) and not isinstance(self._state(joined), Alive):
            raise EngineRefused(f"Cannot join the network of the container {joined}, which does not run.")
        network = container.request.network
        if not container.request.namespace and network not in {"none", "bridge", *self.networks}:
            raise EngineRefused(f"network {network} not found.")
        program, now = container.program, self.clock.now()
        if program.start_error:
            container.state = Exited(128, now, now, error=program.start_error)
            raise EngineRefused(
                f"The container engine would not start the container {container.request.name}: {program.start_error}."
            )
        container.state = Alive(now)
        self.starts.append(container.request.name)
        container.write(program.log)
        if program.runs_on:
            self._changed.notify_all()
        else:
            self._end(container, program.exit_code, out_of_memory=program.out_of_memory)

    def _end(self, container: _Container, exit_code: int, *, out_of_memory: bool = False) -> None:
        assert isinstance(container.state, Alive), f"{container.request.name} does not run"
        container.state = Exited(exit_code, container.state.started_at, self.clock.now(), out_of_memory)
        self._changed.notify_all()

    def _base_command(self, line: str, reference: str) -> tuple[str, ...]:
        if reference == "scratch":
            return ()
        image = self._find_image(reference)
        if image is None:
            raise BuildFailed(f'The build step "{line}" failed: {reference} is not here and cannot be pulled.')
        return self._commands[image]

    def _run_step(
        self, line: str, program: Program, log: Callable[[bytes], object], cancelled: Event, timeout_s: float
    ) -> None:
        log(program.log)
        if program.runs_on:
            if cancelled.wait(timeout_s):
                raise BuildFailed("The build was cancelled.", cancelled=True)
            raise BuildFailed(f"The build took longer than {timeout_s:g} seconds and was broken off.", timed_out=True)
        if program.exit_code:
            words = program.log.decode().splitlines()
            last = f' Its last words: "{words[-1]}".' if words else ""
            raise BuildFailed(f'The build step "{line}" failed with exit code {program.exit_code}.{last}')


def _with_tag(reference: str) -> str:
    return reference if ":" in reference.rpartition("/")[2] else f"{reference}:latest"


def _dockerfile(context: BinaryIO) -> list[str]:
    with tarfile.open(fileobj=context, mode="r|*") as tar:
        for member in tar:
            if member.name.removeprefix("./") == "Dockerfile":
                file = tar.extractfile(member)
                assert file is not None
                return [line.strip() for line in file.read().decode().splitlines() if line.strip()]
    raise BuildFailed("The image could not be built: it has no Dockerfile.")


def _saved_command(archive: BinaryIO) -> tuple[str, ...]:
    """What the image in an archive runs."""
    try:
        with tarfile.open(fileobj=archive) as tar:
            [image] = json.load(_opened(tar, "manifest.json"))
            settings = json.load(_opened(tar, image["Config"]))["config"]
    except (tarfile.TarError, KeyError, ValueError) as error:
        raise EngineRefused("The container engine would not load an image: there is none in the archive.") from error
    return (*(settings.get("Entrypoint") or ()), *(settings.get("Cmd") or ()))


def _opened(tar: tarfile.TarFile, name: str) -> IO[bytes]:
    file = tar.extractfile(name)
    assert file is not None
    return file
