"""The arguments of remote calls, with what they may be at most."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, Field

from dopq.job import StateName
from dopq.uploads import CHUNK_BYTES
from dopq.wire import Plain

LONGEST_WAIT_S = 5.0
"""How long a call may wait for news before it answers that there are none."""


def _state(name: str) -> StateName:
    if name not in set(StateName):
        raise ValueError(f"no such state; there are {', '.join(StateName)}")
    return StateName(name)


def _time(text: object) -> datetime:
    try:
        at = datetime.fromisoformat(text) if isinstance(text, str) else None
    except ValueError:
        at = None
    if at is None or at.tzinfo is None:
        raise ValueError("no time in ISO 8601 with its zone, such as 2026-03-01T12:00:00Z")
    return at


Reference = Annotated[str, Field(min_length=1, max_length=100)]
Key = Annotated[str, Field(min_length=8, max_length=100)]
Wait = Annotated[float, Field(ge=0, le=LONGEST_WAIT_S)]
Offset = Annotated[int, Field(ge=0, le=2**48)]
Length = Annotated[int, Field(ge=1, le=CHUNK_BYTES)]
Lines = Annotated[int, Field(ge=0, le=1_000_000)]
ResultPath = Annotated[str, Field(max_length=4096)]
ResultPaths = Annotated[list[ResultPath], Field(min_length=1, max_length=1000)]
Text = Annotated[str, Field(max_length=254)]
Secret = Annotated[str, Field(max_length=200)]
BundleName = Annotated[str, Field(min_length=1, max_length=200, pattern=r"^[^./\x00-\x1f\x7f][^/\x00-\x1f\x7f]*$")]
Changes = Annotated[Plain, Field(max_length=50)]
Limit = Annotated[int, Field(ge=1, le=10_000)]
Skip = Annotated[int, Field(ge=0, le=10**9)]
States = Annotated[Sequence[Annotated[str, AfterValidator(_state)]], Field(max_length=len(StateName))]
Time = Annotated[datetime, BeforeValidator(_time)]
