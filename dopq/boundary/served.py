"""What is served: the methods that may be called from outside, and what was wrong with the arguments of a call."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from dopq.access import Call, calls
from dopq.errors import UserError
from dopq.wire import Plain

MAX_PROBLEMS = 10
"""How many mistakes of one call are told."""

LONGEST_PLACE = 100
"""Characters that are told of where a mistake is: they may be the caller's own."""


@dataclass(frozen=True, slots=True)
class Served:
    """A method that may be called from outside; it gets a `Caller`, or for USER and ADMIN their `User`, and more."""

    run: Callable[..., Any]
    row: Call

    @property
    def name(self) -> str:
        """As it is called."""
        return self.run.__name__

    @property
    def has_key(self) -> bool:
        """Whether its arguments have a key of their own, which the journal remembers."""
        return "key" in inspect.signature(self.run).parameters

    @property
    def waits(self) -> bool:
        """Whether it may wait for news; what it then answers is small."""
        return "wait_s" in inspect.signature(self.run).parameters

    def by_name(self, arguments: list[object], named: Plain) -> Plain:
        """The arguments of a call by their names, as far as they have any."""
        names = list(inspect.signature(self.run).parameters)[1:]
        return dict(zip(names, arguments, strict=False)) | named

    def mistake(self, error: ValidationError) -> UserError:
        """What was wrong with the arguments, for whoever gave them."""
        names = list(inspect.signature(self.run).parameters)
        problems = [
            f"{_place(item['loc'], names)[:LONGEST_PLACE]}: {item['msg']}"
            for item in error.errors(include_url=False, include_input=False)[:MAX_PROBLEMS]
        ]
        sentence = f"{self.name} was called wrongly: {'; '.join(problems)}."
        return UserError(sentence, "See docs/api.md.", problems=problems)


def served(face: object) -> list[Served]:
    """Every method of an object that is marked with `@remote`."""
    return [Served(getattr(face, name), row) for name, row in calls(type(face)).items()]


def _place(location: tuple[int | str, ...], names: list[str]) -> str:
    """A place in the arguments, by name; pydantic counts those that came without one."""
    first, *rest = location
    named = names[first] if isinstance(first, int) and first < len(names) else first
    return ".".join(str(part) for part in (named, *rest))
