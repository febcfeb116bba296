"""The state folder is the service's alone: who can write to it is every user, who can read it knows every job."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

from dopq.config import Paths
from dopq.errors import OperatorError
from dopq.utils.log import logger

log = logger(__name__)

PRIVATE_UMASK = 0o077
"""What this process makes is its own; what users are to read in the share is given its mode by name."""

_FOLDER, _FILE = 0o700, 0o600


def make_private(paths: Paths) -> None:
    """Take from everybody else what an earlier version, an unpacked backup or an admin left open.

    Not inside `jobs/<number>/`: there the modes are those which the job's processes need.

    Raises:
        OperatorError: it belongs to another account, or does not let us; says what to do.
    """
    try:
        owner = paths.state.stat().st_uid
        if owner != os.geteuid():
            raise _foreign(paths.state, owner)
        for path, mode in _private(paths):
            _narrow(path, mode)
    except OSError as error:
        raise OperatorError(
            f"The state folder {paths.state} cannot be kept private: {error.strerror} ({error.filename}).",
            f"Put it on a disk that keeps modes, owned by the service: chown -R {os.geteuid()} {paths.state}",
        ) from error


def too_open(paths: Paths) -> list[Path]:
    """What others can read or write of the state folder now. Raises `OSError` where it cannot be looked at."""
    return [path for path, mode in _private(paths) if _excess(path.stat(), mode)]


def _private(paths: Paths) -> Iterator[tuple[Path, int]]:
    """Everything with the widest mode that it may have; links are nobody's door, since what they name has its own."""
    inner = (paths.spool, paths.uploads, paths.jobs, paths.cache, paths.peers)
    yield paths.state, _FOLDER
    for folder in (paths.state, *(path for path in inner if path.is_dir())):
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    yield Path(entry.path), _FOLDER
                elif entry.is_file(follow_symlinks=False):
                    yield Path(entry.path), _FILE


def _narrow(path: Path, mode: int) -> None:
    try:
        excess = _excess(path.stat(), mode)
    except FileNotFoundError:  # SQLite's own files come and go
        return
    if excess:
        path.chmod(mode)
        if _excess(path.stat(), mode):
            raise PermissionError(1, "its file system does not keep modes", str(path))
        log.warning("made_private", path=path)


def _excess(info: os.stat_result, mode: int) -> int:
    return stat.S_IMODE(info.st_mode) & 0o777 & ~mode


def _foreign(state: Path, owner: int) -> OperatorError:
    return OperatorError(
        f"The state folder {state} belongs to uid {owner}, and this service runs as uid {os.geteuid()}.",
        f"Run the service as that account, or give it the folder: chown -R {os.geteuid()} {state}",
    )
