"""Options that several verbs of `dopq` have."""

from __future__ import annotations

from pathlib import Path

import rich_click as click

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
