"""Versions of engines and runtimes, as they call themselves, and which of them have a fix. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

_VERSION = re.compile(r"v?(\d+(?:\.\d+)*)(?:-?(alpha|beta|rc)\.?(\d+))?(.*)")
_STAGES = ("alpha", "beta", "rc", "")
_NO_DISTRIBUTION = re.compile(r"(-ce|\+incompatible)?")


@dataclass(frozen=True, order=True, slots=True)
class Version:
    """A release, before which its alphas, betas and candidates come.

    Attributes:
        stage: place of alpha, beta, rc and the release itself in this order.
    """

    numbers: tuple[int, ...]
    stage: int
    candidate: int

    @property
    def branch(self) -> tuple[int, ...]:
        """Major and minor number: what gets fixes together."""
        return self.numbers[:2]


def read(text: str) -> tuple[Version, bool] | None:
    """A version, and whether a distribution made it from that one (`1.1.5+ds1`, `24.0.7-0ubuntu4`); None for none.

    Such a build may hold fixes of later versions, which its own number does not tell.
    """
    match = _VERSION.fullmatch(text.strip())
    if match is None:
        return None
    numbers = tuple(int(number) for number in match[1].split("."))
    padded = numbers + (0,) * (3 - len(numbers))
    stage = _STAGES.index(match[2] or "")
    return Version(padded, stage, int(match[3] or 0)), not _NO_DISTRIBUTION.fullmatch(match[4])


def has_fix(version: Version, fixed: Sequence[Version]) -> bool:
    """Whether a version holds a fix that was released in `fixed`, one version for each branch that got it.

    A branch below or between those never got it; all above the highest had it from their beginning.
    """
    same_branch = [release for release in fixed if release.branch == version.branch]
    return any(version >= release for release in same_branch) or version > max(fixed)
