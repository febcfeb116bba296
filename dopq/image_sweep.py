"""Which images may go, and their going: by age, and the oldest first while the engine's disk is low.

Only names that this node gave away are taken off, each after a look at what bears it; an image disappears when that was
its last name. So a base image, somebody else's image and one that a job still needs are out of reach.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from dopq.container_handler.engine import ContainerEngine
from dopq.disk import DiskProbe, Floor, shortage
from dopq.errors import EngineRefused
from dopq.images import Images, MadeImage
from dopq.job import ImageId
from dopq.utils.log import logger

log = logger(__name__)


@dataclass(frozen=True, slots=True)
class Unneeded:
    """An image that no job may need any more, under all the names that this node gave it."""

    image: ImageId
    since: datetime
    names: tuple[MadeImage, ...]


def unneeded(made: Iterable[MadeImage]) -> list[Unneeded]:
    """The images of which every job has ended, the longest unneeded first. Pure."""
    by_image = defaultdict[ImageId, list[MadeImage]](list)
    for entry in made:
        by_image[entry.image].append(entry)
    found = []
    for image, entries in by_image.items():
        ends = [entry.unneeded_since for entry in entries if entry.unneeded_since is not None]
        if len(ends) == len(entries):
            found.append(Unneeded(image, max(ends), tuple(entries)))
    return sorted(found, key=lambda item: (item.since, item.image))


class ImageSweep:
    """Removes images; `keep_days` of 0 keeps them until the disk is low."""

    def __init__(self, images: Images, engine: ContainerEngine, keep_days: int, floor: Floor, probe: DiskProbe) -> None:
        self._images = images
        self._engine = engine
        self._keep = timedelta(days=keep_days)
        self._floor = floor
        self._probe = probe

    def sweep(self, now: datetime) -> None:
        """Remove what may go.

        Raises:
            EngineUnavailable: what was not removed is removed another time.
        """
        root = self._engine.capacity().root
        for item in unneeded(self._images.all()):
            old = bool(self._keep) and now - item.since >= self._keep
            low = None if old else shortage([root], self._floor, self._probe)
            if not (old or low):
                return  # those that follow are younger
            self._remove(item, low.sentence if low else f"unneeded since {item.since:%Y-%m-%d}")

    def _remove(self, item: Unneeded, cause: str) -> None:
        for entry in item.names:
            try:
                if self._engine.image(entry.tag) == entry.image:
                    self._engine.remove_image(entry.tag)
            except EngineRefused as refused:  # a container of it is still being removed: another time
                log.info("image_stays", image=entry.image, job=entry.job, cause=refused.message)
            else:
                self._images.forget(entry.job)
                log.info("image_removed", image=entry.image, job=entry.job, cause=cause)
