"""The file behind the journal: one SQLite database, one transaction at a time.

WAL with `synchronous=FULL`: a commit that returned survives a power cut (https://www.sqlite.org/pragma.html).
Migrations are numbered by `user_version`.
"""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from dopq.backup import back_up, way_back
from dopq.errors import OperatorError, StateUnreadable, StateUnwritable
from dopq.migrations import MIGRATIONS
from dopq.utils.crash_points import step

Transaction = sqlite3.Connection
"""What `Database.transaction` gives: for whoever takes part in a transaction that somebody else began."""


class Database:
    """One connection to the state file, usable from any thread, one transaction at a time."""

    def __init__(self, path: Path) -> None:
        """Open or create the file and bring its tables up to date.

        Raises:
            StateUnreadable: not a database, damaged, or written by a newer version.
            StateUnwritable: it cannot be opened or written at present, for example because the disk is full.
        """
        self._lock = threading.RLock()
        self._path = path
        self._life: int | None = None
        with self._translated():
            _touch_private(path)
            self._connection = sqlite3.connect(path, timeout=30.0, isolation_level=None, check_same_thread=False)
        try:
            with self._translated():
                self._connection.execute("PRAGMA journal_mode=WAL")
                self._connection.execute("PRAGMA synchronous=FULL")
                self._connection.execute("PRAGMA foreign_keys=ON")
            self._inode = path.stat().st_ino
            self._migrate()
        except BaseException:
            self._connection.close()
            raise

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """All or nothing: committed at the end of the block, rolled back when it or the commit raises.

        Raises:
            StateUnreadable: the file is damaged.
            StateUnwritable: it takes nothing at present, for example because the disk is full; or it was removed.
            OperatorError: a later life of the node has taken over.
        """
        with self._lock, self._translated():
            self._check_in_place()
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                self._check_life()
                yield self._connection
                with step("journal commit"):
                    self._connection.execute("COMMIT")
            except BaseException:
                if self._connection.in_transaction:  # SQLite has rolled back by itself where the disk was full
                    self._connection.execute("ROLLBACK")
                raise

    @contextmanager
    def snapshot(self) -> Iterator[None]:
        """Every `rows` in the block sees the file as it is at the first of them; writers go on meanwhile."""
        with self._lock, self._translated():
            self._connection.execute("BEGIN")
            try:
                yield
            finally:
                self._connection.execute("ROLLBACK")

    def take_over(self) -> int:
        """Begin a new life of the node: one more than the last. From now on every write fails once a later one began.

        The lock on the state folder keeps two nodes apart; this holds where somebody has removed its file.
        """
        with self.transaction() as tx:
            found = tx.execute("SELECT value FROM meta WHERE key = 'incarnation'").fetchone()
            life = int(found[0] if found else 0) + 1
            tx.execute("INSERT OR REPLACE INTO meta VALUES ('incarnation', ?)", (str(life),))
        self._life = life
        return life

    def _check_life(self) -> None:
        if self._life is None:  # a command of an admin's, which may write beside any node
            return
        [[newest]] = self._connection.execute("SELECT value FROM meta WHERE key = 'incarnation'").fetchall()
        if int(newest) != self._life:
            raise OperatorError(
                f"Another node has taken over {self._path.parent}; this one changes nothing any more.",
                "Stop this one. Never remove node.lock while a node runs.",
            )

    def rows(self, statement: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """The rows of a query. Raises what `transaction` raises."""
        with self._lock, self._translated():
            return self._connection.execute(statement, values).fetchall()

    def unreadable(self, why: object) -> StateUnreadable:
        """The error for a file that makes no sense."""
        return StateUnreadable(
            f"The state file {self._path} cannot be used: {why}.",
            way_back(self._path),
        )

    def _check_in_place(self) -> None:
        """SQLite would go on writing to a file that has lost its name, and the next start would know nothing of it."""
        try:
            in_place = self._path.stat().st_ino == self._inode
        except FileNotFoundError:
            in_place = False
        if not in_place:
            raise StateUnwritable(
                f"The state file {self._path} was removed or replaced under the running node.",
                "Stop the node, put the file back, and start the node again.",
            )

    def close(self) -> None:
        """Close the file. Nothing is lost without it; the write-ahead log is folded in."""
        with self._lock:
            self._connection.close()

    def _migrate(self) -> None:
        if 0 < (version := self._version()) < len(MIGRATIONS):
            back_up(self._path, f"before-version-{version + 1}")  # since a migration cannot be undone
        while (version := self._version()) < len(MIGRATIONS):
            with self.transaction() as tx:
                if self._version() == version:  # else another process was quicker
                    for statement in _statements(MIGRATIONS[version]):
                        tx.execute(statement)
                    tx.execute(f"PRAGMA user_version={version + 1}")
        if version > len(MIGRATIONS):
            raise StateUnreadable(
                f"The state file {self._path} is of version {version}; this DoPQ knows {len(MIGRATIONS)} and older.",
                "Start the newer DoPQ that wrote it.",
            )

    def _version(self) -> int:
        return int(self.rows("PRAGMA user_version")[0][0])

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.OperationalError as error:
            raise StateUnwritable(
                f"The state file {self._path} cannot be used at present: {error}.",
                "Look at its folder and disk: is it there, writable, and not full?",
            ) from error
        except sqlite3.DatabaseError as error:
            if isinstance(error, sqlite3.IntegrityError | sqlite3.ProgrammingError):
                raise  # ours, not the file's
            raise self.unreadable(error) from error


def _touch_private(path: Path) -> None:
    """Whoever makes the file, with whatever umask: nobody else reads it. SQLite gives its side files the same mode."""
    with suppress(OSError):  # SQLite says what is wrong
        os.close(os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600))


def _statements(script: str) -> Iterator[str]:
    """The statements of a script, one by one; a trigger has a semicolon of its own inside."""
    statement = ""
    for piece in script.split(";"):
        statement += f"{piece};"
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""
