"""Bundles that arrive over the wire, in chunks that may be sent again.

An upload is a file below `uploads/`, with its user's name at the end; how far it has come is its size. The client names
it with a key of its own, so that a cut connection goes on where it stopped and a repeated commit gives the same job.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from dopq.errors import NotAllowed, NotFound, TryAgain, UserError
from dopq.job import Reason, UserName
from dopq.utils.crash_points import step
from dopq.utils.files import fsync_folder

CHUNK_BYTES = 256 * 1024
"""What clients send at a time: well below the 1 MiB that one call may carry."""

MOST_UNFINISHED = 8
"""Uploads of one user at a time."""

ABANDONED_S = 86_400.0
"""What has not grown for so long is not waited for."""


@dataclass(frozen=True, slots=True)
class Uploads:
    """The uploads of one node: unfinished ones in `folder`, finished ones in `spool`.

    Attributes:
        shortage: why so many more bytes cannot be had on their disk; None: they can.
    """

    folder: Path
    spool: Path
    max_bytes: int
    shortage: Callable[[int], Reason | None]

    def begin(self, user: UserName, key: str, size: int) -> tuple[str, int]:
        """Begin an upload, or go on with one; its id and the number of bytes that are here already.

        Raises:
            UserError: larger than this node takes, or empty.
            NotAllowed: too many others of the user's are unfinished.
            TryAgain: there is no space for it.
        """
        if not 0 < size <= self.max_bytes:
            raise UserError(
                f"A bundle of {size} bytes is not taken: this node takes 1 to {self.max_bytes} bytes.",
                "Leave large data out of the bundle; ask the admin for a data folder.",
            )
        upload = upload_id(user, key)
        finished = self.spool / upload
        if finished.exists():
            return upload, finished.stat().st_size
        partial = self._partial(user, key)
        unfinished = list(self.folder.glob(f"*.{user}"))
        if partial not in unfinished and len(unfinished) >= MOST_UNFINISHED:
            raise NotAllowed(
                f"{len(unfinished)} uploads of yours are unfinished; no more are taken.",
                "Let one of them come to its end; one that does not grow for a day is removed.",
            )
        self._require_space(size - partial.stat().st_size if partial in unfinished else size)
        partial.touch(mode=0o600)
        return upload, partial.stat().st_size

    def append(self, user: UserName, key: str, offset: int, data: bytes) -> int:
        """Add a chunk at `offset`; how many bytes are here now.

        A chunk that is here already is passed over, so that a client may repeat one whose answer was lost.

        Raises:
            NotFound: no such upload was begun.
            UserError: the chunk would leave a gap, or pass the limit.
            TryAgain: there is no space for it.
        """
        self._require_space(len(data))  # others write, too, and nobody is held to the size that they began with
        try:
            descriptor = os.open(self._partial(user, key), os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except FileNotFoundError:
            with suppress(FileNotFoundError):  # complete, and its client begins again: the answer to `finish` was lost
                return (self.spool / upload_id(user, key)).stat().st_size
            raise NotFound("There is no such upload.", "Begin it first.") from None
        with os.fdopen(descriptor, "r+b", buffering=0) as file:
            here = os.fstat(file.fileno()).st_size
            if offset > here or offset < 0 or offset + len(data) > self.max_bytes:
                raise UserError(f"A chunk at byte {offset} does not fit: {here} bytes are here.", "Go on from there.")
            _write_all(file.fileno(), data, offset)
            return os.fstat(file.fileno()).st_size

    def finish(self, user: UserName, key: str, sha256: str) -> str:
        """Check a complete upload and move it to the spool; the key under which a job may be made of it.

        Raises:
            NotFound: no such upload was begun.
            UserError: the bytes are not those that were meant; the upload is dropped, so that it can begin anew.
        """
        upload = upload_id(user, key)
        partial, finished = self._partial(user, key), self.spool / upload
        if finished.exists():
            return upload
        if not partial.exists():
            raise NotFound("There is no such upload.", "Begin it first.")
        with partial.open("rb") as file:
            arrived = hashlib.file_digest(file, "sha256").hexdigest()
            os.fsync(file.fileno())
        if arrived != sha256:
            partial.unlink()
            raise UserError("The bundle arrived damaged: its checksum differs.", "Send it again.")
        with step("upload finish"):
            partial.replace(finished)
            fsync_folder(self.spool)
        return upload

    def take_back(self, user: UserName, key: str) -> None:
        """No job came of a finished upload: it is unfinished again, and goes like these unless it is asked for anew."""
        with suppress(FileNotFoundError):
            (self.spool / upload_id(user, key)).replace(self._partial(user, key))

    def sweep(self, now: datetime) -> None:
        """Remove the unfinished ones that are not waited for any more."""
        for partial in self.folder.iterdir():
            with suppress(FileNotFoundError):  # finished meanwhile
                if now.timestamp() - partial.stat().st_mtime > ABANDONED_S:
                    partial.unlink()

    def _partial(self, user: UserName, key: str) -> Path:
        return self.folder / f"{upload_id(user, key)}.{user}"

    def _require_space(self, more_bytes: int) -> None:
        if reason := self.shortage(more_bytes):
            raise TryAgain(f"The bundle is not taken now. {reason.sentence}", "Try again later, or tell your admin.")


def upload_id(user: UserName, key: str) -> str:
    """The name of an upload: users cannot meet each other's, whatever keys they choose."""
    return f"upload-{_of_user(user, key)}"


def rerun_id(user: UserName, key: str) -> str:
    """The same for a wish to run a job again, which brings no bundle."""
    return f"rerun-{_of_user(user, key)}"


def _of_user(user: UserName, key: str) -> str:
    return hashlib.sha256(f"{user}\0{key}".encode()).hexdigest()[:40]


def _write_all(descriptor: int, data: bytes, offset: int) -> None:
    view = memoryview(data)
    while view:
        written = os.pwrite(descriptor, view, offset)
        view, offset = view[written:], offset + written
