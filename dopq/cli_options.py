"""Options that several verbs of `dopq` have."""

from __future__ import annotations

from pathlib import Path

import rich_click as click

from dopq.durations import parse_duration

CONFIG = click.option(
    "--config",
    "config_file",
    type=click.Path(path_type=Path, dir_okay=False),
    default="config.toml",
    envvar="DOPQ_CONFIG",
    show_default=True,
    help="The node's settings file.",
)
AS_JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON, and nothing else, on standard output.")


def seconds(_context: click.Context, _option: click.Parameter, value: str | None) -> int | None:
    """For `callback=`: the seconds of a time as `job.toml` takes it, more than 0; None where none was given."""
    told = parse_duration(value) if value else None
    if value is not None and not told:
        raise click.BadParameter(f"{value!r} is no duration: write 90m, 12h or 7d.")
    return told
