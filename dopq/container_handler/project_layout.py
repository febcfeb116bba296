"""Where a bundle begins, and what in it is run when it brings no Dockerfile. Pure: paths in, answers out."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterator
from pathlib import PurePosixPath

from dopq.container_handler.container_config import SPEC_FILES
from dopq.container_handler.refusal import shown
from dopq.job import Problem

DOCKERFILE = PurePosixPath("Dockerfile")
REQUIREMENTS = PurePosixPath("requirements.txt")
INPUT = PurePosixPath("input")
ENTRIES = tuple(map(PurePosixPath, ("code/app.py", "app.py", "main.py", "code.py")))
"""What the python template runs: the first of these that is there."""

_MARKS = (DOCKERFILE, *ENTRIES, *map(PurePosixPath, SPEC_FILES))


def find_root(files: Collection[PurePosixPath]) -> PurePosixPath:
    """The folder in which the bundle's own files lie: the top, or the one single folder of the archive."""
    top = PurePosixPath()
    folders = {file.parts[0] for file in files}
    is_wrapped = len(folders) == 1 and all(len(file.parts) > 1 for file in files)
    return PurePosixPath(*folders) if is_wrapped and not any(mark in files for mark in _MARKS) else top


def find_entry(files: Collection[PurePosixPath]) -> PurePosixPath | None:
    """The Python file that the project layout runs."""
    return next((entry for entry in ENTRIES if entry in files), None)


def layout_problems(files: Collection[PurePosixPath], folders: Collection[PurePosixPath]) -> Iterator[Problem]:
    """What keeps files and folders, named from the bundle's root, from being a bundle."""
    if not files:
        yield Problem("bundle", "there is no file in it", "Zip the folder that holds your Dockerfile.")
    elif DOCKERFILE not in files and find_entry(files) is None:
        what = "it has neither a Dockerfile nor a Python program to run" + _found_instead(files)
        fix = (
            "Put a Dockerfile at the top, or your program as code/app.py (with requirements.txt and input/ if needed)."
        )
        yield Problem("bundle", what, fix)
    if DOCKERFILE in folders:
        yield Problem(str(DOCKERFILE), "it is a folder", "Give the folder another name.")
    yield from _misspelt_spec(files)


def _found_instead(files: Collection[PurePosixPath]) -> str:
    """The file that was probably meant as the Dockerfile: `dockerfile`, `Dockerfile.txt`, `project/Dockerfile`."""
    for file in sorted(files):
        if file.name.lower().removesuffix(".txt") == "dockerfile":
            return f" (only {shown(str(file))})"
    return ""


def _misspelt_spec(files: Collection[PurePosixPath]) -> Iterator[Problem]:
    """A settings file under a wrong name would be left out in silence, and the job would run with other settings."""
    top = {str(file) for file in files if len(file.parts) == 1}
    if top.isdisjoint(SPEC_FILES):
        for name in sorted(top):
            if near := difflib.get_close_matches(name.lower(), SPEC_FILES, n=1, cutoff=0.85):
                yield Problem(shown(name), "a settings file has another name", f'Rename it to "{near[0]}".')
