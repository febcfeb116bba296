"""Where a bundle begins, and what a template runs in it when it brings no Dockerfile. Pure: paths in, answers out."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterator
from pathlib import PurePosixPath

from dopq.container_handler.container_config import SPEC_FILES, TOML_FILE
from dopq.container_handler.refusal import shown
from dopq.job import JobSpec, Problem

DOCKERFILE = PurePosixPath("Dockerfile")
REQUIREMENTS = PurePosixPath("requirements.txt")
INPUT = PurePosixPath("input")
PYTHON_ENTRIES = tuple(map(PurePosixPath, ("code/app.py", "app.py", "main.py", "code.py")))
M_ENTRIES = tuple(map(PurePosixPath, ("code/app.m", "app.m", "main.m", "code.m")))
ENTRIES = {"python": PYTHON_ENTRIES, "octave": M_ENTRIES, "matlab": M_ENTRIES}
"""What each template runs: the first of these that is there."""

_MARKS = (DOCKERFILE, *PYTHON_ENTRIES, *M_ENTRIES, *map(PurePosixPath, SPEC_FILES))


def find_root(files: Collection[PurePosixPath]) -> PurePosixPath:
    """The folder in which the bundle's own files lie: the top, or the one single folder of the archive."""
    top = PurePosixPath()
    folders = {file.parts[0] for file in files}
    is_wrapped = len(folders) == 1 and all(len(file.parts) > 1 for file in files)
    return PurePosixPath(*folders) if is_wrapped and not any(mark in files for mark in _MARKS) else top


def find_entry(files: Collection[PurePosixPath], template: str) -> PurePosixPath | None:
    """The file that a template runs."""
    return next((entry for entry in ENTRIES[template] if entry in files), None)


def find_template(files: Collection[PurePosixPath], spec: JobSpec, m_files: str) -> str | None:
    """The template that a project gets: what its spec says, else what its program is written in.

    Args:
        m_files: the template for programs in `.m` files, which are Octave's as well as MATLAB's.

    None for a bundle with a Dockerfile of its own, or with nothing to run.
    """
    if DOCKERFILE in files:
        return None
    candidates = [spec.template] if spec.template else ["python", m_files]
    return next((template for template in candidates if find_entry(files, template)), None)


def template_problems(files: Collection[PurePosixPath], spec: JobSpec, m_files: str) -> Iterator[Problem]:
    """What the keys `template` and `python` ask for and cannot get."""
    if DOCKERFILE in files:
        for key in ("template", "python"):
            if getattr(spec, key) is not None:
                what = "the bundle has a Dockerfile of its own, so no template is used"
                yield Problem(f"{TOML_FILE}: {key}", what, "Leave the key out, or the Dockerfile.")
        return
    python, m_file = (find_entry(files, template) for template in ("python", m_files))
    if spec.template and find_entry(files, spec.template) is None:
        what = f"there is no program for the template {spec.template}"
        yield Problem(f"{TOML_FILE}: template", what, f"Put it into the bundle as {ENTRIES[spec.template][0]}.")
    elif spec.template is None and python and m_file:
        what = f"there is a program in Python ({python}) and one in {m_files} ({m_file})"
        yield Problem("bundle", what, f'Write template = "python" or template = "{m_files}" into {TOML_FILE}.')
    elif spec.python and find_template(files, spec, m_files) not in {"python", None}:
        what = "only the template python has a version of Python"
        yield Problem(f"{TOML_FILE}: python", what, "Leave it out.")


def layout_problems(
    files: Collection[PurePosixPath], folders: Collection[PurePosixPath], *, loads: bool = False
) -> Iterator[Problem]:
    """What keeps files and folders, named from the bundle's root, from being a bundle.

    Args:
        loads: its image is to be loaded, so that there need be nothing to build or run.
    """
    if not files:
        yield Problem("bundle", "there is no file in it", "Zip the folder that holds your Dockerfile.")
    elif not loads and not any(what in files for what in (DOCKERFILE, *PYTHON_ENTRIES, *M_ENTRIES)):
        what = "it has neither a Dockerfile nor a program to run" + _found_instead(files)
        fix = "Put a Dockerfile at the top, or your program as code/app.py or code/app.m (and data into input/)."
        yield Problem("bundle", what, fix)
    for path in (DOCKERFILE, *map(PurePosixPath, SPEC_FILES)):
        if path in folders:
            yield Problem(str(path), "it is a folder", "Give the folder another name.")
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
