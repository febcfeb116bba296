"""A bar for what takes a while: on stderr, and only where somebody looks at it."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

    from dopq_client.fetching import FetchProgress


@contextmanager
def bar(label: str) -> Iterator[Callable[[int, int], None] | None]:
    """A callback that takes (done, total) in bytes; None when stderr is no terminal."""
    with _shown(label) as shown:
        if shown is None:
            yield None
        else:
            progress, task = shown
            yield lambda done, total: progress.update(task, completed=done, total=total)


@contextmanager
def fetch_bar(label: str) -> Iterator[Callable[[FetchProgress], None] | None]:
    """A callback for a fetch, which counts its files, too; None when stderr is no terminal."""
    with _shown(label) as shown:
        if shown is None:
            yield None
            return
        progress, task = shown

        def tell(now: FetchProgress) -> None:
            files = f"{label}, {now.files} of {now.files_total} files"
            progress.update(task, description=files, completed=now.bytes, total=now.bytes_total)

        yield tell


@contextmanager
def _shown(label: str) -> Iterator[tuple[Progress, TaskID] | None]:
    if not sys.stderr.isatty():
        yield None
        return
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

    from dopq_client.screen import console

    columns = (BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
    # `{task.description}` would be read as markup otherwise, and it may be a file's name.
    with Progress(
        TextColumn("{task.description}", markup=False), *columns, console=console(stderr=True), transient=True
    ) as progress:
        yield progress, progress.add_task(label, total=None)
