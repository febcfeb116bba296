"""The journal: what is written before anybody is told.

Every change of a job is one transaction that appends to `events` (the story) and replaces the job's row (where it
stands), together with the account it charges.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from pydantic import TypeAdapter
from pydantic_core import from_json

from dopq.database import Database, Transaction
from dopq.errors import InvariantBroken, NotFound
from dopq.job import (
    FINAL,
    Actor,
    Building,
    Ended,
    Held,
    Job,
    JobId,
    Lease,
    Occupying,
    Queued,
    Running,
    Starting,
    State,
    StateName,
    Stopping,
    UserName,
    finished_at,
    lease_of,
)
from dopq.lines import Turn
from dopq.penalty import Account
from dopq.selection import Selection

EVERYTHING = Selection()

_JOB = TypeAdapter(Job)
# By the row's `state`: to try one kind after the other takes five times as long, and a start reads them all.
_STATES: Mapping[str, TypeAdapter[State]] = {
    StateName.BUILDING: TypeAdapter(Building),
    StateName.HELD: TypeAdapter(Held),
    StateName.QUEUED: TypeAdapter(Queued),
    StateName.STARTING: TypeAdapter(Starting),
    StateName.RUNNING: TypeAdapter(Running),
    StateName.STOPPING: TypeAdapter(Stopping),
    **dict.fromkeys(FINAL, TypeAdapter(Ended)),
}
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
            known = tx.execute("SELECT state, record FROM jobs WHERE key = ?", (job.key,)).fetchone()
            if known:
                return _job(*known)
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

    def names(self, user: UserName) -> list[str]:
        """The names of the user's jobs, of the last 500, the newest first."""
        rows = self._db.rows("SELECT name FROM jobs WHERE user = ? ORDER BY id DESC LIMIT 500", (user,))
        return [str(name) for (name,) in rows]

    def newest(self, user: UserName, skip: int = 0) -> Job | None:
        """The user's newest job, or the one `skip` before it."""
        return next(iter(self._jobs("WHERE user = ? ORDER BY id DESC LIMIT 1 OFFSET ?", (user, skip))), None)

    def ended(self, limit: int, wanted: Selection = EVERYTHING) -> list[Job]:
        """The history: ended jobs that were not cleared, the last to end first; those of it that are wanted."""
        conditions, values = ["finished_at IS NOT NULL", "NOT cleared"], list[Any]()
        if wanted.user is not None:
            conditions.append("user = ?")
            values.append(wanted.user)
        if wanted.states:
            conditions.append(f"state IN ({', '.join('?' * len(wanted.states))})")
            values += sorted(wanted.states)
        if wanted.since is not None:  # both in UTC and written alike, so that their texts sort as they do
            conditions.append("finished_at >= ?")
            values.append(wanted.since.astimezone(UTC).isoformat())
        where = f"WHERE {' AND '.join(conditions)} ORDER BY finished_at DESC, id DESC LIMIT ?"
        return self._jobs(where, (*values, limit))

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
        # `where` is always made of this class's own literals; values travel as parameters.
        rows = self._db.rows(f"SELECT state, record FROM jobs {where}", values)  # noqa: S608 - see above
        try:
            return [_job(state, record) for state, record in rows]
        except (ValueError, KeyError, TypeError) as error:  # pydantic's are ValueErrors
            raise self._db.unreadable(f"a job's record makes no sense ({type(error).__name__})") from error

    def _events(self, where: str = "", values: Sequence[Any] = ()) -> list[Event]:
        columns = "seq, job, at, old, new, actor, cause, lease"
        rows = self._db.rows(f"SELECT {columns} FROM events {where} ORDER BY seq", values)  # noqa: S608 - as in _jobs
        try:
            return [_event(row) for row in rows]
        except ValueError as error:
            raise self._db.unreadable(f"a job's story makes no sense ({error})") from error

    def _append(
        self,
        tx: Transaction,
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


def _job(state: str, record: str) -> Job:
    said = from_json(record)
    return Job(
        JobId(int(said["id"])),
        UserName(said["user"]),
        said["bundle"],
        said["key"],
        said["name"],
        datetime.fromisoformat(said["submitted_at"]),
        _STATES[state].validate_python(said["state"]),
        said["seq"],
    )


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


def _share_image(tx: Transaction, old: JobId, new: JobId) -> None:
    """Enter the image of one job for another, too, in the table of images.py."""
    shared = "INSERT INTO images SELECT ?, image, fingerprint FROM images WHERE job = ?"
    if not tx.execute(shared, (new, old)).rowcount:
        raise NotFound(f"The image of job {old} is not kept any more.", "Hand the bundle in again.")


def _told(old: State, new: State) -> Lease | None:
    """The lease that begins with a change, or ends while its attempt goes on."""
    if not isinstance(new, Occupying):
        return None
    return new.lease if not isinstance(old, Occupying) or old.lease != new.lease else None


def _lease(tx: Transaction, job: JobId, lease: Lease | None) -> None:
    """Enter what a job holds now, instead of what it held before."""
    tx.execute("DELETE FROM leases WHERE job = ?", (job,))
    held = [(job, gpu, lease.part) for gpu in lease.gpus] if lease else []
    try:
        tx.executemany("INSERT INTO leases VALUES (?, ?, ?)", held)
    except sqlite3.IntegrityError as error:
        raise InvariantBroken(
            f"Job {job} would hold a GPU, or a part of one, that another job holds: {error}."
        ) from error
