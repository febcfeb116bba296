"""The journal: one SQLite file that is written before anybody is told.

WAL with `synchronous=FULL`: a commit that returned survives a power cut (https://www.sqlite.org/pragma.html). Every
change of a job is one transaction that appends to `events` (the story) and replaces the job's row (where it stands),
together with the account it charges. Migrations are numbered by `user_version`.
"""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from dopq.backup import back_up, way_back
from dopq.errors import InvariantBroken, NotFound, OperatorError, StateUnreadable
from dopq.job import FINAL, Actor, Job, JobId, Lease, Occupying, State, StateName, UserName, finished_at, lease_of
from dopq.lines import Turn
from dopq.penalty import Account
from dopq.utils.crash_points import step

MIGRATIONS: tuple[str, ...] = (
    """
    CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT;
    CREATE TABLE users (
        name TEXT PRIMARY KEY, role TEXT NOT NULL, weight REAL NOT NULL, uid INTEGER, token_hash TEXT NOT NULL UNIQUE,
        created_at TEXT NOT NULL
    ) STRICT;
    CREATE TABLE jobs (
        id INTEGER PRIMARY KEY AUTOINCREMENT, key TEXT NOT NULL UNIQUE, user TEXT NOT NULL, name TEXT NOT NULL,
        state TEXT NOT NULL, finished_at TEXT, cleared INTEGER NOT NULL DEFAULT 0, seq INTEGER NOT NULL,
        record TEXT NOT NULL
    ) STRICT;
    CREATE INDEX jobs_by_seq ON jobs (seq);
    CREATE INDEX jobs_by_end ON jobs (finished_at DESC, id DESC) WHERE finished_at IS NOT NULL AND NOT cleared;
    CREATE INDEX jobs_alive ON jobs (id) WHERE finished_at IS NULL;
    CREATE INDEX jobs_by_name ON jobs (name);
    CREATE TABLE events (
        seq INTEGER PRIMARY KEY AUTOINCREMENT, job INTEGER NOT NULL REFERENCES jobs (id), at TEXT NOT NULL,
        old TEXT, new TEXT NOT NULL, actor TEXT NOT NULL, cause TEXT NOT NULL
    ) STRICT;
    CREATE INDEX events_by_job ON events (job, seq);
    CREATE TABLE accounts (user TEXT PRIMARY KEY, usage REAL NOT NULL, as_of REAL NOT NULL, rate REAL NOT NULL) STRICT;
    """,
    """
    CREATE TABLE images (
        job INTEGER PRIMARY KEY REFERENCES jobs (id), image TEXT NOT NULL, fingerprint TEXT NOT NULL
    ) STRICT;
    """,
    """
    CREATE TABLE turns (
        user TEXT NOT NULL, needs_gpu INTEGER NOT NULL, at REAL NOT NULL, PRIMARY KEY (user, needs_gpu)
    ) STRICT;
    """,
    # A uid that several users had, or that means nobody at all, says of nobody who they are: it goes. The tokens of old
    # had no end; now they have one, far enough off for everybody to get another.
    """
    ALTER TABLE users RENAME TO former_users;
    CREATE TABLE users (
        name TEXT PRIMARY KEY, role TEXT NOT NULL, weight REAL NOT NULL, uid INTEGER UNIQUE, email TEXT, ssh_key TEXT,
        password_hash TEXT, created_at TEXT NOT NULL
    ) STRICT;
    INSERT INTO users SELECT
        name, role, weight,
        CASE WHEN uid != 65534 AND count(*) OVER (PARTITION BY uid) = 1 THEN uid END,
        NULL, NULL, NULL, created_at
        FROM former_users;
    CREATE TABLE tokens (
        hash TEXT PRIMARY KEY, user TEXT NOT NULL REFERENCES users (name) ON DELETE CASCADE, created_at TEXT NOT NULL,
        expires_at TEXT NOT NULL, source TEXT NOT NULL
    ) STRICT;
    CREATE INDEX tokens_by_user ON tokens (user);
    INSERT INTO tokens SELECT
        token_hash, name, created_at, strftime('%Y-%m-%dT%H:%M:%S+00:00', 'now', '+90 days'), 'an earlier version'
        FROM former_users;
    DROP TABLE former_users;
    CREATE TABLE registrations (
        id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL, email TEXT NOT NULL, wished_uid INTEGER, ssh_key TEXT,
        password_hash TEXT NOT NULL, address TEXT NOT NULL, asked_at TEXT NOT NULL
    ) STRICT;
    CREATE TABLE invites (
        hash TEXT PRIMARY KEY, role TEXT NOT NULL, weight REAL NOT NULL, expires_at TEXT NOT NULL
    ) STRICT;
    """,
    # A job ends once, whatever the code above does. What each attempt held stays told, also when a further one follows.
    """
    ALTER TABLE events ADD COLUMN lease TEXT;
    CREATE UNIQUE INDEX one_end_of_each_job ON events (job) WHERE new IN
        ('succeeded', 'failed', 'cancelled', 'timed_out', 'lost', 'invalid', 'build_failed');
    """,
    # What is held now. The register sees to it that nothing is held twice; this is so whatever the code above does.
    """
    CREATE TABLE leases (
        job INTEGER NOT NULL REFERENCES jobs (id), gpu TEXT NOT NULL, part REAL NOT NULL CHECK (part > 0 AND part <= 1),
        PRIMARY KEY (job, gpu)
    ) STRICT;
    CREATE UNIQUE INDEX leases_of_whole_gpus ON leases (gpu) WHERE part = 1;
    CREATE TRIGGER leases_of_parts BEFORE INSERT ON leases
        WHEN NEW.part + (SELECT total(part) FROM leases WHERE gpu = NEW.gpu) > 1.00001
        BEGIN SELECT RAISE(ABORT, 'a part of a GPU is leased twice'); END;
    INSERT INTO leases
        SELECT jobs.id, held.value, coalesce(json_extract(record, '$.state.lease.part'), 1.0)
        FROM jobs, json_each(record, '$.state.lease.gpus') AS held WHERE state IN ('starting', 'running', 'stopping');
    """,
)

