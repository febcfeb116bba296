"""The JSON form of an instruction's arguments, as in `COPY ["a b", "/dir/"]`. Pure."""

from __future__ import annotations

import json


def json_words(arguments: str) -> tuple[str, ...] | None:
    """The words of a JSON list of strings; None for anything else.

    Python is never more lenient here than the builders' Go: what it takes besides JSON (NaN) is no string.
    """
    if not arguments.startswith("["):
        return None
    try:
        words = json.loads(arguments)
    except (ValueError, RecursionError):
        return None
    return tuple(words) if isinstance(words, list) and all(isinstance(word, str) for word in words) else None
