"""`dopq-client top` before it has a screen: where it cannot have one it says so, and nothing else of the client needs its extra."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from click.testing import CliRunner

from dopq_client import cli, verbs_top
from dopq_client.session import Session
from tests.full_screen import FullScreen
from tests.in_memory_node import InMemoryNode

ROOT = Path(__file__).parents[2]


def test_without_a_terminal_it_names_the_verbs_that_need_none() -> None:
    ran = CliRunner().invoke(cli.main, ["top"], obj=Session())
    assert ran.exit_code == 2
    assert "needs a terminal" in ran.output
    assert "dopq-client status" in ran.output


def test_without_its_extra_it_says_how_to_install_it(tmp_path: Path) -> None:
    (tmp_path / "textual.py").write_text("raise ModuleNotFoundError('No module named textual', name='textual')\n")
    with FullScreen(
        "top", environment={"PYTHONPATH": str(tmp_path), "DOPQ_HOST": "127.0.0.1:1"}, columns=300
    ) as screen:
        assert screen.end() == 5
        screen.expect("needs textual, which is not installed here", f'-m pip install "{verbs_top.NEEDS}"')


def test_what_it_says_to_install_is_what_the_extra_is() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    assert extras["top"] == [verbs_top.NEEDS]
    assert verbs_top.NEEDS in extras["dev"]


def test_a_node_that_cannot_be_reached_at_first_is_told_of_before_the_screen_is_taken() -> None:
    with FullScreen("top", environment={"DOPQ_HOST": "127.0.0.1:1", "DOPQ_TOKEN": "x"}) as screen:
        assert screen.end() == 5
        screen.expect("cannot be reached")
        assert b"\x1b[?1049h" not in screen.written


@pytest.mark.parametrize("words", [["--help"], ["top", "--help"]])
def test_help_does_not_load_what_only_the_screen_needs(words: list[str]) -> None:
    code = f"import sys; from dopq_client import cli\ntry: cli.main({words})\nfinally: print('textual' in sys.modules)"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert ran.stdout.splitlines()[-1] == "False"


def test_every_other_verb_works_where_the_extra_is_not_installed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "textual", None)
    monkeypatch.setenv("DOPQ_HOST", "gpu1:9090")
    monkeypatch.setenv("DOPQ_TOKEN", "x")
    node = InMemoryNode(tmp_path)
    for verb in (["status"], ["system"], ["users"], ["history"]):
        session = Session(open=lambda _account: node.link(node.tokens["anna"]))
        assert CliRunner().invoke(cli.main, verb, obj=session).exit_code == 0
    node.close()
