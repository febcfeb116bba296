"""The rules by which a node judges bundles: one value, made of its settings, used by its Provider and published.

What is published is plain data, from which a user's own machine makes the same rules and comes to the same verdict.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from dopq.config import Settings, TemplatesSettings
from dopq.container_handler.archive import Limits
from dopq.container_handler.container_config import SpecDefaults
from dopq.container_handler.dockerfile_gate import DockerfileRules
from dopq.container_handler.project_layout import ENTRIES
from dopq.container_handler.template import Templates
from dopq.errors import OperatorError
from dopq.wire import Plain

Value = TypeVar("Value")


@dataclass(frozen=True, slots=True)
class Rules:
    """How large a bundle may be, what its spec may say, and what a project is built on."""

    defaults: SpecDefaults
    limits: Limits = field(default_factory=Limits)
    templates: Templates = field(default_factory=Templates)
    dockerfile: DockerfileRules = field(default_factory=DockerfileRules)


def rules_of(settings: Settings, root: Path, *, has_gpus: bool) -> Rules:
    """The rules that a settings file in the folder `root` makes, on a machine with or without GPUs."""
    intake, default_gpus = settings.intake, settings.gpu.default_gpus
    return Rules(
        defaults=SpecDefaults(
            gpus=int(has_gpus) if default_gpus < 0 else default_gpus,
            max_time_limit_s=settings.queue.max_time_limit_s,
            slots_per_gpu=settings.gpu.slots_per_gpu,
        ),
        limits=Limits(
            bundle_bytes=intake.max_bundle_bytes,
            unpacked_bytes=intake.max_unpacked_bytes,
            entries=intake.max_entries,
        ),
        dockerfile=DockerfileRules(tuple(settings.build.allowed_bases)),
        templates=Templates(
            settings=settings.templates,
            folder=(root / settings.build.templates) if settings.build.templates else None,
        ),
    )


def rules_to_wire(rules: Rules) -> Plain:
    """What everybody may know of the rules: all but where the licence server and an admin's own templates are."""
    return {
        "limits": asdict(rules.limits),
        "defaults": asdict(rules.defaults),
        "allowed_bases": list(rules.dockerfile.allowed_bases),
        "templates": rules.templates.settings.model_dump(exclude={"matlab": {"license_server"}}),
    }


def rules_from_wire(plain: Plain) -> Rules:
    """The rules that a node has published; what a newer one says besides is left out.

    Raises:
        OperatorError: they are not such as this version knows.
    """
    try:
        return Rules(
            defaults=_read(SpecDefaults, plain["defaults"]),
            limits=_read(Limits, plain["limits"]),
            templates=Templates(settings=_read(TemplatesSettings, _known(plain["templates"]))),
            dockerfile=DockerfileRules(_read(tuple[str, ...], plain["allowed_bases"])),
        )
    except (KeyError, TypeError, AttributeError, ValidationError) as error:
        raise OperatorError(
            "The limits that the service has published cannot be read.",
            "Client and service are of different versions: update the older one.",
        ) from error


def _read(kind: type[Value], plain: object) -> Value:
    return TypeAdapter(kind).validate_python(plain)


def _known(templates: Mapping[str, Any]) -> Plain:
    """The part of the templates' settings that this version has: they refuse all else."""
    known: Plain = {"m_files": templates["m_files"]}
    for name in ENTRIES:
        known[name] = {key: templates[name][key] for key in ("base", "version")}
    return known
