"""`dopq image`: base images."""

from __future__ import annotations

from pathlib import Path

import rich_click as click

from dopq.cli_answers import in_words, say
from dopq.cli_options import CONFIG


@click.group()
def image() -> None:
    """Base images."""


@image.command("bootstrap")
@click.option("--tag", default="python:3.11-slim", show_default=True, help="The name that bundles use in FROM.")
@click.option("--package", "packages", multiple=True, help="A further package of the distribution; may be repeated.")
@CONFIG
@in_words
def image_bootstrap(tag: str, packages: tuple[str, ...], config_file: Path) -> None:
    """Make a base image from this machine's own package mirror, where no registry can be reached."""
    from dopq.config import load
    from dopq.container_handler.base_image import bootstrap
    from dopq.container_handler.docker_engine import DockerEngine
    from dopq.node import engine_url

    settings, paths = load(config_file)
    paths.make()
    engine = DockerEngine(engine_url(settings))
    made = bootstrap(engine, tag, paths.cache, lambda line: say(line, err=True), packages)
    say(f"{tag} is {made}")
