"""Bundles that arrive over the wire, in chunks that may be sent again.

An upload is a file below `uploads/`; how far it has come is its size. The client names it with a key of its own, so
that a cut connection goes on where it stopped and a repeated commit gives the same job.
"""

from __future__ import annotations

import hashlib
import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from dopq.errors import NotFound, UserError
from dopq.job import UserName
from dopq.utils.crash_points import step
from dopq.utils.files import fsync_folder

CHUNK_BYTES = 256 * 1024
"""What clients send at a time: well below the 1 MiB that one call may carry."""


@dataclass(frozen=True, slots=True)
class Uploads:
    """The uploads of one node: unfinished ones in `folder`, finished ones in `spool`."""

    folder: Path
    spool: Path
    max_bytes: int

    def begin(self, user: UserName, key: str, size: int) -> tuple[str, int]:
        """Begin an upload, or go on with one; its id and the number of bytes that are here already.

        Raises:
            UserError: larger than this node takes, or empty.
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
        partial = self.folder / upload
        partial.touch(mode=0o600)
        return upload, partial.stat().st_size

    def append(self, user: UserName, key: str, offset: int, data: bytes) -> int:
        """Add a chunk at `offset`; how many bytes are here now.

        A chunk that is here already is passed over, so that a client may repeat one whose answer was lost.

        Raises:
            NotFound: no such upload was begun.
            UserError: the chunk would leave a gap, or pass the limit.
        """
        upload = upload_id(user, key)
        try:
            descriptor = os.open(self.folder / upload, os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except FileNotFoundError:
            with suppress(FileNotFoundError):  # complete, and its client begins again: the answer to `finish` was lost
                return (self.spool / upload).stat().st_size
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
        partial, finished = self.folder / upload, self.spool / upload
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
