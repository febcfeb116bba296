"""The kinds of value that a spec is made of, each with its bounds and with words for whoever got it wrong.

Every check raises `wrong(...)`, so that its problem says what to write instead.
"""

from __future__ import annotations

import re
import shlex
import signal
from pathlib import PurePosixPath
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema
from pydantic_core import PydanticCustomError

from dopq.config import MOST_SLOTS, PYTHON_VERSION
from dopq.container_handler.bundle_name import slug
from dopq.container_handler.quantities import parse_size
from dopq.container_handler.refusal import shown
from dopq.durations import parse_duration
from dopq.job import After, JobSpec

_NAME = re.compile(r"[a-z0-9][a-z0-9_.-]{0,62}", re.ASCII)
_AFTER = re.compile(rf"(?P<job>[0-9]{{1,15}}|{_NAME.pattern})(:(?P<how>ok|any))?", re.ASCII)
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,254}", re.ASCII)
_SERVICE_VARIABLE = re.compile(r"NVIDIA_.*|CUDA_VISIBLE_DEVICES|LD_PRELOAD|LD_AUDIT|DOPQ_.*", re.DOTALL)
PYTHON_EXAMPLE = "3.12"
_LEAST_BYTES = 6 * 2**20  # Docker refuses a memory limit below 6 MiB
_MOST_BYTES = 16 * 2**40
_MOST_SECONDS = 366 * 86400
_MOST_VARIABLES = 256
_MOST_WORDS = 1024
_MOST_JOBS = 100
_LONGEST_TEXT = 32 * 1024  # Linux gives an argument or variable 128 KiB at most (MAX_ARG_STRLEN)


def wrong(what: str, instead: str) -> PydanticCustomError:
    """A problem with a value: what is wrong with it, and what to write instead."""
    return PydanticCustomError("spec", "{what}", {"what": what, "instead": instead})


def _name(value: str) -> str:
    if not _NAME.fullmatch(value):
        rule = "a name has 1 to 63 small letters, digits, '-', '_' or '.', and begins with a letter or digit"
        raise wrong(f"{shown(value)} cannot be a name: {rule}", f'Write "{slug(value)}".')
    return value


def is_sound(spec: JobSpec) -> bool:
    """Whether a spec that somebody else says to have read has a name and an environment that we would let through."""
    return bool(_NAME.fullmatch(spec.name)) and not any(_variable_problem(key, text) for key, text in spec.environment)


def _size(value: object) -> int:
    size = parse_size(value) if isinstance(value, str) else value
    if not isinstance(size, int) or isinstance(size, bool):
        raise wrong(f"{shown(value)} is no size", 'Write a number and its unit, such as "512m", "20g" or "1.5g".')
    if not _LEAST_BYTES <= size <= _MOST_BYTES:
        unit = "" if isinstance(value, str) else " (a number without unit counts bytes)"
        raise wrong(f"{shown(value)} is not between 6m and 16t{unit}", 'Write a size such as "512m" or "20g".')
    return size


def _time(value: object) -> int:
    seconds = parse_duration(value) if isinstance(value, str) else None
    if seconds is None:
        raise wrong(f"{shown(value)} is no time", 'Write a number and its unit, such as "2h", "90m" or "45s".')
    if not 1 <= seconds <= _MOST_SECONDS:
        raise wrong(f"{shown(value)} is not between 1s and 366d", 'Write a time such as "2h".')
    return seconds


def _text(value: str) -> str:
    if "\0" in value or len(value) > _LONGEST_TEXT or not _is_unicode(value):
        raise wrong("it holds a NUL, half a character, or more than 32768 characters", "Write a plain, shorter text.")
    return value


def _is_unicode(value: str) -> bool:
    return not any("\ud800" <= character <= "\udfff" for character in value)  # JSON can spell lone surrogates


def _words(value: object) -> tuple[str, ...]:
    try:
        words = shlex.split(value) if isinstance(value, str) else value
    except ValueError as error:
        raise wrong(f"{shown(value)} has {str(error).lower()}", "Close it, or write a list of words.") from error
    if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
        raise wrong(f"{shown(value)} is no command", 'Write text, or a list such as ["python3", "train.py"].')
    if not 1 <= len(words) <= _MOST_WORDS:
        raise wrong(f"it has {len(words)} words", "Write 1 to 1024 words, or leave the key out.")
    return tuple(_text(word) for word in words)


def _environment(value: object) -> tuple[tuple[str, str], ...]:
    if isinstance(value, list) and all(isinstance(line, str) and "=" in line for line in value):
        pairs = [tuple(line.split("=", 1)) for line in value]
    elif isinstance(value, dict):
        pairs = list(value.items())
    else:
        raise wrong(f"{shown(value)} is no environment", 'Write a table such as {"EPOCHS": "10"}.')
    problems = [problem for key, text in pairs if (problem := _variable_problem(key, text))]
    if len(pairs) > _MOST_VARIABLES:
        problems.append(f"there are {len(pairs)} variables, 256 are allowed")
    if len({key for key, _ in pairs}) < len(pairs):
        problems.append("a variable is there twice")
    if problems:
        raise wrong("; ".join(problems[:10]), "Leave those out, or write them as text: NAME and value in quotes.")
    return tuple((key, text) for key, text in pairs)


def _variable_problem(key: str, text: object) -> str:
    if not _VARIABLE.fullmatch(key):
        return f"{shown(key)} cannot be the name of a variable"
    if _SERVICE_VARIABLE.fullmatch(key):
        return f"{key} belongs to the service"
    if not isinstance(text, str):
        return f"{key} is {shown(text)}, which is no text"
    if "\0" in text or len(text) > _LONGEST_TEXT or not _is_unicode(text):
        return f"{key} holds a NUL, half a character, or more than 32768 characters"
    return ""


