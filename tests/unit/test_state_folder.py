"""Nobody but the service sees the state folder, and users see what is theirs, whatever the umask at the start was."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from dopq.build_log_file import BuildLogFile
from dopq.config import NodeSettings, Paths
from dopq.container_handler.outputs import collect
from dopq.database import Database
from dopq.errors import OperatorError
from dopq.job import Ended, Reason, StateName
from dopq.outbox import Outbox
from dopq.results import Results
from dopq.returned_bundle import return_bundle
from dopq.share import Share, make_user_folders
from dopq.state_folder import make_private, too_open
from tests.platforms import ANNA, Home


@pytest.fixture(params=[0o000, 0o022, 0o077], ids=oct)
def umask(request: pytest.FixtureRequest) -> Iterator[int]:
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def modes_below(folder: Path) -> dict[str, int]:
    return {str(path.relative_to(folder)): mode(path) for path in sorted(folder.rglob("*"))}


def made(folder: Path) -> Paths:
    paths = Paths(folder, NodeSettings())
    paths.make()
    return paths


def test_folders_and_journal_are_private_whatever_the_umask_was(umask: int, tmp_path: Path) -> None:
    paths = made(tmp_path)
    with closing(Database(paths.journal)):
        assert too_open(paths) == []
        assert mode(paths.state) == 0o700
        assert {mode(path) for path in paths.state.glob("journal*")} == {0o600}


def test_all_can_look_into_the_share_whatever_the_umask_was(umask: int, tmp_path: Path) -> None:
    paths = Paths(tmp_path / "srv" / "lab", NodeSettings())
    paths.make()
    Share(paths).open()
    make_user_folders(paths, ANNA, None)
    folders = [paths.share, *(path for path in paths.share.rglob("*") if path.is_dir())]
    assert {mode(path) for path in (tmp_path / "srv", tmp_path / "srv" / "lab", *folders)} == {0o755}
    assert len(folders) == 9
    assert mode(paths.share / ".dopq-share") == 0o644


def test_what_is_put_into_the_share_can_be_read_whatever_the_umask_was(umask: int, tmp_path: Path) -> None:
    home = Home(tmp_path)
    job = home.platform.accept(ANNA, "x.zip", "drop-1", "x")
    results = Results(Outbox(home.paths.outbox), home.paths.jobs)
    folder, work = home.outbox.folder(job), home.paths.jobs / str(job.id)
    (work / "output" / "deep").mkdir(parents=True)
    (work / "output" / "deep" / "answer").write_text("42")
    (work / "job.log").write_text("hello")
    with BuildLogFile(folder / "build.log", work / "build.log") as log:
        log.write(b"building")
    results.bring(job)
    (home.paths.spool / job.key).write_bytes(b"bundle")
    end = Ended(StateName.INVALID, home.clock.now(), Reason("bundle_rejected", "No."))
    return_bundle(home.paths.spool / job.key, home.paths.invalid, job, end)
    modes = modes_below(home.paths.share)
    assert {path for path in modes if path.endswith(("answer", "job.log", "build.log", "x.zip", ".txt", ".json"))}
    for path, found in modes.items():
        assert found == (0o755 if (home.paths.share / path).is_dir() else 0o644), path


def test_an_output_that_has_to_be_copied_is_readable_too(umask: int, tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    (tmp_path / "one" / "two").write_text("x")
    (tmp_path / "other name").hardlink_to(tmp_path / "one" / "two")  # what has two names is copied, not moved
    collect(tmp_path / "one", tmp_path / "there")
    assert modes_below(tmp_path / "there") == {"two": 0o644}


def test_what_is_open_is_mended_at_the_start(tmp_path: Path) -> None:
    paths = made(tmp_path)
    with closing(Database(paths.journal)):
        pass
    (paths.spool / "drop-1").write_bytes(b"x")
    (paths.jobs / "7" / "output").mkdir(parents=True)
    (paths.jobs / "7" / "output").chmod(0o777)
    for path in (paths.state, paths.spool, paths.jobs / "7"):
        path.chmod(0o777)
    for path in (paths.journal, paths.spool / "drop-1"):
        path.chmod(0o666)
    assert set(too_open(paths)) == {paths.state, paths.spool, paths.jobs / "7", paths.journal, paths.spool / "drop-1"}
    make_private(paths)
    assert too_open(paths) == []
    assert (mode(paths.state), mode(paths.journal), mode(paths.spool / "drop-1")) == (0o700, 0o600, 0o600)
    assert mode(paths.jobs / "7" / "output") == 0o777, "the job's processes write there"


def test_nothing_is_changed_behind_a_link(tmp_path: Path) -> None:
    paths = made(tmp_path)
    outside = tmp_path / "outside"
    outside.write_text("x")
    outside.chmod(0o666)
    (paths.state / "link").symlink_to(outside)
    make_private(paths)
    assert mode(outside) == 0o666


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder away")
def test_a_state_folder_of_another_account_is_refused_with_what_to_do(tmp_path: Path) -> None:
    paths = made(tmp_path)
    os.chown(paths.state, 1234, -1)
    with pytest.raises(OperatorError, match="belongs to uid 1234") as refused:
        make_private(paths)
    assert "chown -R 0" in refused.value.hint
