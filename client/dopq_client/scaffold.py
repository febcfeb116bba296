"""New bundles: folders that pass the gate as they are, for the user to fill."""

from __future__ import annotations

import errno
from pathlib import Path

from dopq.errors import UserError

SCAFFOLDS = Path(__file__).parent / "scaffolds"
TEMPLATES = ("python", "octave", "matlab", "dockerfile")


def make(folder: Path, template: str) -> list[Path]:
    """Copy a scaffold into a new folder; its files, as they are there.

    Raises:
        UserError: something of that name is there already, or it cannot be made.
    """
    source = SCAFFOLDS / template
    files = sorted(path.relative_to(source) for path in source.rglob("*") if path.is_file())
    made = [folder / file for file in files if "__pycache__" not in file.parts]
    try:
        folder.mkdir(parents=True)
        for target in made:
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes((source / target.relative_to(folder)).read_bytes())
    except OSError as error:
        if error.errno == errno.EEXIST:
            raise UserError(f"{folder} is there already.", "Choose another name; nothing was changed.") from error
        raise UserError(f"{folder} cannot be made: {error.strerror}.") from error
    return made