def _folder(value: str) -> str:
    if not value.isprintable() or len(value) > 1024 or not PurePosixPath(value).is_absolute():
        raise wrong(f"{shown(value)} is no folder in the container", 'Write an absolute path such as "/app".')
    return value


def _signal(value: str) -> str:
    known = {name.name for name in signal.Signals}
    if value not in known:
        raise wrong(f"{shown(value)} is no signal", 'Write a name such as "SIGTERM" or "SIGINT".')
    return value


def _python(value: object) -> str:
    if not isinstance(value, str):
        raise wrong(f"{shown(value)} is a number", f'Write the version in quotes, such as "{PYTHON_EXAMPLE}".')
    if not re.fullmatch(PYTHON_VERSION, value):
        raise wrong(f"{shown(value)} is no version of Python 3", f'Write one such as "{PYTHON_EXAMPLE}".')
    return value


def _after(value: object) -> tuple[After, ...]:
    entries = value if isinstance(value, list) else [value]
    if not 1 <= len(entries) <= _MOST_JOBS:
        raise wrong(f"it names {len(entries)} jobs", f"Name 1 to {_MOST_JOBS} jobs, or leave the key out.")
    return tuple(_after_one(entry) for entry in entries)


def _after_one(entry: object) -> After:
    number = isinstance(entry, int) and not isinstance(entry, bool)
    found = _AFTER.fullmatch(str(entry)) if number or isinstance(entry, str) else None
    if not found:
        raise wrong(f"{shown(entry)} names no job", 'Write a number or a name, such as 17, "prepare" or "prepare:any".')
    return After(found["job"], found["how"] == "any")


_SIZE_PATTERN = r"^\s*[0-9]{1,15}([.][0-9]{1,6})? ?[kKmMgGtT][iI]?[bB]?\s*$"
_SIZE_TEXT = {"type": "string", "pattern": _SIZE_PATTERN, "examples": ["512m", "20g"]}
_SIZE_BYTES = {"type": "integer", "minimum": _LEAST_BYTES, "maximum": _MOST_BYTES, "description": "bytes"}
_TIME_PATTERN = r"^\s*[0-9]{1,9}([.][0-9]{1,6})? ?([sS]|[mM]([iI][nN])?|[hH]|[dD])\s*$"
_TIME_TEXT = {"type": "string", "pattern": _TIME_PATTERN, "examples": ["2h", "90m"]}
_WORD = {"type": "string", "maxLength": _LONGEST_TEXT}
_WORD_LIST = {"type": "array", "items": _WORD, "minItems": 1, "maxItems": _MOST_WORDS}
_JOB_TEXT = {"type": "string", "pattern": f"^([0-9]{{1,15}}|{_NAME.pattern})(:(ok|any))?$", "examples": ["prepare:any"]}
_JOB = {"anyOf": [_JOB_TEXT, {"type": "integer", "minimum": 0, "maximum": 10**15 - 1}]}
_JOB_LIST = {"type": "array", "items": _JOB, "minItems": 1, "maxItems": _MOST_JOBS}
_VARIABLE_NAME = {"pattern": f"^{_VARIABLE.pattern}$", "not": {"pattern": f"^({_SERVICE_VARIABLE.pattern})$"}}
_VARIABLES = {"type": "object", "propertyNames": _VARIABLE_NAME, "additionalProperties": _WORD}
_VARIABLE_LINES = {"type": "array", "items": {"type": "string", "pattern": "="}, "examples": [["EPOCHS=10"]]}

# What pydantic cannot tell from a check written in Python is said in JSON Schema's words beside it.
Name = Annotated[str, AfterValidator(_name), WithJsonSchema({"type": "string", "pattern": f"^{_NAME.pattern}$"})]
Size = Annotated[int, BeforeValidator(_size), WithJsonSchema({"anyOf": [_SIZE_TEXT, _SIZE_BYTES]})]
Time = Annotated[int, BeforeValidator(_time), WithJsonSchema(_TIME_TEXT)]
Words = Annotated[
    tuple[str, ...],
    BeforeValidator(_words),
    WithJsonSchema({"anyOf": [{**_WORD, "pattern": r"\S"}, _WORD_LIST]}),
]
Environment = Annotated[
    tuple[tuple[str, str], ...],
    BeforeValidator(_environment),
    WithJsonSchema({"anyOf": [{**_VARIABLES, "maxProperties": _MOST_VARIABLES}, _VARIABLE_LINES]}),
]
Folder = Annotated[str, AfterValidator(_folder), WithJsonSchema({"type": "string", "pattern": "^/", "maxLength": 1024})]
SignalName = Annotated[
    str, AfterValidator(_signal), WithJsonSchema({"enum": sorted(name.name for name in signal.Signals)})
]
TemplateName = Literal["python", "octave", "matlab"]
PythonVersion = Annotated[str, BeforeValidator(_python), WithJsonSchema({"type": "string", "pattern": PYTHON_VERSION})]
GpuCount = Annotated[int, Field(ge=0, le=1024)]
SlotCount = Annotated[int, WithJsonSchema({"type": "integer", "minimum": 1, "maximum": MOST_SLOTS})]
Cpus = Annotated[float, Field(ge=0.01, le=4096, allow_inf_nan=False)]
Priority = Annotated[int, Field(ge=-100, le=100)]
Retries = Annotated[int, Field(ge=0, le=5)]
Afters = Annotated[tuple[After, ...], BeforeValidator(_after), WithJsonSchema({"anyOf": [*_JOB["anyOf"], _JOB_LIST]})]
