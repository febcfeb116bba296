"""A drop that is not its user's, put aside into `invalid/` beside the reason, with its own owner and mode.

It is moved, not copied: what its user may not read must not become readable because it was handed in.
"""

from __future__ import annotations

import json
import os
from contextlib import suppress
from pathlib import Path

from dopq.intake import Drop, move_drop
from dopq.job import Problem, Reason
from dopq.stamp import Stamp
from dopq.utils.files import make_public_folder, write_atomic
from dopq.wire import SCHEMA_VERSION, problem_to_wire, reason_to_wire

_NAME_CHARACTERS = 60  # at most 240 bytes; file systems take 255


def put_aside(drop: Drop, stamp: Stamp, shelf: Path, problem: Problem) -> None:
    """Move a drop onto its user's shelf, unless another one lies there by now. What was there before stays.

    Killed in between, the reason is there and the drop is not: the same drop is met again, and gets the same name.

    Raises:
        OSError: the share does not take it.
    """
    make_public_folder(shelf)
    target = _place(shelf, drop, stamp)
    reason = Reason("not_its_users", "The drop does not belong to the user in whose inbox it lay.")
    facts = {
        "schema_version": SCHEMA_VERSION,
        "job": None,
        "user": str(drop.user),
        "bundle": drop.name,
        "drop": drop.key(stamp),
        "state": "invalid",
        "exit_code": None,
        "reason": reason_to_wire(reason),
        "problems": [problem_to_wire(problem)],
    }
    write_atomic(_reason_file(target), json.dumps(facts, indent=2) + "\n")
    write_atomic(target.with_name(f"{target.name}.reason.txt"), f"{reason.sentence}\n  - {problem}\n")
    move_drop(drop, stamp, target)


def _place(shelf: Path, drop: Drop, stamp: Stamp) -> Path:
    key = drop.key(stamp)
    plain = shelf / drop.name[:_NAME_CHARACTERS]
    taken = os.path.lexists(plain) or (_reason_file(plain).exists() and _drop_of(plain) != key)
    return plain.with_name(f"{plain.stem}-{key[-8:]}{plain.suffix}") if taken else plain


def _drop_of(target: Path) -> str | None:
    """The drop that a reason is about; None where it is about a job, or cannot be read."""
    with suppress(OSError, ValueError, AttributeError):
        drop = json.loads(_reason_file(target).read_text(encoding="utf-8")).get("drop")
        return drop if isinstance(drop, str) else None
    return None


def _reason_file(target: Path) -> Path:
    return target.with_name(f"{target.name}.reason.json")