Transaction = sqlite3.Connection
"""What `Database.transaction` gives: for whoever takes part in a transaction that somebody else began."""

_JOB = TypeAdapter(Job)
_LEASE = TypeAdapter(Lease)


@dataclass(frozen=True, slots=True)
class Event:
    """One line of a job's story.

    Attributes:
        lease: what the job holds from here on, where its state became `starting`; what it held, where that ended before
            its attempt did. Else None, in older journals always.
    """

    seq: int
    job: JobId
    at: datetime
    old: StateName | None
    new: StateName
    actor: Actor
    cause: str
    lease: Lease | None = None


class Database:
    """One connection to the state file, usable from any thread, one transaction at a time."""

    def __init__(self, path: Path) -> None:
        """Open or create the file and bring its tables up to date.

        Raises:
            StateUnreadable: not a database, damaged, or written by a newer version.
            OperatorError: it cannot be opened or written at present, for example because the disk is full.
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
            OperatorError: it cannot be written at present, for example because the disk is full, or it was removed.
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
            raise OperatorError(
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
            raise OperatorError(
                f"The state file {self._path} cannot be used at present: {error}.",
                "Look at its folder and disk: is it there, writable, and not full?",
            ) from error
        except sqlite3.DatabaseError as error:
            if isinstance(error, sqlite3.IntegrityError | sqlite3.ProgrammingError):
                raise  # ours, not the file's
            raise self.unreadable(error) from error


class Journal:
    """Jobs, their story, and what each user owes, over a `Database`."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def add(self, job: Job, cause: str, actor: Actor = Actor.PROVIDER, *, image_of: JobId | None = None) -> Job:
        """Record a new job and give it its number; the `id` and `seq` it came with are ignored.

        The job's `key` names what was handed in: a second `add` of the same key returns the first one's job.

        Args:
            image_of: another job, whose image this one is to run; from now on it is kept for both.

        Raises:
            NotFound: that image is not kept any more; nothing was recorded.
        """
        with self._db.transaction() as tx:
            known = tx.execute("SELECT record FROM jobs WHERE key = ?", (job.key,)).fetchone()
            if known:
                return _JOB.validate_json(known[0])
            number = tx.execute(
                "INSERT INTO jobs (key, user, name, state, seq, record) VALUES (?, ?, ?, ?, 0, '')",
                (job.key, job.user, job.name, job.state.name),
            ).lastrowid
            job = replace(job, id=JobId(number or 0))
            if image_of is not None:
                _share_image(tx, image_of, job.id)
            return self._append(tx, job, None, actor, cause, job.submitted_at)

    def change(
        self,
        job: Job,
        old: Job,
        actor: Actor,
        cause: str,
        at: datetime,
        account: Account | None,
        turn: Turn | None = None,
    ) -> Job:
        """Record that `old` became `job`; returns it with its `seq`.

        `account` and `turn` are its user's, where these changed with it.

        Raises:
            InvariantBroken: it would hold what another job holds; nothing was recorded.
        """
        with self._db.transaction() as tx:
            if (held := lease_of(job.state)) != lease_of(old.state):
                _lease(tx, job.id, held)
            if turn is not None:
                tx.execute("INSERT OR REPLACE INTO turns VALUES (?, ?, ?)", (turn.user, turn.needs_gpu, turn.at_s))
            if account is not None:
                tx.execute(
                    "INSERT OR REPLACE INTO accounts VALUES (?, ?, ?, ?)",
                    (job.user, account.usage, account.as_of, account.rate),
                )
            return self._append(tx, job, old.state.name, actor, cause, at, _told(old.state, job.state))

    def alive(self) -> list[Job]:
        """Every job that has not ended, oldest first."""
        return self._jobs("WHERE finished_at IS NULL ORDER BY id")

    def accounts(self) -> dict[UserName, Account]:
        """What each user has used, by user."""
        rows = self._db.rows("SELECT user, usage, as_of, rate FROM accounts")
        return {UserName(user): Account(usage, as_of, rate) for user, usage, as_of, rate in rows}

    def turns(self) -> list[Turn]:
        """When each user's oldest job last started, in each pool."""
        rows = self._db.rows("SELECT user, needs_gpu, at FROM turns")
        return [Turn(UserName(user), bool(needs_gpu), at) for user, needs_gpu, at in rows]

    def job(self, job_id: JobId) -> Job | None:
        """A job by its number, ended or not."""
        return next(iter(self._jobs("WHERE id = ?", (job_id,))), None)

    def with_key(self, key: str) -> Job | None:
        """The job of that key, ended or not."""
        return next(iter(self._jobs("WHERE key = ?", (key,))), None)

    def named(self, name: str, user: UserName) -> list[Job]:
        """Jobs of that name, 100 at most: the user's own first, then those that have not ended, then the newest."""
        order = "user = ? DESC, finished_at IS NULL DESC, id DESC"
        return self._jobs(f"WHERE name = ? ORDER BY {order} LIMIT 100", (name, user))

    def newest(self, user: UserName, skip: int = 0) -> Job | None:
        """The user's newest job, or the one `skip` before it."""
        return next(iter(self._jobs("WHERE user = ? ORDER BY id DESC LIMIT 1 OFFSET ?", (user, skip))), None)

    def ended(self, limit: int, user: UserName | None = None) -> list[Job]:
        """The history: ended jobs that were not cleared, the last to end first."""
        whose, values = ("AND user = ?", (user, limit)) if user else ("", (limit,))
        return self._jobs(
            f"WHERE finished_at IS NOT NULL AND NOT cleared {whose} ORDER BY finished_at DESC, id DESC LIMIT ?",
            values,
        )

    def counts(self) -> dict[tuple[UserName, StateName], int]:
        """How many jobs each user has in each state, cleared ones included."""
        rows = self._db.rows("SELECT user, state, count(*) FROM jobs GROUP BY user, state")
        return {(UserName(user), StateName(state)): count for user, state, count in rows}

    def last_seq(self) -> int:
        """Number of the newest entry; 0 in an empty journal."""
        return int(self._db.rows("SELECT coalesce(max(seq), 0) FROM events")[0][0])

    def changed_since(self, seq: int) -> list[Job]:
        """Every job that changed after entry `seq`, in the order of their last change."""
        return self._jobs("WHERE seq > ? ORDER BY seq", (seq,))

    def story(self, job_id: JobId) -> list[Event]:
        """Everything that happened to a job."""
        return self._events("WHERE job = ?", (job_id,))

    def events(self) -> list[Event]:
        """Everything that happened to any job, in order."""
        return self._events()

    def clear(self) -> int:
        """Take every ended job out of the history; how many it held. Their rows and stories stay."""
        with self._db.transaction() as tx:
            return tx.execute("UPDATE jobs SET cleared = 1 WHERE finished_at IS NOT NULL AND NOT cleared").rowcount

    def note(self, key: str, value: str | None) -> None:
        """Remember a small fact across restarts; None forgets it."""
        with self._db.transaction() as tx:
            if value is None:
                tx.execute("DELETE FROM meta WHERE key = ?", (key,))
            else:
                tx.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (key, value))

    def noted(self, key: str) -> str | None:
        """A fact that was noted; None when it was not."""
        rows = self._db.rows("SELECT value FROM meta WHERE key = ?", (key,))
        return str(rows[0][0]) if rows else None

    def _jobs(self, where: str, values: Sequence[Any] = ()) -> list[Job]:
        # `where` is always one of this class's own literals; values travel as parameters.
        rows = self._db.rows(f"SELECT record FROM jobs {where}", values)  # noqa: S608 - see above
        try:
            return [_JOB.validate_json(record) for (record,) in rows]
        except ValidationError as error:
            raise self._db.unreadable(f"a job's record makes no sense ({error.error_count()} problems)") from error

    def _events(self, where: str = "", values: Sequence[Any] = ()) -> list[Event]:
        columns = "seq, job, at, old, new, actor, cause, lease"
        rows = self._db.rows(f"SELECT {columns} FROM events {where} ORDER BY seq", values)  # noqa: S608 - as in _jobs
        try:
            return [_event(row) for row in rows]
        except ValueError as error:
            raise self._db.unreadable(f"a job's story makes no sense ({error})") from error

    def _append(
        self,
        tx: sqlite3.Connection,
        job: Job,
        old: StateName | None,
        actor: Actor,
        cause: str,
        at: datetime,
        lease: Lease | None = None,
    ) -> Job:
        told = _LEASE.dump_json(lease).decode() if lease else None
        try:
            seq = tx.execute(
                "INSERT INTO events (job, at, old, new, actor, cause, lease) VALUES (?, ?, ?, ?, ?, ?, ?)",
                (job.id, at.isoformat(), old, job.state.name, actor, cause, told),
            ).lastrowid
        except sqlite3.IntegrityError as error:
            raise InvariantBroken(f"Job {job.id} has ended before: {error}.") from error
        job = replace(job, seq=seq or 0)
        end = finished_at(job.state)
        tx.execute(
            "UPDATE jobs SET name = ?, state = ?, finished_at = ?, seq = ?, record = ? WHERE id = ?",
            (
                job.name,
                job.state.name,
                end.isoformat() if end else None,
                job.seq,
                _JOB.dump_json(job).decode(),
                job.id,
            ),
        )
        if (job.state.name in FINAL) != (end is not None):
            raise AssertionError(f"{job.state.name} of job {job.id} disagrees with its end {end}")
        return job


