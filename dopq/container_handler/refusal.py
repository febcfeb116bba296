"""How a list of problems becomes one refusal, and how text from a stranger is shown in it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import cast

from dopq.errors import BundleRejected
from dopq.job import Problem

_MOST_SHOWN = 50  # a reason.txt of ten thousand lines helps nobody
_LONGEST_SHOWN = 80


def refusal(problems: Sequence[Problem], what: str = "The bundle was refused") -> BundleRejected:
    """The error that names all of `problems`, or the first fifty and how many more there are."""
    listed = list(problems[:_MOST_SHOWN])
    if more := len(problems) - len(listed):
        listed.append(Problem("bundle", f"{more} more problems like these", "Mend the ones above first."))
    if len(problems) == 1:
        message, hint = f"{what}. {problems[0]}", ""
    else:
        message, hint = f"{what}: {len(problems)} problems.", "\n".join(map(str, listed))
    return BundleRejected(message, hint, problems=[asdict(problem) for problem in listed])


def problems_of(error: BundleRejected) -> list[Problem]:
    """The problems that a refusal carries."""
    return [Problem(**fields) for fields in cast("list[dict[str, str]]", error.details["problems"])]


def shown(value: object) -> str:
    """A stranger's value, quoted, cut to a line, with control and bidirectional characters made visible."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str) and len(value) > _LONGEST_SHOWN:
        return repr(value[:_LONGEST_SHOWN] + "…")
    text = repr(value)
    return text if isinstance(value, str) or len(text) <= _LONGEST_SHOWN else text[:_LONGEST_SHOWN] + "…"
