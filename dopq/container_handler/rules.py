"""The rules by which a node judges bundles: one value, made of its settings, used by the Provider and published."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from dopq.config import Settings
from dopq.container_handler.archive import Limits
from dopq.container_handler.container_config import SpecDefaults
from dopq.container_handler.dockerfile_gate import DockerfileRules
from dopq.container_handler.template import Templates


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
