"""The journal: all or nothing, on disk when it says so, and it refuses what it cannot read."""

from __future__ import annotations

import hashlib
import multiprocessing
import random
import signal
import sqlite3
import tempfile
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from multiprocessing.connection import Connection
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dopq import store
from dopq.database import Database
from dopq.errors import InvariantBroken, OperatorError, StateUnreadable
from dopq.job import (
    FINAL,
    Actor,
    After,
    Building,
    Dependency,
    Ended,
    GpuId,
    ImageId,
    Job,
    JobId,
    JobSpec,
    Lease,
    Outcome,
    Problem,
    Queued,
    Reason,
    ResourceUse,
    Retry,
    Running,
    Starting,
    State,
    StateName,
    Stopping,
    UserName,
    Work,
    lease_of,
)
from dopq.migrations import MIGRATIONS
from dopq.penalty import Account
from dopq.store import Journal
from dopq.tokens import Tokens
from dopq.users import Users
from dopq.utils.clock import SystemClock

NOON = datetime(2026, 1, 5, 12, 0, tzinfo=UTC)
ANNA = UserName("anna")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journal.sqlite3"


@pytest.fixture
def database(path: Path) -> Iterator[Database]:
    database = Database(path)
    yield database
    database.close()


@pytest.fixture
def journal(database: Database) -> Journal:
    return Journal(database)


def a_job(key: str = "drop-1", state: State | None = None, user: UserName = ANNA) -> Job:
    return Job(JobId(0), user, "x.zip", key, "x", NOON, state or Building())


def ended(outcome: Outcome = StateName.CANCELLED, at: datetime = NOON) -> Ended:
    return Ended(outcome, at, Reason("because", "Because."))


# --- what is written is read back ---

texts = st.text(st.characters(codec="utf-8"), max_size=20)
zones = st.sampled_from([UTC, timezone(timedelta(hours=2)), timezone(timedelta(hours=-9, minutes=-30))])
times = st.datetimes(datetime(1970, 1, 2), datetime(2200, 1, 1), timezones=zones)  # noqa: DTZ001 - the zones come along
reasons = st.builds(Reason, texts, texts)
specs = st.builds(
    JobSpec,
    name=texts,
    gpus=st.integers(0, 64),
    slots=st.none() | st.integers(1, 16),
    memory_bytes=st.none() | st.integers(1, 2**45),
    shm_bytes=st.none() | st.integers(1, 2**45),
    cpus=st.none() | st.floats(0.01, 512),
    time_limit_s=st.none() | st.integers(1, 10**8),
    command=st.none() | st.lists(texts, max_size=3).map(tuple),
    entrypoint=st.none() | st.lists(texts, max_size=3).map(tuple),
    environment=st.lists(st.tuples(texts, texts), max_size=3).map(tuple),
    working_dir=st.none() | texts,
    stop_signal=st.none() | texts,
    priority=st.integers(-100, 100),
    retries=st.integers(0, 5),
    after=st.lists(st.builds(After, texts, st.booleans()), max_size=3).map(tuple),
)
dependencies = st.builds(Dependency, st.integers(1, 10**9).map(JobId), st.booleans())
retries = st.builds(Retry, st.integers(1, 5), reasons, times)
works = st.builds(
    Work,
    specs,
    texts.map(ImageId),
    times,
    st.booleans(),
    st.lists(dependencies, max_size=3).map(tuple),
    st.none() | retries,
)
leases = st.builds(
    Lease,
    st.integers(1, 5),
    st.frozensets(texts.map(GpuId), max_size=4),
    times,
    st.none() | st.floats(0, 1e4),
    st.floats(0, 1),
)
uses = st.builds(ResourceUse, st.none() | st.floats(0, 1e9), st.none() | st.integers(0, 2**45))
states = (
    st.builds(Building)
    | st.builds(Queued, works)
    | st.builds(Starting, works, leases)
    | st.builds(Running, works, leases, times, st.none() | reasons)
    | st.builds(
        Stopping,
        works,
        leases,
        st.none() | times,
        st.sampled_from([StateName.CANCELLED, StateName.TIMED_OUT, StateName.FAILED]),
        reasons,
        times,
    )
    | st.builds(
        Ended,
        st.sampled_from(sorted(FINAL)),
        times,
        reasons,
        st.none() | st.integers(0, 255),
        st.none() | works,
        st.none() | leases,
        st.none() | times,
        uses,
        st.lists(st.builds(Problem, texts, texts, texts), max_size=3).map(tuple),
    )
)


