"""What the Provider asks its gate, and what the gate answers: plain values, as JSON.

The gate may have been taken over by what it looks at. So its answer is data that is checked when it arrives, and never
anything that could be run.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Literal

from pydantic import Field, TypeAdapter

from dopq.container_handler.rules import Rules
from dopq.job import JobSpec, Problem


@dataclass(frozen=True, slots=True)
class GateLimits:
    """What one look at one bundle may take.

    Attributes:
        memory_bytes: of address space, Python itself included.
        cpu_s: seconds of computing.
        wall_s: seconds from the beginning to the answer.
    """

    memory_bytes: int = 2**30
    cpu_s: int = 900
    wall_s: float = 1800.0


@dataclass(frozen=True, slots=True)
class Prepare:
    """Check a bundle and write what it becomes; arguments as of `dopq.container_handler.bundle.prepare`."""

    bundle_name: str
    default_name: str
    user: str
    rules: Rules
    labels: Mapping[str, str]
    limits: GateLimits
    kind: Literal["prepare"] = "prepare"


@dataclass(frozen=True, slots=True)
class IsWhole:
    """Look whether a file has the end of what its name says it is."""

    bundle_name: str
    rules: Rules
    limits: GateLimits
    kind: Literal["is_whole"] = "is_whole"


@dataclass(frozen=True, slots=True)
class TryOut:
    """Give up every right as for a bundle, and look at nothing."""

    rules: Rules
    limits: GateLimits
    kind: Literal["try_out"] = "try_out"


Request = Prepare | IsWhole | TryOut


@dataclass(frozen=True, slots=True)
class Passed:
    """The bundle was taken; its files lie in the room."""

    spec: JobSpec
    is_image: bool
    has_input: bool
    kind: Literal["passed"] = "passed"


@dataclass(frozen=True, slots=True)
class Whole:
    """The answer to `IsWhole`."""

    whole: bool
    kind: Literal["whole"] = "whole"


@dataclass(frozen=True, slots=True)
class Confined:
    """The answer to `TryOut`: every right was given up, that to the network perhaps excepted."""

    has_network: bool
    kind: Literal["confined"] = "confined"


@dataclass(frozen=True, slots=True)
class Refused:
    """The bundle is wrong, with every problem."""

    problems: tuple[Problem, ...]
    kind: Literal["refused"] = "refused"


@dataclass(frozen=True, slots=True)
class Exceeded:
    """The look took more than `GateLimits` allow."""

    what: Literal["memory", "time"]
    kind: Literal["exceeded"] = "exceeded"


@dataclass(frozen=True, slots=True)
class Misconfigured:
    """The operator has to mend something (`BadConfig`)."""

    message: str
    hint: str
    kind: Literal["misconfigured"] = "misconfigured"


@dataclass(frozen=True, slots=True)
class DiskTrouble:
    """This machine's disk is full or failing (`OSError`)."""

    errno: int
    strerror: str
    kind: Literal["disk_trouble"] = "disk_trouble"


@dataclass(frozen=True, slots=True)
class Defect:
    """An error of ours, with its traceback."""

    text: str = field(repr=False)
    kind: Literal["defect"] = "defect"


Answer = Passed | Whole | Confined | Refused | Exceeded | Misconfigured | DiskTrouble | Defect

REQUEST: TypeAdapter[Request] = TypeAdapter(Annotated[Request, Field(discriminator="kind")])
ANSWER: TypeAdapter[Answer] = TypeAdapter(Annotated[Answer, Field(discriminator="kind")])
