"""What commands change on this machine is told in the audit log, as remote calls are (docs/adr/0052)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from dopq.cli_answers import say

if TYPE_CHECKING:
    from dopq.config import Paths


@contextmanager
def changing(paths: Paths, command: str, **what: object) -> Iterator[None]:
    """Around what `command`, such as `dopq user add`, changes: its line in the audit log, or words why there is none.

    `what`: see `AuditLog.command`.
    """
    from dopq.audit import AuditLog
    from dopq.utils.clock import SystemClock

    with suppress(OSError):  # said below: the log cannot be written either
        paths.state.mkdir(mode=0o700, parents=True, exist_ok=True)
    audit = AuditLog(paths.audit, SystemClock())
    try:
        with audit.command(command, **what):
            yield
    finally:
        if audit.trouble:
            say(f"{audit.trouble} This command has no line in it.", err=True)
