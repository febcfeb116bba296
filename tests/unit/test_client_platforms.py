"""The client on systems that are not Linux: nothing that it needs is missing there."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.boundary_alone import boundary_alone

# What Windows has not. `os.name` stays as it is: changing it would change the standard library under our feet.
WITHOUT_UNIX = """
import socket, sys
for name in ("fcntl", "grp", "pwd", "resource", "termios", "tty"):
    sys.modules[name] = None
for name in ("AF_UNIX", "SO_PEERCRED", "SCM_RIGHTS"):
    if hasattr(socket, name):
        delattr(socket, name)
"""


def without_unix(program: str, *words: str, folder: Path) -> str:
    """What a program prints where the Unix-only parts of the standard library are absent."""
    environment = {"XDG_CONFIG_HOME": str(folder), "DOPQ_HOST": "", "DOPQ_TOKEN": "", "DOPQ_PROFILE": ""}
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_UNIX + program, *words],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_every_part_of_the_client_can_be_imported(tmp_path: Path) -> None:
    program = """
import importlib, pkgutil, dopq_client
names = [module.name for module in pkgutil.walk_packages(dopq_client.__path__, "dopq_client.")]
for name in names:
    if "scaffolds" not in name:
        importlib.import_module(name)
print(len(names) > 20)
"""
    assert without_unix(program, folder=tmp_path) == "True\n"


@pytest.mark.parametrize("words", [["--version"], ["--help"], ["login", "--help"]])
def test_the_command_starts(words: list[str], tmp_path: Path) -> None:
    program = "from dopq_client.cli import main\nmain(prog_name='dopq-client')\n"
    assert without_unix(program, *words, folder=tmp_path)


def test_a_login_and_a_call_go_through(tmp_path: Path) -> None:
    with boundary_alone(tmp_path / "home") as alone:
        program = f"""
import io
from click.testing import CliRunner
from dopq_client.cli import main
run = CliRunner()
print(run.invoke(main, ["login", {alone.address!r}, "--token-stdin"], input={alone.tokens["anna"]!r}).output)
print(run.invoke(main, ["whoami"]).output)
"""
        told = without_unix(program, folder=tmp_path)
    assert "Logged in as anna" in told
    assert "anna (user, weight 1)" in told
