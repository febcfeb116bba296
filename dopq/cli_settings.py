"""`dopq config`: the settings file."""

from __future__ import annotations

from pathlib import Path

import rich_click as click

from dopq.cli_answers import in_words, print_text, say


@click.group()
def config() -> None:
    """The settings file."""


@config.command("show")
@in_words
def config_show() -> None:
    """Print every key with its unit, default and reason."""
    from dopq.config import default_text

    print_text(default_text().encode())


@config.command("check")
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@in_words
def config_check(file: Path) -> None:
    """Check a settings file; all problems at once."""
    from dopq.config import load

    load(file)
    say(f"{file} is fine.")


@config.command("write")
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@click.option("--set", "changes", multiple=True, metavar="KEY=VALUE", help="For example remote.port=9091.")
@click.option("--force", is_flag=True, help="Replace the file if there is one.")
@in_words
def config_write(file: Path, changes: tuple[str, ...], force: bool) -> None:
    """Write a commented settings file with every key."""
    from dopq.config import default_text, with_changes
    from dopq.errors import UserError
    from dopq.utils.files import write_atomic

    if file.exists() and not force:
        raise UserError(f"{file} is there already.", "Choose another name, or add --force to replace it.")
    text = with_changes(default_text(), changes)
    file.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(file, text)
    say(f"Wrote {file}. Next: dopq check --config {file}")
