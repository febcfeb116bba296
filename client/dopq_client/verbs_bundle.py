"""Verbs about bundles before they are handed in: new, check, schema. They need no service."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from dopq.clean import clean
from dopq_client import scaffold
from dopq_client.exits import Exit
from dopq_client.options import json_option
from dopq_client.session import Session

if TYPE_CHECKING:
    from dopq_client.gate import RulesInForce


@click.command()
@click.argument("folder", metavar="NAME", type=click.Path(path_type=Path))
@click.option("--template", type=click.Choice(scaffold.TEMPLATES), default="python", show_default=True)
@click.pass_obj
def new(session: Session, folder: Path, template: str) -> None:
    """Make a folder NAME that is a bundle, to be filled with your program."""
    for file in scaffold.make(folder, template):
        session.say(f"  {clean(str(file))}")
    session.say(f"Next: dopq-client check {clean(str(folder))}; dopq-client submit {clean(str(folder))}")


@click.command()
@click.argument("bundle", metavar="BUNDLE", type=click.Path(exists=True, path_type=Path))
@click.option(
    "--config", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="By the settings file of a node."
)
@json_option
@click.pass_context
def check(context: click.Context, bundle: Path, config: Path | None) -> None:
    """Say all that a node would find wrong with a zip, tar or folder.

    Exit code 2 if there is anything. By the limits of your service where it can be reached, else by DoPQ's defaults.
    """
    from dopq.errors import BundleRejected
    from dopq_client import gate
    from dopq_client.views import checked

    session: Session = context.obj
    by = gate.rules_of_file(config) if config else _published(session)
    job: dict[str, object] | None = None
    problems: list[dict[str, object]] = []
    try:
        spec = gate.check(bundle, by)
        job = {"name": spec.name, "template": spec.template}
    except BundleRejected as refused:
        problems = refused.details["problems"]  # type: ignore[assignment] # a list of plain problems, as documented
    data: dict[str, object] = {
        "bundle": str(bundle),
        "ok": not problems,
        "problems": problems,
        "job": job,
        "limits": by.origin,
    }
    session.answer(data, lambda _now: checked(bundle.name or str(bundle), job, problems, by.told))
    context.exit(Exit.REFUSED if problems else Exit.DONE)


@click.command()
@click.option(
    "--format", "spec_format", type=click.Choice(["job", "container_config"]), default="job", show_default=True,
    help="Of job.toml, or of container_config.json.",
)  # fmt: skip
def schema(spec_format: str) -> None:
    """Print the JSON Schema of a job's settings file, for editors. They complete and check by it."""
    from dopq_client import gate

    told = json.dumps(gate.schema(spec_format), indent=2)  # type: ignore[arg-type] # one of the choices
    click.echo(told)  # noqa: TID251 - ASCII, as all JSON of ours


def _published(session: Session) -> RulesInForce:
    from dopq.errors import BadConfig, NotLoggedIn
    from dopq_client import gate

    try:
        account = session.account()
    except (NotLoggedIn, BadConfig) as error:
        return gate.default_rules(error.message)
    return gate.rules_of_service(account.address, lambda: session.client(account))
