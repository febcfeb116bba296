"""The one port behind which containers run.

Small on purpose: capacity, build, create, start, observe, stop, remove, each safe to call twice. Nothing above this
file knows Docker; `docker_engine.py` is the adapter for a real engine, `tests/fakes.py` holds the fake, and one
contract suite (tests/integration/test_engine_contract.py) runs on both.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from threading import Event
from typing import BinaryIO, NewType, Protocol

from dopq.container_handler.image_name import BaseImage
from dopq.job import GpuId, ImageId, Mount

ContainerName = NewType("ContainerName", str)  # deterministic, so that a repeated call finds what the first one made


@dataclass(frozen=True, slots=True)
class Capacity:
    """What the engine says of itself.

    Attributes:
        root: the folder, on the engine's own machine, in which it keeps images and containers.
    """

    version: str
    cpus: int
    memory_bytes: int
    has_buildkit: bool
    root: Path


@dataclass(frozen=True, slots=True)
class ContainerRequest:
    """All that a container is created from. Every field is filled from our own template, never passed through.

    Attributes:
        gpus: handed over as a device request by UUID; empty asks for none and hides those that there are.
        memory_bytes: limit on memory and swap together; None for no limit.
        network: a network of the engine's: `none`, `bridge` or a name.
        namespace: a running container whose network namespace, host name included, this one joins instead.
        labels: say which job, attempt and node the container belongs to; they win over the image's own.
        user: `uid:gid` of the process; None leaves the image's USER.
        init: have an init of the engine's own above the process, which passes signals on and reaps.
        read_only: nothing of the image's file system can be written.
        stop_signal: None for SIGTERM, whatever the image says: the grace period is meant to be one.
    """

    name: ContainerName
    image: ImageId
    labels: Mapping[str, str]
    mounts: tuple[Mount, ...] = ()
    gpus: frozenset[GpuId] = frozenset()
    command: tuple[str, ...] | None = None
    entrypoint: tuple[str, ...] | None = None
    environment: Mapping[str, str] = field(default_factory=dict)
    working_dir: str | None = None
    user: str | None = None
    stop_signal: str | None = None
    hostname: str = "dopq"
    network: str = "none"
    namespace: ContainerName | None = None
    memory_bytes: int | None = None
    shm_bytes: int | None = None
    cpus: float | None = None
    pids_limit: int | None = None
    init: bool = True
    read_only: bool = False


@dataclass(frozen=True, slots=True)
class Absent:
    """No container of that name."""


@dataclass(frozen=True, slots=True)
class Created:
    """Made, but its process has never run."""


@dataclass(frozen=True, slots=True)
class Alive:
    """The process runs since `started_at` (the engine's clock, UTC)."""

    started_at: datetime


@dataclass(frozen=True, slots=True)
class Exited:
    """The process has ended.

    Attributes:
        exit_code: 128 + n where signal n ended it, as Docker reports it.
        out_of_memory: the kernel killed a process of the container for want of memory. Docker misses it now and then
            when that process was the last one: an exit code of 137 that nobody asked for most likely means the same.
        error: the engine's own words where the process could not be started at all, else empty; both times are then
            when the container was made.
        with_engine: a signal ended it, and the engine has been started since: it went down with the engine.
    """

    exit_code: int
    started_at: datetime
    finished_at: datetime
    out_of_memory: bool = False
    error: str = ""
    with_engine: bool = False


Observation = Absent | Created | Alive | Exited


@dataclass(frozen=True, slots=True)
class Origin:
    """What a container was made from: its image, and all its labels, those of the image included."""

    image: ImageId
    labels: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Sample:
    """One look at what a container takes; None where nothing could be read (for example after the end).

    Attributes:
        cpu_s: CPU time since the start.
        memory_bytes: in use now, without the page cache that could go.
        memory_peak_bytes: the most so far, where the kernel tells it, else what is in use now; with the page cache.
    """

    cpu_s: float | None = None
    memory_bytes: int | None = None
    memory_peak_bytes: int | None = None


class ContainerEngine(Protocol):
    """A container engine.

    Every method may raise:
        EngineUnavailable: no answer, or none in time. What was asked may have happened: observe, then repeat.
        EngineRefused: the engine understood and said no (no such image, no such device, a name in use by others).
    """

    def capacity(self) -> Capacity:
        """Version and size of the engine; also serves as the ping."""
        ...

    def image(self, reference: str) -> ImageId | None:
        """The id of a local image by name or id; None when there is none."""
        ...

    def image_bytes(self, image: ImageId) -> int | None:
        """Size of an image with all its layers, those that it shares included; None when there is none of that id."""
        ...

    def tag(self, image: ImageId, reference: str) -> bool:
        """Give an image one more name, from whichever bore it before; False when there is no image of that id.

        While it bears a name an image stays, whoever removes its other ones.
        """
        ...

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
        """Build an image from a seekable tar stream that holds a `Dockerfile` at its top, and tag it.

        With BuildKit where the engine has it, else with the classic builder. A limit of `memory_bytes` on memory and
        swap of every step calls for the classic builder: BuildKit takes none (docs/adr/0021-memory-of-builds.md).
        Every piece of the builder's output goes to `log` as it comes. When `cancelled` is set the build is broken off
        within about a second. `bases` are the images that the Dockerfile takes from: they are fetched where they are
        missing, and looked at before anything is built.

        Raises:
            BuildFailed: the Dockerfile could not be built, was cancelled, or took longer than `timeout_s` seconds; or
                one of `bases` has ONBUILD instructions, or is for another platform than FROM asks for.
        """
        ...

    def import_image(self, root: BinaryIO, *, reference: str, changes: tuple[str, ...] = ()) -> ImageId:
        """Make an image of one layer from the tar of a root file system; `changes` are Dockerfile lines such as CMD."""
        ...

    def load(self, archive: BinaryIO, *, tag: str) -> ImageId:
        """Take in the one image of an archive as `docker save` writes it, and tag it.

        The archive must not name the image: such names would be taken from whichever images bear them
        (`saved_image.py` writes archives without).

        Raises:
            EngineRefused: also where this is no archive with an image.
        """
        ...

    def remove_image(self, reference: str) -> None:
        """Untag an image, and delete it when that was its last tag; none of that name is fine."""
        ...

    def provide_network(self, name: str) -> bool:
        """Have a network of that name whose containers reach out, but not each other; whether there was none.

        Raises:
            EngineRefused: also where there is one of that name whose containers do reach each other.
        """
        ...

    def create(self, request: ContainerRequest) -> None:
        """Create the container; one of that name that is already there stays as it is."""
        ...

    def start(self, name: ContainerName) -> None:
        """Start the container's process; one that runs or has run is left alone.

        Raises:
            EngineRefused: also each time for one whose process could not be started; `observe` calls it `Exited`.
        """
        ...

    def observe(self, name: ContainerName) -> Observation:
        """What the engine knows of the container now: the truth, where memory is only a hint."""
        ...

    def origin(self, name: ContainerName) -> Origin | None:
        """What the container was made from; None when there is none of that name."""
        ...

    def wait(self, name: ContainerName, timeout_s: float) -> Exited | Absent | None:
        """Wait until the process has ended; None when it still runs after `timeout_s` seconds."""
        ...

    def log(self, name: ContainerName) -> Iterator[bytes]:
        """All that the process wrote to stdout and stderr, from its first byte, following until it ends.

        The same bytes in the same order each time it is called, so that a reader can go on where it stopped. What is
        not UTF-8 arrives as U+FFFD (Docker keeps logs as JSON). Empty for a container that has not run.
        """
        ...

    def use(self, name: ContainerName) -> Sample:
        """What the container takes now, and has taken so far; all None for one that does not run."""
        ...

    def stop(self, name: ContainerName, grace_s: int) -> None:
        """Ask the process to end: its stop signal, then SIGKILL after `grace_s` whole seconds. A dead one is fine.

        (Docker Engine API, `POST /containers/{id}/stop`, parameter `t`.)
        """
        ...

    def remove(self, name: ContainerName) -> None:
        """Remove the container, running or not; none of that name is fine."""
        ...

    def containers(self, labels: Mapping[str, str]) -> Mapping[ContainerName, Mapping[str, str]]:
        """Name and labels of every container, running or not, that carries all of `labels`."""
        ...

    def ids(self, labels: Mapping[str, str]) -> Mapping[str, ContainerName]:
        """The same containers' names by the engine's own id: 64 hexadecimal digits, as in their processes' cgroups."""
        ...
