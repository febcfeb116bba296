"""`dopq audit`: who has changed what."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import rich_click as click

from dopq.cli_answers import in_words, print_json, say
from dopq.cli_audit_check import audit_check
from dopq.cli_options import AS_JSON, CONFIG, seconds
from dopq.wire import time_to_wire

if TYPE_CHECKING:
    from dopq.audit import Entry


@click.group()
def audit() -> None:
    """Who has changed what, and whether the books are in order."""


audit.add_command(audit_check)


@audit.command("log")
@click.option("--user", "user", help="Only what this user did.")
@click.option("--since", "since_s", metavar="DURATION", callback=seconds, help="Only what is no older: 90m, 12h, 2d.")
@click.option("--method", "method", help="Only this call, such as cancel_job, or command.")
@click.option("--failed", is_flag=True, help="Only what was refused.")
@click.option(
    "-n", "count", type=click.IntRange(min=1), default=100, show_default=True, help="The last so many of them."
)
@CONFIG
@AS_JSON
@in_words
def audit_log(
    user: str | None,
    since_s: int | None,
    method: str | None,
    failed: bool,
    count: int,
    config_file: Path,
    as_json: bool,
) -> None:
    """Show the calls and commands that changed something: when, who, from where, what, and the result."""
    from dopq.utils.clock import SystemClock

    since = SystemClock().now() - timedelta(seconds=since_s) if since_s else None

    def wanted(entry: Entry) -> bool:
        return (
            (user is None or entry.user == user)
            and (since is None or entry.at >= since)
            and (method is None or entry.method == method)
            and not (failed and entry.result == "ok")
        )

    entries, damaged = _read(config_file, wanted, count)
    for file, lines in damaged.items():
        say(f"Passed over {lines} damaged in {file}: whoever wrote was killed, or the disk was full.", err=True)
    if as_json:
        print_json(entries=[entry.to_wire() for entry in entries], damaged=sum(damaged.values()))
    elif not entries:
        say("Nothing of that kind is recorded.")
    for entry in [] if as_json else entries:
        say(f"{time_to_wire(entry.at)}  {_who(entry):<16} {entry.address:<15} {entry.result:<14} {_what(entry)}")


def _read(config_file: Path, wanted: Callable[[Entry], bool], count: int) -> tuple[deque[Entry], Counter[Path]]:
    """The last `count` wanted entries, and how many lines of which file are none."""
    from dopq.audit_trail import Damaged, read_audit
    from dopq.config import load
    from dopq.errors import OperatorError

    _, paths = load(config_file)
    entries, damaged = deque["Entry"](maxlen=count), Counter[Path]()
    try:
        for line in read_audit(paths.audit):
            if isinstance(line, Damaged):
                damaged[line.file] += 1
            elif wanted(line):
                entries.append(line)
    except OSError as error:
        raise OperatorError(
            f"The audit log cannot be read: {error.strerror} ({error.filename}).", "Ask as the user that runs the node."
        ) from error
    return entries, damaged


def _who(entry: Entry) -> str:
    """`anna`, `peer gpu2`, `anna by gpu2`, `uid 0`, or `nobody known`."""
    if entry.user:
        return f"{entry.user} by {entry.peer}" if entry.peer else entry.user
    if entry.peer:
        return f"peer {entry.peer}"
    return "nobody known" if entry.uid is None else f"uid {entry.uid}"


def _what(entry: Entry) -> str:
    return " ".join([entry.method, *(f"{name}={value!r}" for name, value in entry.what.items())])
