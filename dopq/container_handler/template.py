"""Server-side Dockerfile recipes for the project layout, from files that an admin can edit.

A template is a folder with a `Dockerfile`, in which words with a dollar sign are filled in (`string.Template`): `$base`
(the base image), `$entry` (the program, from the project's top), `$folder` (the folder it lies in) and
`$requirements`, which stands for the lines of the template's file `requirements` where a project has any.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from string import Template

from dopq.config import TemplatesSettings
from dopq.container_handler.container_config import TOML_FILE
from dopq.errors import BadConfig
from dopq.job import JobSpec, Problem

SHIPPED = Path(__file__).parent / "templates"
_VERSION = "{version}"
_TEMPLATES = ("python", "octave", "matlab")
_FILES = ("Dockerfile", "requirements")


@dataclass(frozen=True, slots=True)
class Templates:
    """The templates as they are set on one node.

    Attributes:
        folder: with an admin's own templates; a file that is missing there is the one that ships with DoPQ.
        texts: of the files, by `<template>/<name>`, where they have been read already.
    """

    settings: TemplatesSettings = field(default_factory=TemplatesSettings)
    folder: Path | None = None
    texts: Mapping[str, str] | None = None

    def read(self) -> Templates:
        """The same templates, for whoever cannot reach the files. Raises `BadConfig` where one cannot be read."""
        files = {f"{template}/{name}": self.file(template, name) for template in _TEMPLATES for name in _FILES}
        return replace(self, texts={key: _text(file) for key, file in files.items() if file.exists()})

    def text(self, template: str, name: str) -> str:
        """Content of a file of a template; empty where there is none of that name. Raises `BadConfig` as `read`."""
        texts = self.texts if self.texts is not None else self.read().texts or {}
        return texts.get(f"{template}/{name}", "")

    def file(self, template: str, name: str) -> Path:
        """Where a file of a template lies: `Dockerfile`, or `requirements` where it has that."""
        own = self.folder / template / name if self.folder else None
        return own if own and own.exists() else SHIPPED / template / name

    def base(self, template: str, spec: JobSpec) -> str:
        """The base image for a job of that template."""
        chosen = getattr(self.settings, template)
        version = (spec.python if template == "python" else None) or chosen.version
        return str(chosen.base).replace(_VERSION, version)

    def version_problems(self, spec: JobSpec) -> list[Problem]:
        """What keeps this node from giving the version of Python that was asked for."""
        python = self.settings.python
        if spec.python in {None, python.version} or _VERSION in python.base:
            return []
        what = f"this node has no choice of versions, only Python {python.version}"
        return [Problem(f"{TOML_FILE}: python", what, f'Write "{python.version}", or leave it out.')]

    def render(self, template: str, spec: JobSpec, *, entry: PurePosixPath, requirements: bytes) -> bytes:
        """The Dockerfile for a project.

        Args:
            entry: the program, from the project's top.
            requirements: content of `requirements.txt`; without a requirement in it no layer is made, so that a
                lab without a package index can run the project.

        Raises:
            BadConfig: the template has a placeholder that nothing fills, or cannot be read.
        """
        lines = self.text(template, "requirements") if has_requirement(requirements) else ""
        words = {"base": self.base(template, spec), "entry": entry, "folder": entry.parent, "requirements": lines}
        try:
            return Template(self.text(template, "Dockerfile")).substitute(words).encode()
        except (ValueError, KeyError) as error:
            raise _unusable(self.file(template, "Dockerfile"), error) from error


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise _unusable(file, error) from error


def _unusable(file: Path, error: Exception) -> BadConfig:
    hint = f"Mend it, or copy the one that ships with DoPQ from {SHIPPED}."
    return BadConfig(f"The template {file} cannot be used: {error}.", hint)


def job_environment(settings: TemplatesSettings, template: str | None) -> Mapping[str, str]:
    """What the node adds to the environment of a job of that template, when it runs and at no other time.

    MATLAB asks the licence server that MLM_LICENSE_FILE names. An image would carry that to all who get the image.
    """
    if template == "matlab" and settings.matlab.license_server:
        return {"MLM_LICENSE_FILE": settings.matlab.license_server}
    return {}


def has_requirement(content: bytes) -> bool:
    """Whether a requirements file asks for anything: a line that is neither empty nor a comment."""
    return any(line.strip() and not line.lstrip().startswith(b"#") for line in content.splitlines())
