"""`dopq`: the tool of a machine's owner. Parses, asks, translates; decides nothing."""

from __future__ import annotations

import json
import sys
import tarfile
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, ParamSpec, TypeVar, cast

import rich_click as click

from dopq import __version__
from dopq.errors import AlreadyRunning, DopqError, NotFound, TryAgain
from dopq.wire import SCHEMA_VERSION, time_to_wire

if TYPE_CHECKING:
    from dopq.container_handler.rules import Rules

Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")

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


def in_words(command: Callable[Parameters, Result]) -> Callable[Parameters, Result]:
    """Turn our errors into words on standard error and the exit codes of the contract."""

    @wraps(command)
    def run(*args: Parameters.args, **kwargs: Parameters.kwargs) -> Result:
        try:
            return command(*args, **kwargs)
        except DopqError as error:
            click.echo(f"Error: {error.message}", err=True)
            if error.hint:
                click.echo(error.hint, err=True)
            sys.exit(exit_code(error))

    return run


def exit_code(error: DopqError) -> int:
    """The exit code for an error (docs/json.md, "Exit codes")."""
    match error:
        case NotFound():
            return 3
        case TryAgain():
            return 5
        case AlreadyRunning():
            return 1
        case _:
            return 2


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="dopq")
def main() -> None:
    """Run and look after a DoPQ node. Users have a tool of their own: dopq-client."""


@main.command()
@CONFIG
@in_words
def serve(config_file: Path) -> None:
    """Run the node in the foreground until SIGTERM. Running jobs outlive it and are found again."""
    from dopq import config, node
    from dopq.utils import log

    settings, paths = config.load(config_file)
    log.setup(settings.node.log_level.upper(), json_lines=settings.node.log_json)
    node.serve(settings, paths)


@main.command()
@CONFIG
@AS_JSON
@in_words
def check(config_file: Path, as_json: bool) -> None:
    """Is this machine ready? Exit code 1 if something has to be mended first."""
    from dopq import config
    from dopq.doctor import examine

    settings, paths = config.load(config_file)
    findings = examine(settings, paths)
    if as_json:
        _print_json(checks=[{"what": f.what, "level": f.level, "found": f.found, "fix": f.fix} for f in findings])
    for finding in [] if as_json else findings:
        click.echo(f"{finding.level:<8} {finding.what:<10} {finding.found}")
        if finding.fix:
            click.echo(f"{'':<19} {finding.fix}")
    sys.exit(1 if any(finding.level == "error" for finding in findings) else 0)


# --- settings ---------------------------------------------------------------------------------------------------------


@main.group()
def config() -> None:
    """The settings file."""


@config.command("show")
@in_words
def config_show() -> None:
    """Print every key with its unit, default and reason."""
    from dopq.config import default_text

    click.echo(default_text(), nl=False)


@config.command("check")
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@in_words
def config_check(file: Path) -> None:
    """Check a settings file; all problems at once."""
    from dopq.config import load

    load(file)
    click.echo(f"{file} is fine.")


@config.command("write")
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@click.option("--set", "changes", multiple=True, metavar="KEY=VALUE", help="For example remote.nameserver_port=9091.")
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
    click.echo(f"Wrote {file}. Next: dopq check --config {file}")


# --- users ------------------------------------------------------------------------------------------------------------


@main.group()
def user() -> None:
    """Who may use this node."""


def _users(config_file: Path) -> tuple[Any, Any]:
    from dopq.config import load
    from dopq.store import Database
    from dopq.users import Users

    _, paths = load(config_file)
    paths.make()
    return Users(Database(paths.journal)), paths


@user.command("add")
@click.argument("name")
@click.option("--role", type=click.Choice(["user", "admin"]), default="user", show_default=True)
@click.option("--weight", type=float, default=1.0, show_default=True, help="Share relative to other users.")
@click.option("--uid", type=click.IntRange(min=1), help="Owner of the user's inbox folder on this machine.")
@CONFIG
@AS_JSON
@in_words
def user_add(name: str, role: str, weight: float, uid: int | None, config_file: Path, as_json: bool) -> None:
    """Register a user, make their folders in the share, and show their token this once."""
    from dopq.publisher import make_user_folders
    from dopq.share import require_share
    from dopq.users import Role
    from dopq.utils.clock import SystemClock

    users, paths = _users(config_file)
    require_share(paths)  # before the token is made: it is shown only once
    token = users.add(name, role=Role(role), weight=weight, uid=uid, now=SystemClock().now())
    inbox = make_user_folders(paths, name, uid)  # type: ignore[arg-type] # checked by `add`
    if as_json:
        _print_json(name=name, role=role, weight=weight, token=token, inbox=str(inbox))
        return
    click.echo(f"Registered {name} ({role}). Bundles go into {inbox}")
    click.echo(f"Token, shown this once: {token}")
    click.echo("Hand it over safely; with it: dopq-client login")


