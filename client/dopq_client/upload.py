"""Handing in: from a path to a job, in chunks that may be sent again."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, cast

from dopq.errors import UserError
from dopq_client.link import Link
from dopq_client.pack import pack
from dopq_client.shapes import JobInfo

LARGEST_CHUNK = 1024 * 1024  # whatever the service asks for, a chunk is held in memory


@contextmanager
def bundle_of(path: Path) -> Iterator[tuple[IO[bytes], str]]:
    """The bundle at `path`, open for reading, and its name: the file as it is, or a zip of the folder.

    Raises:
        UserError: there is nothing, or nothing that can be read.
    """
    path = path.resolve()  # `.` has no name
    if path.is_dir():
        with tempfile.TemporaryFile(prefix="dopq-bundle-") as zipped:
            pack(path, zipped)
            zipped.seek(0)
            yield zipped, f"{path.name}.zip"
        return
    if path.exists() and not path.is_file():  # to open a named pipe would wait for somebody who writes
        raise UserError(f"The bundle {path} is neither a file nor a folder.", "Give a zip, a tar, or a folder.")
    try:
        file = path.open("rb")
    except OSError as error:
        raise UserError(
            f"The bundle {path} cannot be read: {error.strerror}.", "Give a zip, a tar, or a folder with a Dockerfile."
        ) from error
    with file:
        yield file, path.name


def send(
    link: Link, file: IO[bytes], name: str, *, key: str, progress: Callable[[int, int], None] | None = None
) -> JobInfo:
    """Send a bundle and make a job of it. The same `key` never makes a second job.

    Raises:
        UserError: the service does not take it, or it changed while it was being sent.
    """
    size = os.fstat(file.fileno()).st_size
    chunk = min(max(1, int(link.call("begin_upload", key, size)["chunk_bytes"])), LARGEST_CHUNK)
    digest, sent = hashlib.sha256(), 0
    while data := file.read(min(chunk, size - sent)):
        link.call("send_chunk", key, sent, data)
        digest.update(data)
        sent += len(data)
        if progress:
            progress(sent, size)
    if sent != size:
        raise UserError(f"The bundle {name} became shorter while it was being sent.", "Submit it again.")
    return cast("JobInfo", link.call("submit", key, name, digest.hexdigest()))
