"""`dopq gpu`: what the machine's owner says of its GPUs."""

from __future__ import annotations

from pathlib import Path

import rich_click as click

from dopq.cli_answers import in_words, say
from dopq.cli_changes import changing
from dopq.cli_options import CONFIG


@click.group()
def gpu() -> None:
    """The GPUs of this node."""


@gpu.command("heal")
@click.argument("uuid")
@CONFIG
@in_words
def gpu_heal(uuid: str, config_file: Path) -> None:
    """Hand a GPU out again that is kept back for a hardware fault: you have reset or replaced it."""
    from contextlib import closing

    from dopq.config import load
    from dopq.database import Database
    from dopq.gpu_watch import heal
    from dopq.store import Journal
    from dopq.utils.clock import SystemClock

    _, paths = load(config_file)
    paths.make()
    with closing(Database(paths.journal)) as database, changing(paths, "dopq gpu heal", uuid=uuid):
        heal(Journal(database), uuid, SystemClock().now())
    say(f"{uuid} is handed out again, within seconds where the node runs.")
