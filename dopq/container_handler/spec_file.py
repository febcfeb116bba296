"""The table that a spec file holds, whatever its keys mean; and what is wrong with the file as JSON or TOML. Pure."""

from __future__ import annotations

import tomllib
from typing import Any

from dopq.container_handler.refusal import shown
from dopq.container_handler.strict_json import read_json
from dopq.job import Problem

_LONGEST = 64 * 1024
_MOST_DOTS = 500  # in a line of TOML: reading a dotted key takes time by the square of its dots


def read_table(file: str, content: bytes) -> tuple[dict[str, Any], list[Problem]]:
    """The table as it stands, empty where it cannot be read, and every problem on the way.

    `file` names it in the problems; its ending says what it is written in.
    """
    if len(content) > _LONGEST:
        return {}, [Problem(file, f"it has {len(content)} bytes", f"A spec has at most {_LONGEST} bytes.")]
    try:
        text = content.decode("utf-8-sig")  # Windows editors put a byte order mark at the start
    except UnicodeDecodeError as error:
        return {}, [Problem(file, f"byte {error.start} is no UTF-8", "Save the file as UTF-8 text.")]
    return _json_table(file, text) if file.endswith(".json") else _toml_table(file, text)


def _json_table(file: str, text: str) -> tuple[dict[str, Any], list[Problem]]:
    value, problems = read_json(text, file)
    if isinstance(value, dict):
        return value, problems
    return {}, problems or [Problem(file, "it holds no table of settings", 'Write {"name": "my-job"}.')]


def _toml_table(file: str, text: str) -> tuple[dict[str, Any], list[Problem]]:
    for number, line in enumerate(text.split("\n"), 1):
        if (dots := line.count(".")) > _MOST_DOTS:
            return {}, [Problem(f"{file}: line {number}", f"it has {dots} dots", "Break the line up.")]
    try:
        return tomllib.loads(text), []
    except (tomllib.TOMLDecodeError, ValueError, RecursionError) as error:
        return {}, [Problem(file, f"this is no valid TOML ({shown(str(error))})", "Mend the syntax there.")]