@given(states, texts, texts)
def test_every_state_is_read_back_as_it_was_written(state: State, bundle: str, name: str) -> None:
    job = replace(a_job(state=state), bundle=bundle, name=name)
    with tempfile.TemporaryDirectory() as folder, closing(Database(Path(folder, "journal.sqlite3"))) as database:
        written = Journal(database).add(job, "took it")
        read = Journal(database).job(written.id)
    assert read == written
    assert type(read.state) is type(state)
    assert replace(read, id=job.id, seq=job.seq) == job


def test_a_lease_from_before_there_were_weights_and_slots_is_of_whole_gpus_by_their_number(
    journal: Journal, database: Database
) -> None:
    work = Work(JobSpec("train", gpus=1), ImageId("sha256:1"), NOON)
    lease = Lease(1, frozenset({GpuId("GPU-a")}), NOON, rate=2.0, part=0.5)
    job = journal.add(a_job(state=Starting(work, lease)), "took it")
    with database.transaction() as tx:
        for field in ("state.lease.rate", "state.lease.part", "state.work.spec.slots"):
            tx.execute("UPDATE jobs SET record = json_remove(record, ?)", (f"$.{field}",))
    old = journal.job(job.id)
    assert old is not None
    assert lease_of(old.state) == Lease(1, frozenset({GpuId("GPU-a")}), NOON, rate=None, part=1.0)


def test_the_same_key_gives_the_same_job(journal: Journal) -> None:
    first = journal.add(a_job("drop-1"), "took it")
    assert journal.add(replace(a_job("drop-1"), bundle="other.zip"), "took it again") == first
    assert len(journal.story(first.id)) == 1


def test_numbers_are_never_given_twice(journal: Journal, database: Database) -> None:
    first = journal.add(a_job("drop-1"), "took it")
    with database.transaction() as tx:
        tx.execute("DELETE FROM events")
        tx.execute("DELETE FROM jobs")
    assert journal.add(a_job("drop-2"), "took it").id > first.id


def test_the_story_tells_each_change_with_actor_and_cause(journal: Journal) -> None:
    job = journal.add(a_job(), "took x.zip")
    journal.change(replace(job, state=ended()), job, Actor.USER, "changed her mind", NOON + timedelta(seconds=5), None)
    told = [(event.old, event.new, event.actor, event.cause) for event in journal.story(job.id)]
    assert told == [
        (None, StateName.BUILDING, Actor.PROVIDER, "took x.zip"),
        (StateName.BUILDING, StateName.CANCELLED, Actor.USER, "changed her mind"),
    ]


def test_an_ended_job_is_history_and_no_longer_alive(journal: Journal) -> None:
    job = journal.add(a_job(), "took it")
    assert journal.alive() == [job]
    over = journal.change(replace(job, state=ended()), job, Actor.USER, "cancel", NOON, Account(1.5, 2.5, 0.0))
    assert journal.alive() == []
    assert journal.ended(10) == [over]
    assert journal.accounts() == {ANNA: Account(1.5, 2.5, 0.0)}


def test_the_history_is_ordered_by_the_end_and_can_be_cleared(journal: Journal) -> None:
    jobs = [journal.add(a_job(f"drop-{n}"), "took it") for n in range(4)]
    for job, minute in zip(jobs, (3, 1, 2, 4), strict=True):
        over = replace(job, state=ended(at=NOON + timedelta(minutes=minute)))
        journal.change(over, job, Actor.USER, "cancel", NOON, None)
    assert [job.id for job in journal.ended(10)] == [jobs[n].id for n in (3, 0, 2, 1)]
    assert [job.id for job in journal.ended(2)] == [jobs[3].id, jobs[0].id]
    assert journal.clear() == 4
    assert journal.ended(10) == []
    assert journal.clear() == 0
    assert journal.job(jobs[3].id) is not None


def test_clearing_leaves_jobs_that_have_not_ended(journal: Journal) -> None:
    job = journal.add(a_job(), "took it")
    assert journal.clear() == 0
    journal.change(replace(job, state=ended()), job, Actor.USER, "cancel", NOON, None)
    assert len(journal.ended(10)) == 1


def test_what_changed_since_is_told_in_order(journal: Journal) -> None:
    first, second = journal.add(a_job("drop-1"), "took it"), journal.add(a_job("drop-2"), "took it")
    over = journal.change(replace(first, state=ended()), first, Actor.USER, "cancel", NOON, None)
    assert journal.changed_since(0) == [second, over]
    assert journal.changed_since(second.seq) == [over]
    assert journal.changed_since(over.seq) == []
    assert journal.last_seq() == over.seq


