"""Server-side Dockerfile recipes for the project layout, from files that an admin can edit.

A template is a folder with a `Dockerfile`, in which `$base`, `$entry` and `$requirements` are filled in
(`string.Template`), and a file `requirements` with the lines that stand for `$requirements` where there are any.
"""

from __future__ import annotations

from pathlib import Path, PurePosixPath
from string import Template

from dopq.errors import BadConfig

SHIPPED = Path(__file__).parent / "templates"


def render(folder: Path, *, base: str, entry: PurePosixPath, requirements: bytes) -> bytes:
    """The Dockerfile for a project.

    Args:
        folder: of the template, for example `SHIPPED / "python"`.
        base: image to build on.
        entry: the program, from the project's top.
        requirements: content of `requirements.txt`; without a requirement in it no layer is made, so that a
            lab without a package index can run the project.

    Raises:
        BadConfig: the template is missing or has a placeholder that nothing fills.
    """
    try:
        install = (folder / "requirements").read_text(encoding="utf-8") if has_requirement(requirements) else ""
        recipe = Template((folder / "Dockerfile").read_text(encoding="utf-8"))
        return recipe.substitute(base=base, entry=entry, requirements=install).encode()
    except (OSError, ValueError, KeyError) as error:
        hint = f"Mend it, or copy the one that ships with DoPQ from {SHIPPED}."
        raise BadConfig(f"The template {folder} cannot be used: {error}.", hint) from error


def has_requirement(content: bytes) -> bool:
    """Whether a requirements file asks for anything: a line that is neither empty nor a comment."""
    return any(line.strip() and not line.lstrip().startswith(b"#") for line in content.splitlines())
