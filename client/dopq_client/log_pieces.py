"""A log in pieces: from where it is wanted, to its end or for as long as it grows."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from dopq_client.link import Link
from dopq_client.patience import PatientLink
from dopq_client.waiting import POLL_S

READ_BYTES = 256 * 1024
"""What is read at a time; the service's own limit."""


def log_pieces(
    direct: Link, job: str, build: bool, follow: bool, tail: int | None, since: datetime | None
) -> Iterator[bytes]:
    """See `DopqClient.logs`; `job` is a number, since `@` may mean another job by the time of the next piece."""
    link: Link = PatientLink(direct) if follow else direct
    offset = 0
    if tail is not None or since:
        offset = int(link.call("get_log_offset", job, build, tail, since.isoformat() if since else None))
    while True:
        answer = link.call("read_log", job, build, offset, READ_BYTES, POLL_S if follow else 0.0)
        data: bytes = answer["data"]
        if data:
            yield data
        offset += len(data)
        if answer["complete"] or not (data or follow):
            return
