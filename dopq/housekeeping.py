"""One quiet thread: backs up the journal once a day, and removes what is not needed any more, images now and then."""

from __future__ import annotations

import threading
from pathlib import Path

from dopq.backup import daily_backup
from dopq.errors import DopqError
from dopq.image_sweep import ImageSweep
from dopq.share import Share
from dopq.share_sweep import ShareSweep
from dopq.uploads import Uploads
from dopq.utils.clock import Clock
from dopq.utils.log import logger

log = logger(__name__)

ROUND_S = 60.0
"""Seconds between two looks at the images: so long may a low disk hold builds for nothing."""

FILES_ROUNDS = 60
"""In how many rounds the share and the unfinished uploads are looked through once."""


class Housekeeping:
    """Tidies up until it is stopped. Whatever fails is tried again in a later round."""

    def __init__(
        self, journal: Path, images: ImageSweep, files: ShareSweep, share: Share, uploads: Uploads, clock: Clock
    ) -> None:
        self._journal = journal
        self._images = images
        self._files = files
        self._share = share
        self._uploads = uploads
        self._clock = clock
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="housekeeping", daemon=True)

    def start(self) -> None:
        """Begin to tidy up."""
        self._thread.start()

    def stop(self, timeout_s: float) -> None:
        """Tidy up no more."""
        self._stopping.set()
        self._thread.join(timeout_s)

    def tidy(self, *, files: bool) -> None:
        """One round; with `files` unfinished uploads, too, and the share unless it is away."""
        now = self._clock.now()
        try:
            daily_backup(self._journal, now.date())
        except DopqError as error:
            log.error("journal_not_backed_up", code=error.code, cause=error.message)
        try:
            self._images.sweep(now)
        except DopqError as away:
            log.debug("images_not_swept", cause=away.message)  # whoever waits for the engine says so in the log
        try:
            if files:
                self._uploads.sweep(now)
            if files and self._share.trouble() is None:
                self._files.sweep(now)
        except OSError as error:
            log.warning("files_not_tidied", path=error.filename, cause=error.strerror)

    def _run(self) -> None:
        rounds = 0
        while not self._stopping.is_set():
            try:
                self.tidy(files=rounds % FILES_ROUNDS == 0)
            except Exception:
                log.exception("housekeeping_defect")
            rounds += 1
            self._stopping.wait(ROUND_S)
