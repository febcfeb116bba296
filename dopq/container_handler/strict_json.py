"""JSON as it is meant: no key twice, no NaN, no number that does not fit. `json.loads` is silent about all three."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

from dopq.container_handler.refusal import shown
from dopq.job import Problem

_MOST_DIGITS = 18  # fits a signed 64-bit integer; Python itself gives up at 4300 digits


def read_json(text: str, where: str) -> tuple[object, list[Problem]]:
    """The value, as far as it could be read (None where not at all), and every problem on the way.

    `where` names the file in the problems.
    """
    problems: list[Problem] = []

    def pairs(items: list[tuple[str, Any]]) -> dict[str, Any]:
        twice = [key for key, times in Counter(key for key, _ in items).items() if times > 1]
        problems.extend(Problem(where, f"the key {shown(key)} is there twice", "Keep one of them.") for key in twice)
        return dict(items)

    def constant(word: str) -> None:
        problems.append(Problem(where, f"{word} is no JSON number", "Write a number."))

    def integer(digits: str) -> int:
        if len(digits) > _MOST_DIGITS:
            problems.append(Problem(where, f"the number {shown(digits)} is too long", "Write a smaller number."))
            return 0
        return int(digits)

    try:
        value = json.loads(text, object_pairs_hook=pairs, parse_constant=constant, parse_int=integer)
    except json.JSONDecodeError as error:
        place = f"{where}: line {error.lineno}, column {error.colno}"
        return None, [*problems, Problem(place, f"this is no valid JSON ({error.msg})", "Mend the syntax there.")]
    except RecursionError:
        return None, [*problems, Problem(where, "it is nested too deeply", "Use the keys of a spec only.")]
    return value, problems
