"""The arguments of remote calls, with what they may be at most."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from dopq.uploads import CHUNK_BYTES

LONGEST_WAIT_S = 5.0
"""How long a call may wait for news before it answers that there are none."""

Reference = Annotated[str, Field(min_length=1, max_length=100)]
NodeReference = Annotated[str, Field(min_length=1, max_length=63)]
Key = Annotated[str, Field(min_length=8, max_length=100)]
Wait = Annotated[float, Field(ge=0, le=LONGEST_WAIT_S)]
Offset = Annotated[int, Field(ge=0, le=2**48)]
Length = Annotated[int, Field(ge=1, le=CHUNK_BYTES)]
Text = Annotated[str, Field(max_length=254)]
Secret = Annotated[str, Field(max_length=200)]
BundleName = Annotated[str, Field(min_length=1, max_length=200, pattern=r"^[^./\x00-\x1f\x7f][^/\x00-\x1f\x7f]*$")]
