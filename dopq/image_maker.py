"""The image of a job: found again where the same was made before, else built; refused where it is too large."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from dopq.container_handler.engine import ContainerEngine
from dopq.container_handler.fingerprint import bases_of, fingerprint
from dopq.errors import BuildFailed, EngineUnavailable
from dopq.handover import Accepted, Imaged, Known
from dopq.images import image_tag
from dopq.job import ImageId, JobId, UserName
from dopq.utils.log import logger

log = logger(__name__)

ENGINE_RETRY_S = 2.0
"""How long to leave an engine alone that did not answer."""

Result = TypeVar("Result")
Log = Callable[[bytes], object]


@dataclass(frozen=True, slots=True)
class BuildLimits:
    """What one build may take; `memory_bytes` of None is no limit."""

    timeout_s: float
    memory_bytes: int | None
    image_bytes: int


class ImageMaker:
    """Makes images for any number of threads. What it remembers is only a hint: the engine is asked each time."""

    def __init__(self, engine: ContainerEngine, limits: BuildLimits, node_id: str) -> None:
        self._engine = engine
        self._limits = limits
        self._node_id = node_id
        self._known: dict[tuple[UserName, str], ImageId] = {}
        self._fingerprints: dict[JobId, str] = {}

    def learn(self, known: Known) -> None:
        """Remember an image that an earlier life made."""
        self._known[known.user, known.fingerprint] = known.image

    def make(self, order: Accepted, context: Path, log_to: Log, cancelled: threading.Event) -> ImageId:
        """The image of a build context, under the job's tag; an engine that is away is waited for.

        Raises:
            BuildFailed: it could not be built, or was cancelled.
        """
        found = self._found(order, context, cancelled)
        if found:
            log_to(b"The same content was built before; that image is used again.\n")
            return found
        return _patiently(lambda: self._built(order, context, log_to, cancelled), order, cancelled, log_to)

    def load(self, order: Accepted, archive: Path, log_to: Log, cancelled: threading.Event) -> ImageId:
        """The image in an archive, under the job's tag; an engine that is away is waited for.

        Raises:
            EngineRefused: the engine takes it for no image.
            BuildFailed: cancelled while the engine was away.
        """
        log_to(b"Loading the image that the bundle brings.\n")

        def loaded() -> ImageId:
            with archive.open("rb") as tar:
                return self._engine.load(tar, tag=image_tag(order.user, order.job))

        return _patiently(loaded, order, cancelled, log_to)

    def labels(self, order: Accepted) -> Mapping[str, str]:
        """What the image of a job is labelled with."""
        return {"dopq.node": self._node_id, "dopq.job": str(order.job)}

    def admit(self, order: Accepted, image: ImageId, cancelled: threading.Event) -> Imaged:
        """What there is to remember of a job's image, however it was made.

        Raises:
            BuildFailed: it is larger than this node allows; it was removed.
        """
        size = _patiently(lambda: self._engine.image_bytes(image), order, cancelled)
        if size is not None and size > self._limits.image_bytes:
            _patiently(lambda: self._engine.remove_image(image_tag(order.user, order.job)), order, cancelled)
            raise BuildFailed(
                f"The image has {size} bytes; this node allows {self._limits.image_bytes}. It was removed.",
                "Start from a smaller base image, install less, and leave data to the data folder.",
            )
        made_from = self._fingerprints.pop(order.job, "")
        if made_from:
            self._known[order.user, made_from] = image
        return Imaged(order.job, image, made_from)

    def _found(self, order: Accepted, context: Path, cancelled: threading.Event) -> ImageId | None:
        """The image that was made of the same content for the same user, if the engine still has it.

        It gets the job's tag in the same step, so that nobody removes it in between.
        """
        made_from = _patiently(lambda: fingerprint(context, self._engine.image), order, cancelled)
        image = self._known.get((order.user, made_from))
        if image is None or not _patiently(
            lambda: self._engine.tag(image, image_tag(order.user, order.job)), order, cancelled
        ):
            return None
        self._fingerprints[order.job] = made_from
        return image

    def _built(self, order: Accepted, context: Path, log_to: Log, cancelled: threading.Event) -> ImageId:
        with context.open("rb") as tar:
            image = self._engine.build(
                tar,
                tag=image_tag(order.user, order.job),
                labels=self.labels(order),
                log=log_to,
                cancelled=cancelled,
                timeout_s=self._limits.timeout_s,
                memory_bytes=self._limits.memory_bytes,
                bases=bases_of(context),
            )
        # Only now: base images that had to be fetched first had no id before.
        self._fingerprints[order.job] = fingerprint(context, self._engine.image)
        return image


def _patiently(
    ask: Callable[[], Result], order: Accepted, cancelled: threading.Event, log_to: Log = lambda _: None
) -> Result:
    """The engine's answer, however long it is away. Raises `BuildFailed` when cancelled meanwhile."""
    while True:
        try:
            return ask()
        except EngineUnavailable as away:
            log.warning("engine_away", job=order.job, cause=away.message)
            log_to(f"The container engine does not answer; trying again: {away.message}\n".encode())
            if cancelled.wait(ENGINE_RETRY_S):
                raise BuildFailed("The build was broken off.") from away
