"""The bundle of a job that did not succeed, back on a shelf of the share (`invalid/`, `failed/`) beside its reason."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from dopq.container_handler.bundle_name import split_ending
from dopq.job import Ended, Job
from dopq.report import status_text
from dopq.utils.files import fsync_file, fsync_folder, make_public_folder, write_atomic
from dopq.wire import SCHEMA_VERSION, problem_to_wire, reason_to_wire

_NAME_BYTES = 200


def return_bundle(bundle: Path, shelf: Path, job: Job, end: Ended) -> None:
    """Put a bundle on a shelf of the share, beside `<bundle>.reason.txt` and `.json`.

    A bundle of that name which lies there already, from another job, stays: this one gets its job's number in its name.
    Safe to repeat; `bundle` may be gone when an earlier call came as far as that.
    """
    folder = shelf / job.user
    make_public_folder(folder)  # not the shelf itself, which is missing where the share is away
    target = _place(folder, job)
    reason = {
        "schema_version": SCHEMA_VERSION,
        "job": int(job.id),
        "user": str(job.user),
        "bundle": job.bundle,
        "state": str(end.outcome),
        "exit_code": end.exit_code,
        "reason": reason_to_wire(end.reason),
        "problems": [problem_to_wire(problem) for problem in end.problems],
    }
    # First of all, since it says whose the name is, to a call that comes after this one was killed.
    write_atomic(target.with_name(f"{target.name}.reason.json"), json.dumps(reason, indent=2) + "\n")
    write_atomic(target.with_name(f"{target.name}.reason.txt"), status_text(job))
    if bundle.exists():
        _copy(bundle, target)


def _place(folder: Path, job: Job) -> Path:
    plain = folder / _short(job.bundle)
    owner = _reason_of(plain)
    if owner == job.id or (owner is None and not plain.exists()):
        return plain
    stem, ending = split_ending(plain.name)
    return plain.with_name(f"{stem}-{job.id}{ending}")


def _short(name: str) -> str:
    """A file name that leaves room for what we append to it: file systems take 255 bytes."""
    if len(name.encode()) <= _NAME_BYTES:
        return name
    stem, ending = split_ending(name)
    return stem.encode()[: _NAME_BYTES - len(ending.encode())].decode(errors="ignore") + ending


def _copy(source: Path, target: Path) -> None:
    """Copy a file, whole and on disk before it has its name: its source goes next."""
    partial = target.with_name(f".{target.name}.part")
    shutil.copyfile(source, partial)
    partial.chmod(0o644)
    fsync_file(partial)
    partial.replace(target)
    fsync_folder(target.parent)


def _reason_of(target: Path) -> int | None:
    """The job whose reason lies beside a bundle; None where there is none, or none that can be read."""
    try:
        number = json.loads(target.with_name(f"{target.name}.reason.json").read_text(encoding="utf-8"))["job"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return number if isinstance(number, int) else None
