"""The node's own gate, on the user's machine: the one place where the client borrows machinery (docs/adr/0008).

Imported by the verbs that need it, when they run: it loads pydantic, which `--help` does not wait for.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Literal, cast

from dopq import config
from dopq.container_handler import bundle as gate
from dopq.container_handler.bundle_name import name_from_bundle
from dopq.container_handler.rules import Rules, rules_from_wire, rules_of
from dopq.container_handler.spec_schema import SpecFormat, spec_schema
from dopq.errors import NotLoggedIn, OperatorError, TryAgain, UserError
from dopq.job import JobSpec
from dopq_client.client import DopqClient
from dopq_client.upload import bundle_of

Origin = Literal["service", "defaults", "file"]


@dataclass(frozen=True, slots=True)
class RulesInForce:
    """By which rules a bundle is judged here.

    Attributes:
        origin: where they are from.
        told: one sentence on that, for people.
        user: as whom the service knows the user; None where it does not, and an `executor_name` is believed.
    """

    rules: Rules
    origin: Origin
    told: str
    user: str | None = None


def rules_of_file(file: Path) -> RulesInForce:
    """Those of a node's settings file. Raises `BadConfig`."""
    settings, paths = config.load(file)
    rules = rules_of(settings, paths.root, has_gpus=False)
    return RulesInForce(rules, "file", f"Checked with the settings in {file}.")


def rules_of_service(address: str, connect: Callable[[], DopqClient]) -> RulesInForce:
    """Those that the service has published, else DoPQ's defaults: to check needs no service."""
    try:
        client = connect()
        rules, user = rules_from_wire(client.limits()), client.hello()["user"]
    except (NotLoggedIn, TryAgain, OperatorError) as error:
        return default_rules(error.message)
    return RulesInForce(rules, "service", f"Checked with the limits of the service at {address}.", user)


def default_rules(why: str) -> RulesInForce:
    """Those of a node whose settings nobody has changed."""
    rules = rules_of(config.Settings(), Path(), has_gpus=False)
    return RulesInForce(rules, "defaults", f"Checked with DoPQ's default limits. {why}")


def check(bundle: Path, by: RulesInForce) -> JobSpec:
    """What the node would make of a bundle: a zip or tar as it is, a folder as a zip of it.

    Raises:
        BundleRejected: with every problem at once.
        UserError: it cannot be read, or not be unpacked here to look into it.
    """
    try:
        with bundle_of(bundle) as (file, name):
            opened, default = cast("BinaryIO", file), name_from_bundle(name)
            return gate.check(opened, bundle_name=name, default_name=default, user=by.user, rules=by.rules).spec
    except OSError as error:
        raise UserError(
            f"The bundle {bundle} cannot be checked on this machine: {error.strerror}.",
            "Make room in the folder for temporary files, or set TMPDIR to one with more.",
        ) from error


def schema(spec_format: SpecFormat) -> dict[str, Any]:
    """The JSON Schema of a spec."""
    return spec_schema(spec_format)
