"""Retention: what lies in invalid/, failed/ and outbox/ for longer than it is to be kept goes."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

from dopq.config import Paths, ShareSettings
from dopq.data_platform import DataPlatform
from dopq.errors import NotFound
from dopq.job import Ended, JobId
from dopq.utils.log import logger

log = logger(__name__)

_JOB_FOLDER = re.compile(r"([0-9]{1,15})-.+")


class ShareSweep:
    """Removes what is too old, user by user. Links are removed, never followed."""

    def __init__(self, platform: DataPlatform, paths: Paths, settings: ShareSettings) -> None:
        self._platform = platform
        self._paths = paths
        self._settings = settings

    def sweep(self, now: datetime) -> None:
        """Remove what may go.

        Raises:
            OSError: the share cannot be read, or does not let go of something.
        """
        settings = self._settings
        shelves = ((self._paths.invalid, settings.keep_invalid_days), (self._paths.failed, settings.keep_failed_days))
        for shelf, days in shelves:
            if days:
                self._sweep_shelf(shelf, now - timedelta(days=days))
        if settings.keep_outbox_days:
            self._sweep_outbox(now - timedelta(days=settings.keep_outbox_days))

    def _sweep_shelf(self, shelf: Path, before: datetime) -> None:
        """By the time at which the node put it there, which is that of its last change."""
        for entry in _entries_of_users(shelf):
            changed = datetime.fromtimestamp(entry.stat(follow_symlinks=False).st_mtime, UTC)
            if changed < before:
                _remove(entry)

    def _sweep_outbox(self, before: datetime) -> None:
        """By the end of the job; a folder that is no ended job's stays."""
        for entry in _entries_of_users(self._paths.outbox):
            ended = self._end_of(entry.name)
            if ended and ended < before:
                _remove(entry)

    def _end_of(self, folder: str) -> datetime | None:
        number = _JOB_FOLDER.fullmatch(folder)
        if not number:
            return None
        try:
            state = self._platform.job(JobId(int(number[1]))).state
        except NotFound:
            return None
        return state.at if isinstance(state, Ended) else None


def _entries_of_users(folder: Path) -> Iterator[os.DirEntry[str]]:
    with os.scandir(folder) as users:
        for user in users:
            if user.is_dir(follow_symlinks=False):
                with os.scandir(user.path) as entries:
                    yield from list(entries)


def _remove(entry: os.DirEntry[str]) -> None:
    if entry.is_dir(follow_symlinks=False):
        shutil.rmtree(entry.path)
    else:
        Path(entry.path).unlink(missing_ok=True)
    log.info("share_tidied", path=entry.path)
