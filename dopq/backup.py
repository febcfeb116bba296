"""Copies of the journal: one a day, one before each migration, and the way back (docs/adr/0068)."""

from __future__ import annotations

import os
import shlex
import sqlite3
import tempfile
import time
from contextlib import closing
from datetime import date
from pathlib import Path

from dopq.errors import OperatorError, StateUnreadable
from dopq.utils.files import fsync_file, fsync_folder

KEPT = 7
"""So many daily ones are kept."""

A_DAY_S = 86_400.0


def back_up(journal: Path, name: str) -> Path:
    """Copy the journal as it is at this moment, while others write, into the folder `backups` beside it.

    The copy has its name when it is whole and sound: a damaged journal replaces no backup.

    Raises:
        StateUnreadable: the journal is damaged.
        OperatorError: the copy cannot be written at present.
    """
    try:
        return _copy(journal, name)
    except sqlite3.OperationalError as error:
        raise _not_written(journal, str(error)) from error
    except sqlite3.DatabaseError as error:
        raise StateUnreadable(f"The state file {journal} is damaged: {error}.", way_back(journal)) from error
    except OSError as error:
        raise _not_written(journal, error.strerror or str(error)) from error


def _not_written(journal: Path, why: str) -> OperatorError:
    return OperatorError(f"The state file {journal} cannot be backed up: {why}.", "Look at its disk: is it full?")


def _copy(journal: Path, name: str) -> Path:
    folder = journal.parent / "backups"
    folder.mkdir(mode=0o700, exist_ok=True)
    target = folder / f"{name}.sqlite3"
    # A name of its own: a node and a command beside it may do this at the same moment.
    descriptor, temporary = tempfile.mkstemp(prefix=f".{name}-", suffix=".part", dir=folder)  # made with mode 0600
    os.close(descriptor)
    partial = Path(temporary)
    try:
        with closing(sqlite3.connect(journal)) as source, closing(sqlite3.connect(partial)) as copy:
            source.backup(copy)
            copy.execute("PRAGMA journal_mode=DELETE")
            if (said := copy.execute("PRAGMA quick_check(1)").fetchone()[0]) != "ok":
                raise sqlite3.DatabaseError(str(said))
        fsync_file(partial)
        partial.replace(target)
    finally:
        partial.unlink(missing_ok=True)
    fsync_folder(folder)
    return target


def daily_backup(journal: Path, today: date) -> None:
    """Back up the journal unless that was done today, and let go of the oldest. Raises as `back_up`."""
    if not (journal.parent / "backups" / f"journal-{today}.sqlite3").exists():
        back_up(journal, f"journal-{today}")
        for old in sorted((journal.parent / "backups").glob("journal-????-??-??.sqlite3"))[:-KEPT]:
            old.unlink()
        for left in (journal.parent / "backups").glob(".*.part"):  # of somebody who was killed while writing it
            if time.time() - left.stat().st_mtime > A_DAY_S:
                left.unlink()


def way_back(journal: Path) -> str:
    """What an admin does about a journal that is damaged, in words and as a command for a shell."""
    backups = list((journal.parent / "backups").glob("*.sqlite3"))
    if not backups:
        return "Put back a copy of it from your backup; DoPQ does not guess at lost state."
    newest = max(backups, key=lambda path: path.stat().st_mtime)
    damaged, old = shlex.quote(str(journal)), shlex.quote(str(newest))
    return (
        "With the node stopped, put back the newest backup (what came after it is lost): "
        f"mv {damaged} {damaged}.damaged; rm -f {damaged}-wal {damaged}-shm; cp {old} {damaged}"
    )
