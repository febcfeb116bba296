"""The audit log: one line of JSON for every call that changes something, with who made it, from where, and its result.

    log.record(caller, "cancel_job", {"reference": "17"}, "ok")
    # {"at": "2026-03-01T09:30:00.125Z", "user": "anna", "peer": null, "uid": null, "from": "127.0.0.1", ...}

It is for people who ask afterwards; the journal is what the node goes by (docs/adr/0052). Lines are appended in one
write each (O_APPEND: write(2)), by all threads and by `dopq` beside the node, and nobody waits for anybody. A full file
becomes `audit-000001.jsonl` by one rename; who is killed at any point leaves at most half a line, which the next line
does not continue.
"""

from __future__ import annotations

import errno
import fcntl
import json
import math
import os
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

from dopq.caller import LOCAL, Caller
from dopq.errors import DopqError, InvariantBroken
from dopq.user_fields import is_user_name
from dopq.utils.clock import Clock
from dopq.utils.log import logger
from dopq.wire import Plain, time_to_wire

log = logger(__name__)

FILE_BYTES = 10 * 2**20
FILES = 10
"""How many files are kept, the one that grows among them."""

TOLD = frozenset(
    (
        *("reference", "references", "bundle", "size", "name", "user"),
        *("role", "weight", "uid", "uuid", "lock", "drain", "reason", "minutes"),
    )
)
"""The arguments of calls that are told: they name what was changed, and to what. No others ever are."""

MOST_ITEMS = 20
LONGEST_TEXT = 200


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of the log.

    Attributes:
        user, peer, uid: who: a user's name, a node's, or whose command it was on this machine; all None: nobody known.
        address: from where: an IP address, or `local`.
        method: the call, or the command such as `dopq user add`.
        what: those of its arguments that are `TOLD`.
        result: `ok`, or the error's code.
    """

    at: datetime
    user: str | None
    peer: str | None
    uid: int | None
    address: str
    method: str
    what: Plain
    result: str

    def to_wire(self) -> Plain:
        """The entry as plain data, in the order of its line."""
        return {
            "at": time_to_wire(self.at),
            "user": self.user,
            "peer": self.peer,
            "uid": self.uid,
            "from": self.address,
            "method": self.method,
            "what": self.what,
            "result": self.result,
        }


class AuditLog:
    """The log that is written at `path`. For any thread and process; `record` never raises."""

    def __init__(
        self,
        path: Path,
        clock: Clock,
        file_bytes: int = FILE_BYTES,
        is_registered: Callable[[str], bool] = lambda _name: False,
    ) -> None:
        """Write at `path`; `is_registered` says of a refused name whether it may be told, being a user's."""
        self._path = path
        self._is_registered = is_registered
        self._clock = clock
        self._file_bytes = file_bytes
        self.trouble: str | None = None  # why it cannot be written at present, for `system`

    def record(self, caller: Caller, method: str, what: Mapping[str, object], result: str) -> None:
        """Tell of a call that changes something, once it is over.

        `what`: its arguments by name, of which those that are `TOLD` are kept; `result`: `ok`, or the error's code.
        Where it cannot be written, the line goes into the service's log as an error: the change has been made.
        """
        user = str(caller.user.name) if caller.user else None
        told = {name: _short(value) for name, value in what.items() if name in TOLD}
        if result != "ok" and not self._is_users(what.get("name")):
            told.pop("name", None)  # it may be a password in the wrong field
        self._write(Entry(self._clock.now(), user, caller.peer, None, caller.address, method, told, result))

    @contextmanager
    def command(self, command: str, **what: object) -> Iterator[None]:
        """Tell what a command on this machine, such as `dopq user add`, has changed when the block is left, and how."""
        told = {name: _short(value) for name, value in what.items() if name in TOLD}
        entry = Entry(self._clock.now(), None, None, os.getuid(), LOCAL, command, told, "ok")
        try:
            yield
        except BaseException as error:
            self._write(replace(entry, result=error.code if isinstance(error, DopqError) else InvariantBroken.code))
            raise
        self._write(entry)

    def _is_users(self, name: object) -> bool:
        try:
            return isinstance(name, str) and is_user_name(name) and self._is_registered(name)
        except DopqError:  # nobody can say at present
            return False

    def _write(self, entry: Entry) -> None:
        line = json.dumps(entry.to_wire())  # ASCII, so that it does no harm on a terminal either
        try:
            self._rotate_if_full(len(line) + 1)
            _append(self._path, line.encode() + b"\n")
        except OSError as error:
            self.trouble = f"The audit log cannot be written: {error.strerror}."
            log.error("audit_line_not_written", cause=error.strerror, line=line)
        else:
            self.trouble = None

    def _rotate_if_full(self, more_bytes: int) -> None:
        if self._is_full(more_bytes):
            with _alone(self._path) as alone:
                if alone and self._is_full(more_bytes):  # nobody has been quicker
                    _rotate(self._path)

    def _is_full(self, more_bytes: int) -> bool:
        size = _size(self._path)
        return size > 0 and size + more_bytes > self._file_bytes


def full_files(path: Path) -> list[Path]:
    """The files that have been full, the oldest first."""
    name = re.compile(rf"{re.escape(path.stem)}-([0-9]{{6,}}){re.escape(path.suffix)}")
    return sorted((file for file in path.parent.iterdir() if name.fullmatch(file.name)), key=_number)


def _rotate(path: Path) -> None:
    """Give a full file its number, then let go of the oldest. Killed in between, the next rotation lets go of two."""
    full = full_files(path)
    number = _number(full[-1]) + 1 if full else 1
    path.rename(path.with_name(f"{path.stem}-{number:06}{path.suffix}"))
    for oldest in full[: max(0, len(full) + 2 - FILES)]:
        oldest.unlink(missing_ok=True)


def _number(path: Path) -> int:
    return int(path.stem.rpartition("-")[2])


def _append(path: Path, line: bytes) -> None:
    handle = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        size = os.fstat(handle).st_size
        if not size:
            _leave_to_the_service(handle, path)
        torn = size and os.pread(handle, 1, size - 1) != b"\n"
        whole = b"\n" + line if torn else line
        if os.write(handle, whole) < len(whole):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
    finally:
        os.close(handle)


@contextmanager
def _alone(path: Path) -> Iterator[bool]:
    """Whether nobody else, thread or process, is in here; the kernel lets go of it when the process dies."""
    handle = os.open(path.with_suffix(".lock"), os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        _leave_to_the_service(handle, path)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True
    finally:
        os.close(handle)


def _leave_to_the_service(handle: int, path: Path) -> None:
    """A file that root's `dopq` has made, perhaps beside a service that is not root, is the service's."""
    if os.geteuid() == 0:
        folder = path.parent.stat()
        os.fchown(handle, folder.st_uid, folder.st_gid)


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def _short(value: object) -> object:
    """A value as it is told: plain, and so short that nobody fills the log with it."""
    if not isinstance(value, list | tuple):
        return _scalar(value)
    more = [f"and {len(value) - MOST_ITEMS} more"] if len(value) > MOST_ITEMS else []
    return [_scalar(item) for item in value[:MOST_ITEMS]] + more


def _scalar(value: object) -> object:
    match value:
        case None | bool() | int():
            return value
        case float():
            return value if math.isfinite(value) else str(value)  # JSON has no word for infinity
        case str():
            return value if len(value) <= LONGEST_TEXT else f"{value[:LONGEST_TEXT]}…"
        case _:  # of another type than any of these arguments: the call was refused for it
            return type(value).__name__
