"""Building one image, and breaking a build off when it is cancelled or takes too long."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from threading import Event, Thread
from typing import Any, BinaryIO, Protocol

from dopq.container_handler.build_log import BuildLog, no_base_image
from dopq.container_handler.image_name import BaseImage
from dopq.errors import BuildFailed, EngineUnavailable
from dopq.job import ImageId

_PIECE_BYTES = 1 << 18
_CACHE_OWNER = "BUILDKIT_CACHE_MOUNT_NS"  # docs.docker.com, "Dockerfile reference", BuildKit built-in build args
_LOOK_EVERY_S = 0.1  # how late a cancelled build may be noticed


class MessageStream(Protocol):
    """The messages of one call that is under way; `break_off` ends it from any thread, `close` is the reader's."""

    def __iter__(self) -> Iterator[Mapping[str, Any]]: ...

    def break_off(self) -> None:
        """End it now, whoever reads it; an ended one is fine."""
        ...

    def close(self) -> None:
        """Give the connection back."""
        ...


class BuildCalls(Protocol):
    """What a build asks of the engine."""

    def build(self, context: Iterator[bytes], params: Mapping[str, str], timeout_s: float) -> MessageStream:
        """Send a tar stream to be built; at most `timeout_s` seconds pass between two messages."""
        ...

    def cancel_build(self, build_id: str) -> None:
        """Tell the builder to give a build up; one that is unknown or has ended is fine."""
        ...

    def image(self, reference: str) -> Mapping[str, Any] | None:
        """All that the engine knows of a local image; None where there is none of that name."""
        ...

    def pull(self, reference: str, timeout_s: float) -> MessageStream:
        """Fetch an image from its registry."""
        ...


@dataclass(frozen=True, slots=True)
class Limit:
    """Until when a build may go on."""

    cancelled: Event
    timeout_s: float
    _begun: float = field(default_factory=time.monotonic)

    def left_s(self) -> float:
        """Seconds until the time is up; never below a tenth, since a socket takes 0 for "do not block"."""
        return max(0.1, self._begun + self.timeout_s - time.monotonic())

    def reached(self) -> bool:
        """Whether to break off now."""
        return self.cancelled.is_set() or time.monotonic() - self._begun >= self.timeout_s

    def check(self) -> None:
        """Go on, or raise BuildFailed with the reason to break off."""
        if self.cancelled.is_set():
            raise BuildFailed("The build was cancelled.", cancelled=True)
        if self.reached():
            raise BuildFailed(
                f"The build took longer than {self.timeout_s:g} seconds and was broken off.",
                "Let the Dockerfile do less, or ask the machine's owner for a longer build time.",
                timed_out=True,
            )


@dataclass(frozen=True, slots=True)
class ImageBuild:
    """One image to be built from `context`, a seekable tar stream, which takes from `bases`."""

    calls: BuildCalls
    context: BinaryIO
    params: Mapping[str, str]
    log: Callable[[bytes], object]
    limit: Limit
    bases: Collection[BaseImage] = ()

    def run(self) -> ImageId:
        """Build; base images that BuildKit cannot fetch by itself are pulled, and the build is repeated."""
        for base in sorted(self.bases):
            self._admit(base)
        begin = self.context.tell()
        story, pulled = self._attempt(), set[str]()
        while missing := set(story.unpulled) - pulled:
            for reference in sorted(missing):
                self._pull(reference)
            pulled |= missing
            self.context.seek(begin)
            story = self._attempt()
        if story.image is None or story.error:  # the classic builder names an image after each stage
            raise story.failure()
        return story.image

    def _admit(self, base: BaseImage) -> None:
        """Have a base image here and see that it brings no instructions of its own, which no gate has read."""
        image = self.calls.image(base.reference)
        if image is None:
            self._pull(base.reference)
            image = self.calls.image(base.reference)
        if image is None:
            raise BuildFailed(*no_base_image(base.reference, "it was gone again"))
        if refused := base_refusal(base, image):
            raise BuildFailed(*refused)

    def _attempt(self) -> BuildLog:
        build_id = uuid.uuid4().hex
        story = BuildLog()
        with _broken_off_at(self.limit, lambda: self.calls.cancel_build(build_id)) as on_limit:
            stream = self.calls.build(self._pieces(), {**self.params, "buildid": build_id}, self.limit.left_s())
            with closing(stream):
                on_limit.append(stream.break_off)
                for message in stream:
                    self._tell(story.add(message))
        return story

    def _pieces(self) -> Iterator[bytes]:
        while piece := self.context.read(_PIECE_BYTES):
            self.limit.check()
            yield piece

    def _pull(self, reference: str) -> None:
        self._tell(f"=> pulling {reference}\n".encode())
        story = BuildLog()
        with _broken_off_at(self.limit) as on_limit, closing(self.calls.pull(reference, self.limit.left_s())) as stream:
            on_limit.append(stream.break_off)
            for message in stream:
                self._tell(story.add(message))
        if story.error:
            raise BuildFailed(*no_base_image(reference, story.error))

    def _tell(self, text: bytes) -> None:
        if text:
            self.log(text)


@contextmanager
def _broken_off_at(limit: Limit, *actions: Callable[[], None]) -> Iterator[list[Callable[[], None]]]:
    """Take all `actions`, and those that the body adds to the list, when the limit is reached before the body ends.

    By a thread of its own, because the body sits in a blocking read that only breaking its connection ends; again and
    again, because the body may just be opening one.
    """
    over = Event()
    on_limit = list(actions)

    def watch() -> None:
        while not over.wait(_LOOK_EVERY_S):
            if limit.reached():
                for action in on_limit:
                    action()

    watcher = Thread(target=watch, name="build-limit", daemon=True)
    watcher.start()
    try:
        yield on_limit
    except EngineUnavailable:
        limit.check()  # a connection that we broke ourselves looks like a lost one
        raise
    finally:
        over.set()
        watcher.join()
    limit.check()


def base_refusal(base: BaseImage, image: Mapping[str, Any]) -> tuple[str, str] | None:
    """Why a base image may not be built on, as sentence and hint; `image` is what `GET /images/{name}/json` says."""
    if triggers := (image.get("Config") or {}).get("OnBuild"):
        what = f"The base image {base.reference} brings instructions of its own into every build on it"
        return f"{what}: ONBUILD {triggers[0]}.", "Build on an image without ONBUILD."
    platform = f"{image['Os']}/{image['Architecture']}"
    if base.platform and base.platform != platform and not base.platform.startswith(f"{platform}/"):
        return (
            f"FROM asks for {base.reference} for {base.platform}, and this node has it for {platform}.",
            "Leave --platform out.",
        )
    return None


def build_params(
    tag: str, labels: Mapping[str, str], *, buildkit: bool, memory_bytes: int | None = None
) -> dict[str, str]:
    """Query of `POST /build` (Docker Engine API 1.41); `forcerm` leaves no container of a failed classic step.

    BuildKit keeps what `RUN --mount=type=cache` writes for later builds. The folder part of the tag, `dopq/alice`, says
    for whose: a cache that strangers share would be theirs to poison.
    """
    limits = {} if memory_bytes is None else {"memory": str(memory_bytes), "memswap": str(memory_bytes)}
    return {
        "t": tag,
        "labels": json.dumps(dict(labels)),
        "version": "2" if buildkit else "1",
        "rm": "1",
        "forcerm": "1",
        **({"buildargs": json.dumps({_CACHE_OWNER: tag.rpartition("/")[0] or tag})} if buildkit else {}),
        **limits,
    }
