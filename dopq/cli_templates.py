"""`dopq templates`: Dockerfiles for projects that bring none."""

from __future__ import annotations

import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, cast

import rich_click as click

from dopq.cli_answers import in_words, print_json, print_text, say
from dopq.cli_options import AS_JSON, CONFIG

if TYPE_CHECKING:
    from dopq.container_handler.rules import Rules


@click.group()
def templates() -> None:
    """Dockerfiles for projects that bring none; see build.templates and [templates] in the settings."""


def _rules(config_file: Path) -> Rules:
    from dopq.config import load
    from dopq.container_handler.rules import rules_of

    settings, paths = load(config_file)
    return rules_of(settings, paths.root, has_gpus=False)


@templates.command("list")
@CONFIG
@AS_JSON
@in_words
def templates_list(config_file: Path, as_json: bool) -> None:
    """List the templates with their base images, and where their Dockerfiles are."""
    from dopq.container_handler.project_layout import ENTRIES
    from dopq.job import JobSpec

    known = _rules(config_file).templates
    rows = [
        {
            "name": name,
            "base": known.base(name, JobSpec(name)),
            "runs": [str(entry) for entry in entries],
            "file": str(known.file(name, "Dockerfile")),
        }
        for name, entries in ENTRIES.items()
    ]
    if as_json:
        print_json(templates=rows)
    for row in [] if as_json else rows:
        say(f"{row['name']:<8} {row['base']:<28} {row['file']}")


@templates.command("show")
@click.argument("name", type=click.Choice(["python", "octave", "matlab"]))
@CONFIG
@in_words
def templates_show(name: str, config_file: Path) -> None:
    """Print a template as it stands, to be copied into your own folder and changed there."""
    print_text(_rules(config_file).templates.file(name, "Dockerfile").read_bytes())


@templates.command("render")
@click.argument("bundle", type=click.Path(exists=True, path_type=Path))
@CONFIG
@in_words
def templates_render(bundle: Path, config_file: Path) -> None:
    """Print the Dockerfile that a bundle (zip, tar or folder) would be built from."""
    from dopq.container_handler.bundle import check as check_bundle
    from dopq.container_handler.bundle_name import name_from_bundle
    from dopq.errors import UserError

    with _opened(bundle) as (file, name):
        taken = check_bundle(
            file, bundle_name=name, default_name=name_from_bundle(name), user=None, rules=_rules(config_file)
        )
    if not isinstance(taken.source, bytes):
        raise UserError(f"{bundle} brings an image of its own; nothing is built for it.")
    print_text(taken.source)


@contextmanager
def _opened(bundle: Path) -> Iterator[tuple[BinaryIO, str]]:
    """A bundle, open for reading, and its name: a folder as a tar of it."""
    if not bundle.is_dir():
        with bundle.open("rb") as file:
            yield file, bundle.name
        return
    with tempfile.TemporaryFile() as packed:
        with tarfile.open(fileobj=packed, mode="w") as tar:
            tar.add(bundle, bundle.resolve().name)
        packed.seek(0)
        yield cast("BinaryIO", packed), f"{bundle.resolve().name}.tar"
