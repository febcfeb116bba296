"""A container's log with Docker's `json-file` driver: how much of it stays, and what of it is sure to be whole. Pure.

The driver writes one line of JSON for each entry. Before an entry it looks whether its file has reached `max-size`;
then it begins another, and of the older files keeps one (moby, `daemon/logger/loggerutils/logfile.go`). So the first
file is dropped when the second is full; whoever follows a log goes from the end of one file to what is then the newest,
and may miss what lay between. Within the first file nobody misses anything.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from dopq.container_handler.engine import LogPiece

_AROUND_BYTES = 80
"""What the driver puts around the text of an entry at most: `{"log":"","stream":"stderr","time":"..."}` and an end."""

_SPECIAL = bytes(range(0x20)) + b'"\\<>&'
"""What becomes up to six bytes in JSON as Go writes it, such as `\\u003c`."""

_HIGH = bytes(range(0x80, 0x100))
"""Bytes of characters that take up to three in UTF-8; two of these characters become six in JSON."""


def log_config(kept_bytes: int) -> dict[str, Any]:
    """`LogConfig` of a container whose log is kept whole up to so many bytes of the driver's.

    Every option is said, since what is left out comes from the operator's own `log-opts` in daemon.json.
    https://docs.docker.com/engine/logging/drivers/json-file/
    """
    options = {"max-size": str(kept_bytes), "max-file": "2", "compress": "false", "mode": "blocking"}
    return {"Type": "json-file", "Config": options}


def kept_bytes(container: Mapping[str, Any]) -> float:
    """How long the first file of a container of `GET /containers/{id}/json` is.

    It was said when the container was made, and the settings may be others by now. Before there was a limit, a text
    with a unit meant that there was none.
    """
    size = container["HostConfig"]["LogConfig"]["Config"].get("max-size", "")
    return int(size) if size.isdecimal() else math.inf


def pieces(frames: Iterable[bytes], first_file_bytes: float) -> Iterator[LogPiece]:
    """What the engine says of a log, with `timestamps=1`; each frame is an entry."""
    before_it = 0
    for frame in frames:
        at, _, data = frame.partition(b" ")
        yield LogPiece(at.decode("ascii"), data, is_sure=before_it < first_file_bytes)
        before_it += _entry_bytes(data)


def _entry_bytes(data: bytes) -> int:
    """What an entry takes in the driver's file at most."""
    special = len(data) - len(data.translate(None, _SPECIAL))
    high = len(data) - len(data.translate(None, _HIGH))
    return _AROUND_BYTES + len(data) + 5 * special + high
