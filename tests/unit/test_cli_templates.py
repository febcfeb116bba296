"""`dopq templates`: what an admin sees of the templates."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from dopq import cli
from dopq.config import default_text, with_changes

Run = Callable[..., Result]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """`dopq templates` of a node with a Dockerfile of its own for Octave."""
    own = tmp_path / "own" / "octave"
    own.mkdir(parents=True)
    (own / "Dockerfile").write_text('FROM $base\nCMD ["$entry"]\n')
    config = tmp_path / "config.toml"
    changes = ["build.templates=own", "templates.octave.base=lab/octave:{version}", 'templates.octave.version="9"']
    config.write_text(with_changes(default_text(), changes))
    return lambda *words: CliRunner().invoke(cli.main, ["templates", *words, "--config", str(config)])


@pytest.fixture
def project(tmp_path: Path) -> Path:
    folder = tmp_path / "project"
    (folder / "code").mkdir(parents=True)
    (folder / "code" / "app.m").write_text("disp(1)\n")
    return folder


def test_list_names_base_images_and_files(run: Run, tmp_path: Path) -> None:
    lines = [line.split() for line in run("list").stdout.splitlines()]
    assert [line[:2] for line in lines] == [
        ["python", "python:3.11-slim"],
        ["octave", "lab/octave:9"],
        ["matlab", "mathworks/matlab:r2024b"],
    ]
    told = json.loads(run("list", "--json").stdout)
    assert told["schema_version"] == 1
    assert [row["file"] == str(tmp_path / "own/octave/Dockerfile") for row in told["templates"]] == [False, True, False]
    assert told["templates"][0]["runs"][0] == "code/app.py"


def test_show_prints_the_template_in_force(run: Run) -> None:
    assert run("show", "octave").stdout == 'FROM $base\nCMD ["$entry"]\n'
    assert "FROM $base" in run("show", "matlab").stdout
    assert run("show", "julia").exit_code == 2


def test_render_prints_what_a_folder_a_zip_and_a_tar_are_built_from(run: Run, project: Path, tmp_path: Path) -> None:
    expected = 'FROM lab/octave:9\nCMD ["code/app.m"]\n'
    assert run("render", str(project)).stdout == expected
    for kind in ("zip", "tar"):
        bundle = shutil.make_archive(str(tmp_path / "packed"), kind, project)
        assert run("render", bundle).stdout == expected


def test_render_prints_a_dockerfile_of_the_bundles_own(run: Run, project: Path) -> None:
    (project / "Dockerfile").write_text("FROM python:3.12\n")
    assert run("render", str(project)).stdout == "FROM python:3.12\n"


def test_render_of_a_bad_bundle_says_what_is_wrong(run: Run, project: Path) -> None:
    (project / "code" / "link").symlink_to("/etc/passwd")
    result = run("render", str(project))
    assert result.exit_code == 2
    assert "it is a link" in result.stderr


def test_a_broken_template_is_told_with_its_file(run: Run, project: Path, tmp_path: Path) -> None:
    (tmp_path / "own" / "octave" / "Dockerfile").write_text("FROM $nothing\n")
    result = run("render", str(project))
    assert result.exit_code == 2
    assert str(tmp_path / "own/octave/Dockerfile") in result.stderr
