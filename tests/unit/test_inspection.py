"""What `dopq audit check` looks at: journal, engine, share and witnesses, each as it is there."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from dopq import cli
from dopq.config import default_text, with_changes
from dopq.container_handler.container import NODE_LABEL, container_name
from dopq.container_handler.engine import ContainerName, ContainerRequest
from dopq.errors import EngineUnavailable, NotFound, UserError
from dopq.inspection import gather
from dopq.invariants.evidence import Evidence, Run
from dopq.job import JobId
from tests.fakes import FakeEngine
from tests.platforms import ANNA, Home

NODE_ID = "abcd"


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Home]:
    """A node that is down; its journal says which it was."""
    home = Home(tmp_path)
    home.journal.note("node_id", NODE_ID)
    yield home
    home.close()


@pytest.fixture
def engine() -> FakeEngine:
    return FakeEngine()


def looked(home: Home, engine: FakeEngine, witnesses: Path | None = None) -> Evidence:
    return gather(home.paths, home.settings, engine, home.clock, witnesses)


def test_containers_are_told_by_their_names_and_those_of_others_left_out(home: Home, engine: FakeEngine) -> None:
    image = engine.add_image("train:1", ("train",))
    names = [container_name(NODE_ID, JobId(12), 2), ContainerName(f"dopq-{NODE_ID}-net-1-1"), ContainerName("redis")]
    for name in names:
        engine.create(ContainerRequest(name, image, {NODE_LABEL: NODE_ID}))
    assert looked(home, engine).containers == {Run(JobId(12), 2)}


def test_an_engine_that_is_away_says_nothing_rather_than_that_there_is_nothing(home: Home, engine: FakeEngine) -> None:
    engine.fail_next("containers", EngineUnavailable("It does not answer."))
    assert looked(home, engine).containers is None


def test_folders_in_the_outbox_and_of_our_own_tell_of_jobs_and_others_do_not(home: Home, engine: FakeEngine) -> None:
    (home.paths.outbox / ANNA / "7-train").mkdir(parents=True)
    (home.paths.outbox / ANNA / "notes").mkdir()
    (home.paths.jobs / "8").mkdir()
    assert set(looked(home, engine).told) == {7, 8}


def test_witnesses_are_read_from_every_file_of_their_folder(home: Home, engine: FakeEngine, tmp_path: Path) -> None:
    folder = tmp_path / "witnesses"
    folder.mkdir()
    (folder / "a").write_text("1 1 4711\n1 2 4712\n")
    (folder / "b").write_text("2 1 7\n")
    assert looked(home, engine, folder).witnessed == [Run(JobId(1), 1), Run(JobId(1), 2), Run(JobId(2), 1)]
    (folder / "b").write_text("2 1\n")
    with pytest.raises(UserError, match="'2 1'"):
        looked(home, engine, folder)


def test_a_node_that_has_no_journal_is_none(tmp_path: Path, engine: FakeEngine) -> None:
    home = Home(tmp_path)
    home.close()
    home.paths.journal.unlink()
    with pytest.raises(NotFound):
        looked(home, engine)
    assert not home.paths.journal.exists(), "whoever looks makes none"


# --- the verb ---


def audited(tmp_path: Path, *options: str) -> Result:
    config = tmp_path / "config.toml"
    config.write_text(with_changes(default_text(), [f"engine.url=unix://{tmp_path}/nobody.sock"]))
    return CliRunner().invoke(cli.main, ["audit", "check", *options, "--config", str(config)])


def test_books_in_order_are_told_in_a_line_and_what_was_not_looked_at_beside_it(tmp_path: Path) -> None:
    Home(tmp_path).close()
    result = audited(tmp_path)
    assert (result.exit_code, result.stdout) == (0, "0 jobs, 0 changes: all in order.\n")
    assert "engine does not answer" in result.stderr


def test_what_is_not_in_order_is_told_and_the_exit_code_says_so(tmp_path: Path) -> None:
    home = Home(tmp_path)
    home.ended()
    with home.database.transaction() as tx:
        tx.execute("DELETE FROM events WHERE new = 'running'")
    home.close()
    result = audited(tmp_path)
    assert result.exit_code == 1
    assert result.stdout.startswith("gap               job 1        After entry 3 of the journal comes entry 5.\n")
    told = json.loads(audited(tmp_path, "--json").stdout)
    assert {finding["code"] for finding in told["findings"]} == {"gap", "illegal_change"}
