"""A job's settings as the text of a job.toml: written for an editor, and read back."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterable, Iterator, Mapping

from dopq.clean import clean
from dopq.errors import BundleRejected, UserError
from dopq.wire import Plain


def changes_of(assignments: Iterable[str]) -> Plain:
    """The settings that `KEY=VALUE`s name: TOML where the value is some, else text; None for an empty one.

    Raises:
        UserError: one of them is no such thing.
    """
    changes: Plain = {}
    for assignment in assignments:
        key, equals, value = assignment.partition("=")
        if not equals or not key.strip():
            raise UserError(f"--set {clean(assignment)} names no setting.", "Write KEY=VALUE, for example gpus=2.")
        changes[key.strip()] = _value(value.strip()) if value.strip() else None
    return changes


def written(number: int, settings: Mapping[str, object]) -> str:
    """Settings as a job.toml; what is None is left out."""
    return "\n".join(
        (
            f"# Settings with which job {number} is to run again. Nothing is handed in before you save and close this.",
            "# A line that is taken out goes back to the node's own value.",
            *_lines(settings),
            "",
        )
    )


def edited(text: str) -> str:
    """The text as it is after its user has edited it.

    Raises:
        UserError: there is no editor, or it was left without saving.
    """
    import click

    try:
        after = click.edit(text, extension=".toml")
    except click.ClickException as error:
        raise UserError(
            f"The editor did not run: {error.format_message()}", "Set EDITOR to one, or use --set."
        ) from error
    if after is None:
        raise UserError("Nothing was saved in the editor, and nothing was handed in.", "Save it, even if unchanged.")
    return after


def read_back(text: str) -> Plain:
    """What an edited job.toml says. Raises `BundleRejected` where it is no TOML."""
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        problem = {"where": "job.toml", "what": f"it is no TOML: {error}", "instead": "Mend that line."}
        raise BundleRejected("The settings cannot be read.", problems=[problem]) from error


def differences(before: Mapping[str, object], after: Mapping[str, object]) -> Plain:
    """What has to be said so that `before` becomes `after`; what is not there any more is None."""
    changed = {key: value for key, value in after.items() if before.get(key) != value}
    return changed | {key: None for key, value in before.items() if value is not None and key not in after}


def _value(text: str) -> object:
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def _lines(settings: Mapping[str, object]) -> Iterator[str]:
    tables = {key: value for key, value in settings.items() if isinstance(value, Mapping)}
    for key, value in settings.items():
        if value is not None and key not in tables:
            yield f"{key} = {_toml(value)}"
    for key, table in tables.items():
        yield f"\n[{key}]"
        yield from (f"{_toml(name)} = {_toml(value)}" for name, value in table.items())


def _toml(value: object) -> str:
    """A value in TOML, which takes the numbers, lists and strings of JSON, all but DEL (TOML 1.0.0, "String")."""
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