@user.command("list")
@CONFIG
@AS_JSON
@in_words
def user_list(config_file: Path, as_json: bool) -> None:
    """List the users."""
    everybody = [
        {"name": u.name, "role": u.role, "weight": u.weight, "uid": u.uid, "created_at": time_to_wire(u.created_at)}
        for u in _users(config_file)[0].all()
    ]
    if as_json:
        _print_json(users=everybody)
    for one in [] if as_json else everybody:
        click.echo(f"{one['name']:<32} {one['role']:<6} weight {one['weight']:g}")


@user.command("remove")
@click.argument("name")
@CONFIG
@in_words
def user_remove(name: str, config_file: Path) -> None:
    """Forget a user and their token. Their jobs and folders stay."""
    _users(config_file)[0].remove(name)
    click.echo(f"Removed {name}.")


@user.command("passwd")
@click.argument("name")
@CONFIG
@AS_JSON
@in_words
def user_passwd(name: str, config_file: Path, as_json: bool) -> None:
    """Give a user a new token; the old one is dead at once."""
    token = _users(config_file)[0].new_token(name)
    if as_json:
        _print_json(name=name, token=token)
    else:
        click.echo(f"New token of {name}, shown this once: {token}")


@user.command("weight")
@click.argument("name")
@click.argument("weight", type=float)
@CONFIG
@in_words
def user_weight(name: str, weight: float, config_file: Path) -> None:
    """Change a user's share."""
    _users(config_file)[0].set_weight(name, weight)
    click.echo(f"{name} has weight {weight:g} now.")


@user.command("role")
@click.argument("name")
@click.argument("role", type=click.Choice(["user", "admin"]))
@CONFIG
@in_words
def user_role(name: str, role: str, config_file: Path) -> None:
    """Make a user an admin, or an ordinary user."""
    from dopq.users import Role

    _users(config_file)[0].set_role(name, Role(role))
    click.echo(f"{name} is {role} now.")


# --- images -----------------------------------------------------------------------------------------------------------


@main.group()
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
    made = bootstrap(engine, tag, paths.cache, lambda line: click.echo(line, err=True), packages)
    click.echo(f"{tag} is {made}")


# --- templates --------------------------------------------------------------------------------------------------------


@main.group()
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
        _print_json(templates=rows)
    for row in [] if as_json else rows:
        click.echo(f"{row['name']:<8} {row['base']:<28} {row['file']}")


@templates.command("show")
@click.argument("name", type=click.Choice(["python", "octave", "matlab"]))
@CONFIG
@in_words
def templates_show(name: str, config_file: Path) -> None:
    """Print a template as it stands, to be copied into your own folder and changed there."""
    click.echo(_rules(config_file).templates.file(name, "Dockerfile").read_text(encoding="utf-8"), nl=False)


@templates.command("render")
@click.argument("bundle", type=click.Path(exists=True, path_type=Path))
@CONFIG
@in_words
def templates_render(bundle: Path, config_file: Path) -> None:
    """Print the Dockerfile that a bundle (zip, tar or folder) would be built from."""
    from dopq.container_handler.bundle import check as check_bundle
    from dopq.errors import UserError
    from dopq.outbox import name_from_bundle

    with _opened(bundle) as (file, name):
        taken = check_bundle(
            file, bundle_name=name, default_name=name_from_bundle(name), user=None, rules=_rules(config_file)
        )
    if not isinstance(taken.source, bytes):
        raise UserError(f"{bundle} brings an image of its own; nothing is built for it.")
    click.echo(taken.source, nl=False)


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


# --- the running node -------------------------------------------------------------------------------------------------


@main.command("shutdown_queue")
@CONFIG
@in_words
def shutdown_queue(config_file: Path) -> None:
    """Stop the node that runs on this machine, in order. Running jobs go on in their containers."""
    from dopq.config import load
    from dopq.node import stop_running

    _, paths = load(config_file)
    pid = stop_running(paths)
    click.echo(f"The node (pid {pid}) has stopped.")


def _print_json(**facts: object) -> None:
    click.echo(json.dumps({"schema_version": SCHEMA_VERSION, **facts}, indent=2))
