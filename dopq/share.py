"""Whether the share is there, and its users' folders.

A mark tells a share that lost all its files from a mount point with nothing mounted.
"""

from __future__ import annotations

import errno
import secrets
import shutil
from pathlib import Path

from dopq.config import Paths
from dopq.errors import OperatorError
from dopq.job import UserName
from dopq.utils.files import make_public_folder, write_atomic

MARK = ".dopq-share"


class ShareAway(OSError):
    """The share is not there. An `OSError`, so that whoever waits for a share that refuses waits for this one too."""

    def __str__(self) -> str:
        return str(self.strerror)


class Share:
    """The share of one node; the node keeps a copy of the mark in its state folder."""

    def __init__(self, paths: Paths) -> None:
        self._mark = paths.share / MARK
        self._copy = paths.share_mark
        self._outbox = paths.outbox
        self.root = paths.share

    def open(self) -> bool:
        """Mark the share at the first start, or take over the mark of one that another state folder has used.

        Returns:
            Whether this node has not used the share before.

        Raises:
            OSError: the share or the state folder takes no files.
        """
        if self._copy.exists():
            return False
        if not self._mark.exists():
            write_atomic(self._mark, secrets.token_hex(16) + "\n")
        write_atomic(self._copy, self._mark.read_bytes(), 0o600)
        return True

    def trouble(self) -> str | None:
        """What is wrong with the share, as a sentence for an admin; None while it is there."""
        try:
            if self._mark.read_bytes() == self._copy.read_bytes():
                return None
        except FileNotFoundError:
            return (
                f"The share {self.root} is not mounted, or empty: there is no {MARK} in it. Mount it; if this is a new "
                f"share on purpose, make {self._outbox}, remove {self._copy} and start the node again."
            )
        except OSError as error:
            return f"The share {self.root} cannot be read: {error.strerror}."
        return (
            f"Another share than this node's is at {self.root}: its {MARK} differs. Mount the right one; if it is new "
            f"on purpose, remove {self._copy} and start the node again."
        )

    def check(self) -> None:
        """Raise `ShareAway` unless the share is there: nothing may be written to a bare mount point."""
        if trouble := self.trouble():
            raise ShareAway(errno.ENODEV, trouble, str(self.root))


def require_share(paths: Paths) -> None:
    """Raise `OperatorError` unless the share is there, or was never used by a node."""
    if paths.share_mark.exists() and (trouble := Share(paths).trouble()):
        raise OperatorError(trouble)


def make_user_folders(paths: Paths, user: UserName, uid: int | None) -> Path:
    """The user's folders in the share; returns the inbox. With a `uid` the inbox belongs to that user.

    Raises:
        OperatorError: the share is away; once it is there this makes what is missing.
    """
    require_share(paths)
    inbox = paths.inbox / user
    for folder in (inbox, paths.outbox / user, paths.invalid / user, paths.failed / user):
        make_public_folder(folder)
    if uid is not None:
        shutil.chown(inbox, uid)
    return inbox
