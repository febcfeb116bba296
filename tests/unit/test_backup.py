"""Backups of the journal: sound, in time, and the way back that is told works."""

from __future__ import annotations

import subprocess
from contextlib import closing
from datetime import date, timedelta
from pathlib import Path

import pytest

from dopq.backup import KEPT, back_up, daily_backup
from dopq.database import Database
from dopq.errors import StateUnreadable
from dopq.migrations import MIGRATIONS
from dopq.store import Journal
from tests.platforms import ANNA, Home

TODAY = date(2026, 11, 21)


def damage(journal: Path) -> None:
    content = bytearray(journal.read_bytes())
    for at in range(4096, len(content), 512):
        content[at : at + 256] = b"\xff" * 256
    journal.write_bytes(content)


def test_a_backup_has_what_was_written_while_the_node_runs(tmp_path: Path) -> None:
    home = Home(tmp_path)
    job = home.queued(ANNA)
    copy = back_up(home.paths.journal, "now")
    home.close()
    with closing(Database(copy)) as database:
        assert Journal(database).alive() == [job]
    assert (copy.stat().st_mode & 0o777, copy.parent.stat().st_mode & 0o777) == (0o600, 0o700)


def test_there_is_one_a_day_and_the_newest_are_kept(tmp_path: Path) -> None:
    home = Home(tmp_path)
    for day in range(KEPT + 3):
        for _ in range(2):
            daily_backup(home.paths.journal, TODAY + timedelta(days=day))
    home.close()
    names = sorted(path.name for path in (home.paths.state / "backups").iterdir())
    assert names == [f"journal-{TODAY + timedelta(days=day)}.sqlite3" for day in range(3, KEPT + 3)]


def test_a_damaged_journal_replaces_no_backup_and_the_way_back_that_is_told_works(tmp_path: Path) -> None:
    home = Home(tmp_path)
    jobs = [home.queued(ANNA) for _ in range(50)]
    journal = home.paths.journal
    daily_backup(journal, TODAY)
    home.close()
    damage(journal)
    with pytest.raises(StateUnreadable) as refused:
        daily_backup(journal, TODAY + timedelta(days=1))
    assert [path.name for path in journal.parent.glob("backups/*.sqlite3")] == [f"journal-{TODAY}.sqlite3"]
    subprocess.run(["sh", "-ec", refused.value.hint.partition(": ")[2]], check=True)
    with closing(Database(journal)) as database:
        assert Journal(database).alive() == jobs


def test_a_journal_is_backed_up_before_it_is_migrated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "journal.sqlite3"
    Database(path).close()
    assert not (tmp_path / "backups").exists(), "a new one has nothing to lose"
    version = len(MIGRATIONS)
    monkeypatch.setattr("dopq.database.MIGRATIONS", (*MIGRATIONS, "ALTER TABLE jobs ADD COLUMN shelf TEXT"))
    Database(path).close()
    monkeypatch.undo()
    with closing(Database(tmp_path / "backups" / f"before-version-{version + 1}.sqlite3")) as old:
        assert old.rows("PRAGMA user_version") == [(version,)]