def test_facts_are_remembered_until_they_are_forgotten(journal: Journal) -> None:
    assert journal.noted("lock") is None
    journal.note("lock", "one")
    journal.note("lock", "two")
    assert journal.noted("lock") == "two"
    journal.note("lock", None)
    assert journal.noted("lock") is None


# --- all or nothing ---


def test_a_crash_in_the_middle_of_a_transaction_leaves_nothing(
    journal: Journal, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = journal.add(a_job(), "took it")
    monkeypatch.setattr(store, "finished_at", lambda _state: 1 / 0)  # after the account and the event, before the row
    with pytest.raises(ZeroDivisionError):
        journal.change(replace(job, state=ended()), job, Actor.USER, "cancel", NOON, Account(9.0, 9.0, 9.0))
    monkeypatch.undo()
    assert journal.alive() == [job]
    assert journal.accounts() == {}
    assert len(journal.story(job.id)) == 1


def test_a_commit_that_fails_leaves_nothing_and_the_journal_goes_on(database: Database, journal: Journal) -> None:
    def tell_of_an_unknown_job() -> None:
        with database.transaction() as tx:
            tx.execute("PRAGMA defer_foreign_keys=ON")  # the commit finds out, not the statement
            tx.execute("INSERT INTO events (job, at, new, actor, cause) VALUES (77, '', '', '', '')")

    with pytest.raises(sqlite3.IntegrityError):
        tell_of_an_unknown_job()
    assert journal.last_seq() == 0
    assert journal.add(a_job(), "took it") == journal.alive()[0]


def test_a_full_disk_is_told_to_the_operator_and_the_journal_goes_on_once_there_is_room(
    database: Database, journal: Journal
) -> None:
    def fill() -> None:
        for n in range(100):
            journal.add(a_job(f"drop-more-{n}"), "x" * 500)

    job = journal.add(a_job(), "took it")
    (pages,) = database.rows("PRAGMA page_count")[0]
    database.rows(f"PRAGMA max_page_count={pages}")
    with pytest.raises(OperatorError, match="full"):
        fill()
    database.rows("PRAGMA max_page_count=1000000")
    assert job in journal.alive()
    assert journal.add(a_job("drop-last"), "took it") in journal.alive()


def test_threads_do_not_meet_in_the_middle_of_each_others_transactions(journal: Journal) -> None:
    with ThreadPoolExecutor(8) as pool:
        jobs = list(pool.map(lambda n: journal.add(a_job(f"drop-{n % 20}"), "took it"), range(80)))
    assert len({job.id for job in jobs}) == 20
    assert len(journal.alive()) == 20


# --- opening ---


def test_an_empty_file_is_brought_up_to_date(path: Path) -> None:
    path.touch()
    database = Database(path)
    assert database.rows("PRAGMA user_version") == [(len(MIGRATIONS),)]
    assert database.rows("PRAGMA journal_mode") == [("wal",)]
    assert database.rows("PRAGMA synchronous") == [(2,)]  # FULL
    database.close()


def test_an_older_file_is_migrated_and_keeps_its_jobs(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old = Database(path)
    job = Journal(old).add(a_job(), "took it")
    old.close()
    newer = "ALTER TABLE jobs ADD COLUMN shelf TEXT; CREATE INDEX jobs_by_shelf ON jobs (shelf);"
    monkeypatch.setattr("dopq.database.MIGRATIONS", (*MIGRATIONS, newer))
    new = Database(path)
    assert Journal(new).alive() == [job]
    assert new.rows("SELECT shelf FROM jobs") == [(None,)]
    new.close()


def test_users_and_tokens_of_an_older_file_go_on_and_a_uid_that_several_had_is_nobodys(path: Path) -> None:
    token = "t" * 43
    hashes = [hashlib.sha256(token.encode()).hexdigest(), "1", "2", "3", "4"]
    uids = [1000, 1001, 1001, 65534, None]
    with closing(sqlite3.connect(path)) as old:
        for statement in MIGRATIONS[:3]:
            old.executescript(statement)
        for number, (uid, hash_) in enumerate(zip(uids, hashes, strict=True)):
            values = (f"user{number}", "admin" if number == 0 else "user", 1.5, uid, hash_, NOON.isoformat())
            old.execute("INSERT INTO users VALUES (?, ?, ?, ?, ?, ?)", values)
        old.execute("PRAGMA user_version=3")
        old.commit()
    database = Database(path)
    users, tokens = Users(database), Tokens(database, SystemClock(), days=1)
    assert [user.uid for user in users.all()] == [1000, None, None, None, None]
    user0 = tokens.by_token(token)
    assert user0 == users.by_uid(1000)
    assert user0 is not None
    assert (user0.name, user0.role, user0.weight, user0.created_at) == ("user0", "admin", 1.5, NOON)
    assert user0.token_expires_at is not None
    assert timedelta(days=89) < user0.token_expires_at - datetime.now(UTC) <= timedelta(days=90)
    users.remove("user0")
    assert tokens.by_token(token) is None, "the tokens hang on the new table"
    assert database.rows("PRAGMA foreign_key_check") == []
    database.close()


def test_a_migration_that_fails_half_way_leaves_the_file_as_it_was(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Database(path).close()
    monkeypatch.setattr("dopq.database.MIGRATIONS", (*MIGRATIONS, "ALTER TABLE jobs ADD COLUMN shelf TEXT; NONSENSE"))
    with pytest.raises(OperatorError):
        Database(path)
    monkeypatch.undo()
    database = Database(path)
    assert "shelf" not in {row[1] for row in database.rows("PRAGMA table_info(jobs)")}
    database.close()


def test_leases_from_before_they_had_a_table_of_their_own_are_entered_in_it(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as older:
        older.setattr("dopq.database.MIGRATIONS", MIGRATIONS[:5])
        with closing(Database(path)) as old:
            holder = Journal(old).add(a_job("one", state=starting("GPU-a", "GPU-b", part=0.5)), "took it")
            Journal(old).add(a_job("two"), "took it")
    with closing(Database(path)) as new:
        rows = [(holder.id, "GPU-a", 0.5), (holder.id, "GPU-b", 0.5)]
        assert new.rows("SELECT * FROM leases ORDER BY gpu") == rows


# --- leases ---


def starting(*gpus: str, part: float = 1.0) -> Starting:
    work = Work(JobSpec("train", gpus=len(gpus)), ImageId("sha256:1"), NOON)
    return Starting(work, Lease(1, frozenset(map(GpuId, gpus)), NOON, part=part))


def leased(journal: Journal, key: str, *gpus: str, part: float = 1.0) -> Job:
    """A job that has taken these GPUs, whoever has them."""
    old = journal.add(a_job(key), "took it")
    return journal.change(replace(old, state=starting(*gpus, part=part)), old, Actor.SCHEDULER, "chosen", NOON, None)


def test_the_journal_itself_leases_no_gpu_twice_whatever_the_code_above_it_does(
    journal: Journal, database: Database
) -> None:
    leased(journal, "one", "GPU-a")
    entries = journal.last_seq()
    with pytest.raises(InvariantBroken, match="another job holds"):
        leased(journal, "two", "GPU-b", "GPU-a")
    assert journal.last_seq() == entries + 1, "the job is there, its lease is not"
    assert database.rows("SELECT gpu FROM leases") == [("GPU-a",)]


@pytest.mark.parametrize(("parts", "too_much"), [((0.5, 0.5), 0.25), ((0.25,), 1.0), ((1.0,), 0.0625)])
def test_nor_more_parts_of_one_than_it_has(journal: Journal, parts: tuple[float, ...], too_much: float) -> None:
    for number, part in enumerate(parts):
        leased(journal, f"drop-{number}", "GPU-a", part=part)
    with pytest.raises(InvariantBroken):
        leased(journal, "too much", "GPU-a", part=too_much)


def test_sixteenths_of_a_gpu_add_up_to_all_of_it(journal: Journal) -> None:
    for number in range(16):
        leased(journal, f"drop-{number}", "GPU-a", part=1 / 16)


def test_a_lease_that_has_ended_leaves_its_gpu_to_others(journal: Journal) -> None:
    held = leased(journal, "one", "GPU-a")
    assert isinstance(held.state, Starting)
    journal.change(replace(held, state=Queued(held.state.work)), held, Actor.RUNNER, "tried again", NOON, None)
    leased(journal, "two", "GPU-a")


def test_a_node_that_was_taken_over_changes_nothing_any_more_and_commands_go_on(path: Path) -> None:
    with closing(Database(path)) as old, closing(Database(path)) as new, closing(Database(path)) as command:
        assert (old.take_over(), new.take_over()) == (1, 2)
        with pytest.raises(OperatorError, match="Another node has taken over"):
            Journal(old).add(a_job(), "took it")
        job = Journal(new).add(a_job(), "took it")
        Journal(command).note("drained", "yes")
        assert Journal(old).alive() == [job], "it may still look"


def test_a_newer_file_is_refused_with_both_versions(path: Path) -> None:
    database = Database(path)
    database.rows("PRAGMA user_version=99")
    database.close()
    with pytest.raises(StateUnreadable, match=rf"version 99.*knows {len(MIGRATIONS)}") as refused:
        Database(path)
    assert "newer DoPQ" in refused.value.hint


def test_a_file_that_is_no_database_is_refused_with_what_to_do(path: Path) -> None:
    path.write_bytes(b"these are not the jobs you are looking for" * 100)
    with pytest.raises(StateUnreadable, match="not a database") as refused:
        Database(path)
    assert "backup" in refused.value.hint
    assert path.read_bytes().startswith(b"these are not"), "a file that is not ours stays as it is"


def test_a_damaged_file_is_refused_when_its_jobs_are_read(path: Path) -> None:
    database = Database(path)
    for n in range(200):
        Journal(database).add(a_job(f"drop-{n}"), "took it")
    database.close()
    content = bytearray(path.read_bytes())
    for at in range(4096, len(content), 512):  # the first page, with the table of tables, stays whole
        content[at : at + 256] = b"\xff" * 256
    path.write_bytes(content)
    with pytest.raises(StateUnreadable) as refused:
        Journal(Database(path)).alive()
    assert "backup" in refused.value.hint


def test_a_record_that_makes_no_sense_is_refused(path: Path, database: Database, journal: Journal) -> None:
    journal.add(a_job(), "took it")
    with database.transaction() as tx:
        tx.execute("UPDATE jobs SET record = replace(record, 'submitted_at', 'admitted_at')")
    with pytest.raises(StateUnreadable, match=str(path)):
        journal.alive()


def test_a_file_that_cannot_be_opened_is_told_to_the_operator(tmp_path: Path) -> None:
    with pytest.raises(OperatorError, match=r"nowhere.journal"):
        Database(tmp_path / "nowhere" / "journal.sqlite3")


def test_a_node_and_a_command_may_open_a_new_file_at_the_same_moment(path: Path) -> None:
    barrier = threading.Barrier(6)

    def open_it(_: int) -> None:
        barrier.wait()
        Database(path).close()

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(open_it, range(6)))


# --- kill -9 ---


def write_until_killed(path: Path, told: Connection) -> None:
    journal = Journal(Database(path))
    number = 0
    while True:
        number += 1
        job = journal.add(a_job(f"drop-{number}"), "took it")
        told.send(job.id)
        if number % 3 == 0:
            journal.change(replace(job, state=ended()), job, Actor.USER, "cancel", NOON, Account(float(number)))
            told.send(-job.id)


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_every_acknowledged_job_survives_the_kill_of_its_writer(path: Path, seed: int) -> None:
    ours, theirs = multiprocessing.Pipe()
    writer = multiprocessing.get_context("spawn").Process(target=write_until_killed, args=(path, theirs))
    writer.start()
    theirs.close()
    told = [ours.recv() for _ in range(random.Random(seed).randint(1, 40))]
    writer.kill()
    writer.join()
    assert writer.exitcode == -signal.SIGKILL
    while ours.poll():
        try:
            told.append(ours.recv())
        except EOFError:
            break
    ours.close()
    database = Database(path)
    journal = Journal(database)
    known = {job.id: job for job in journal.changed_since(0)}
    assert {number for number in told if number > 0} <= known.keys()
    assert all(isinstance(known[JobId(-number)].state, Ended) for number in told if number < 0)
    assert len(known) <= len([n for n in told if n > 0]) + 1, "at most the one that was not acknowledged yet"
    for job in known.values():
        assert [event.new for event in journal.story(job.id)][-1] == job.state.name
    database.close()


@pytest.mark.parametrize("replaced", [False, True])
def test_nothing_is_written_to_a_file_that_was_taken_away(path: Path, journal: Journal, replaced: bool) -> None:
    journal.add(a_job("drop-1"), "took it")
    kept = path.rename(path.with_name("kept"))
    if replaced:
        path.touch()
    with pytest.raises(OperatorError, match="removed or replaced"):
        journal.add(a_job("drop-2"), "took it")
    kept.replace(path)
    journal.add(a_job("drop-3"), "took it")
    assert [job.key for job in journal.alive()] == ["drop-1", "drop-3"]
