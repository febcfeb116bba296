"""What one hostile bundle is, for the corpus: how it is made, and what has to be said of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

Verdict = Literal["invalid", "deferred"]


@dataclass(frozen=True, slots=True)
class Hostile:
    """One bundle that must not become a job that runs.

    Attributes:
        title: what is wrong with it, unique in the corpus.
        file: the name under which it is dropped; unique in the corpus, so that all can lie in one inbox.
        write: makes it at the path that it is given, a file or a folder.
        words: each must be in its reason.
        verdict: `invalid`: refused, with a reason. `deferred`: left in the inbox, waited for, never judged.
    """

    title: str
    file: str
    write: Callable[[Path], object]
    words: tuple[str, ...] = ()
    verdict: Verdict = "invalid"

    @property
    def is_folder(self) -> bool:
        """Folders have no ending; what becomes of them shows on a whole node (tests/acceptance/test_hostile_bundles.py)."""
        return "." not in self.file

    def __str__(self) -> str:
        return self.title
