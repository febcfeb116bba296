"""The images that this node made: for which job, from what, and who still needs them.

A table of our own, because labels prove nothing: any Dockerfile can write the ones that we would
(docs/adr/0020-find-an-image-again.md).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from dopq.database import Database
from dopq.job import ImageId, JobId, UserName


@dataclass(frozen=True, slots=True)
class MadeImage:
    """An image under the tag of one job; several jobs' entries may name the same image.

    Attributes:
        fingerprint: what it was made from; empty where it cannot be found again.
        unneeded_since: when its job ended; None while the job may still run.
    """

    job: JobId
    user: UserName
    image: ImageId
    fingerprint: str
    unneeded_since: datetime | None

    @property
    def tag(self) -> str:
        """The name that keeps the image for this job."""
        return image_tag(self.user, self.job)


def image_tag(user: UserName, job: JobId) -> str:
    """The name under which the engine keeps a job's image."""
    return f"dopq/{user}/{job}"


class Images:
    """The table of images, over a `Database`."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def add(self, job: JobId, image: ImageId, fingerprint: str) -> None:
        """Remember the image of a job; a second one of the same job replaces the first."""
        with self._db.transaction() as tx:
            tx.execute("INSERT OR REPLACE INTO images VALUES (?, ?, ?)", (job, image, fingerprint))

    def forget(self, job: JobId) -> None:
        """The job's tag is gone from the engine."""
        with self._db.transaction() as tx:
            tx.execute("DELETE FROM images WHERE job = ?", (job,))

    def all(self) -> list[MadeImage]:
        """Every entry, oldest job first."""
        rows = self._db.rows(
            "SELECT job, user, image, fingerprint, finished_at FROM images JOIN jobs ON jobs.id = job ORDER BY job"
        )
        return [
            MadeImage(
                JobId(job),
                UserName(user),
                ImageId(image),
                fingerprint,
                datetime.fromisoformat(end) if end else None,
            )
            for job, user, image, fingerprint, end in rows
        ]
