"""Logs: one event a line, a fixed name and its fields, whatever the fields hold.

    log = logger(__name__)
    log.info("job_started", job=3, user="alice", cause="its turn")
    # 2026-03-01T09:30:00.125Z INFO dopq.scheduler job_started job=3 user=alice cause="its turn"

INFO: a state changed. WARNING: we coped. ERROR: a human must look. Names that users chose end up in here, so everything
unprintable is escaped: nobody forges a line or paints the operator's terminal. Of a mapping only the keys are written,
since it may be a user's environment.
"""

from __future__ import annotations

import json
import logging
import math
import os
import re
import sys
from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from datetime import UTC, datetime
from typing import TextIO

from dopq.clean import escaped

_BARE = re.compile(r'[^\s"=\\]+')


class Logger:
    """A named source of events. Fields come as keyword arguments; `time`, `level`, `logger` and `event` are taken."""

    def __init__(self, name: str) -> None:
        self._logger = logging.getLogger(name)

    def debug(self, event: str, **fields: object) -> None:
        """Detail for whoever hunts a defect."""
        self._logger.debug(event, extra={"fields": fields})

    def info(self, event: str, **fields: object) -> None:
        """A state changed."""
        self._logger.info(event, extra={"fields": fields})

    def warning(self, event: str, **fields: object) -> None:
        """Something went wrong and we coped."""
        self._logger.warning(event, extra={"fields": fields})

    def error(self, event: str, **fields: object) -> None:
        """A human must look."""
        self._logger.error(event, extra={"fields": fields})

    def exception(self, event: str, **fields: object) -> None:
        """A human must look; call it where an exception is being handled, its traceback becomes a field."""
        self._logger.exception(event, extra={"fields": fields})  # noqa: LOG004 - the handler is our caller's


def logger(name: str) -> Logger:
    """The source of events for a module: `log = logger(__name__)`."""
    return Logger(name)


def setup(level: str = "INFO", *, json_lines: bool = False, stream: TextIO | None = None) -> None:
    """Send this process's events of `level` and above, and those of its libraries, to `stream` (stderr if None).

    The last call counts. Each line is handed to the system in one piece, so that processes which share a file or a
    pipe do not mix theirs (a pipe keeps pieces of up to 4096 bytes together, see pipe(7)).

    Raises:
        ValueError: no level of that name.
    """
    handler = _OnePieceHandler(stream or sys.stderr)
    handler.setFormatter(_JsonFormatter() if json_lines else _LineFormatter())
    root = logging.getLogger()
    root.setLevel(level)
    for former in [h for h in root.handlers if isinstance(h, _OnePieceHandler)]:
        root.removeHandler(former)
    root.addHandler(handler)


class _OnePieceHandler(logging.Handler):
    def __init__(self, stream: TextIO) -> None:
        super().__init__()
        self._stream = stream

    def emit(self, record: logging.LogRecord) -> None:
        try:
            self._write(self.format(record) + "\n")
        except Exception:  # noqa: BLE001 - a full disk or a closed pipe must not take the service down
            self.handleError(record)

    def _write(self, line: str) -> None:
        try:
            descriptor = self._stream.fileno()
        except OSError:  # a stream in memory
            self._stream.write(line)
            return
        rest = line.encode()
        while rest:
            rest = rest[os.write(descriptor, rest) :]


class _LineFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        event, fields = _content(record)
        head = (_timestamp(record), record.levelname, _quoted(record.name), _quoted(event))
        return " ".join((*head, *(f"{key}={_quoted(_text(value))}" for key, value in fields.items())))


class _JsonFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        event, fields = _content(record)
        head = {
            "time": _timestamp(record),
            "level": record.levelname,
            "logger": record.name,
            "event": event,
        }
        return json.dumps({**head, **{key: _plain(value) for key, value in fields.items()}, **head})


def _content(record: logging.LogRecord) -> tuple[str, dict[str, object]]:
    fields: dict[str, object]
    if (ours := getattr(record, "fields", None)) is not None:
        event, fields = record.msg, dict(ours)
    else:  # a library's own message: prose, not an event
        event, fields = "message", {"text": record.getMessage()}
    if record.exc_info and (error := record.exc_info[1]) is not None:
        fields["error"] = f"{type(error).__name__}: {error}"
        fields["traceback"] = logging.Formatter().formatException(record.exc_info)
    return event, fields


def _timestamp(record: logging.LogRecord) -> str:
    return _iso(datetime.fromtimestamp(record.created, UTC))


def _iso(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _plain(value: object) -> object:
    """What JSON can say, as it is; the rest as text."""
    match value:
        case None | bool() | int() | str():
            return value
        case float():
            return value if math.isfinite(value) else str(value)  # JSON has no word for infinity
        case AbstractSet():
            return sorted(_text(item) for item in value)
        case Mapping() | list() | tuple():  # of a mapping this takes the keys
            return [_plain(item) for item in value]
        case datetime():
            return _iso(value)
        case _:
            return str(value)


def _text(value: object) -> str:
    match _plain(value):
        case None:
            return "null"
        case bool() as flag:
            return str(flag).lower()
        case list() as items:
            return ",".join(_text(item) for item in items)
        case plain:
            return str(plain)


def _quoted(text: str) -> str:
    safe = escaped(text)
    return text if safe == text and _BARE.fullmatch(text) else f'"{safe}"'
