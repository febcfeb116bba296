"""Hands a bundle to the gate as the Provider does, on limits that a small machine can reach."""

from __future__ import annotations

from pathlib import Path

import pytest

from dopq.container_handler.archive import Limits
from dopq.container_handler.bundle import Prepared, prepare
from dopq.container_handler.container_config import SpecDefaults
from dopq.container_handler.refusal import problems_of
from dopq.container_handler.rules import Rules
from dopq.errors import BundleRejected

USER = "ada"
MOST_UNPACKED = 500 * 2**20
RULES = Rules(
    defaults=SpecDefaults(gpus=0, max_time_limit_s=14 * 86400),
    limits=Limits(unpacked_bytes=MOST_UNPACKED, entries=10_000),
)


def take(path: Path, workdir: Path, rules: Rules = RULES) -> Prepared:
    """What becomes of the file at `path`; `BundleRejected` where it is refused."""
    with path.open("rb") as file:
        return prepare(file, workdir, bundle_name=path.name, default_name="job", user=USER, rules=rules)


def reasons(path: Path, workdir: Path) -> str:
    """Every problem of a bundle that has to be refused, one a line."""
    with pytest.raises(BundleRejected) as caught:
        take(path, workdir)
    problems = problems_of(caught.value)
    assert all(problem.what and problem.instead for problem in problems)
    return "\n".join(map(str, problems))


Snapshot = dict[Path, tuple[int, int, int, int]]


def snapshot(top: Path) -> Snapshot:
    """Every file and folder below `top`, with what changes when somebody writes there."""
    return {
        path: (info.st_ino, info.st_mode, info.st_size, info.st_mtime_ns)
        for path in top.rglob("*")
        for info in [path.lstat()]
    }