def _event(row: tuple[Any, ...]) -> Event:
    seq, job, at, old, new, actor, cause, lease = row
    return Event(
        seq,
        JobId(job),
        datetime.fromisoformat(at),
        StateName(old) if old else None,
        StateName(new),
        Actor(actor),
        cause,
        _LEASE.validate_json(lease) if lease else None,
    )


def _touch_private(path: Path) -> None:
    """Whoever makes the file, with whatever umask: nobody else reads it. SQLite gives its side files the same mode."""
    with suppress(OSError):  # SQLite says what is wrong
        os.close(os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600))


def _share_image(tx: sqlite3.Connection, old: JobId, new: JobId) -> None:
    """Enter the image of one job for another, too, in the table of images.py."""
    shared = "INSERT INTO images SELECT ?, image, fingerprint FROM images WHERE job = ?"
    if not tx.execute(shared, (new, old)).rowcount:
        raise NotFound(f"The image of job {old} is not kept any more.", "Hand the bundle in again.")


def _told(old: State, new: State) -> Lease | None:
    """The lease that begins with a change, or ends while its attempt goes on."""
    if not isinstance(new, Occupying):
        return None
    return new.lease if not isinstance(old, Occupying) or old.lease != new.lease else None


def _lease(tx: sqlite3.Connection, job: JobId, lease: Lease | None) -> None:
    """Enter what a job holds now, instead of what it held before."""
    tx.execute("DELETE FROM leases WHERE job = ?", (job,))
    held = [(job, gpu, lease.part) for gpu in lease.gpus] if lease else []
    try:
        tx.executemany("INSERT INTO leases VALUES (?, ?, ?)", held)
    except sqlite3.IntegrityError as error:
        raise InvariantBroken(
            f"Job {job} would hold a GPU, or a part of one, that another job holds: {error}."
        ) from error


def _statements(script: str) -> Iterator[str]:
    """The statements of a script, one by one; a trigger has a semicolon of its own inside."""
    statement = ""
    for piece in script.split(";"):
        statement += f"{piece};"
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""
