"""From an untrusted file to a checked build context: the one door through which strangers' bytes come in.

First everything is looked at and every problem is told, then the first byte is written. The order of the rooms: archive
(names, sizes, checksums), spec, layout, Dockerfile or image, and only then the disk.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from tempfile import gettempdir
from typing import BinaryIO

from dopq.container_handler.archive import Archive, Kind, Member
from dopq.container_handler.archive_kinds import open_archive
from dopq.container_handler.bundle_image import (
    candidate_problems,
    image_candidates,
    image_in,
    image_of,
    is_saved_image,
)
from dopq.container_handler.container_config import SPEC_FILES, read_spec
from dopq.container_handler.contents import Contents, look
from dopq.container_handler.dockerfile_gate import DockerfileRules, dockerfile_problems
from dopq.container_handler.project_layout import (
    DOCKERFILE,
    INPUT,
    REQUIREMENTS,
    find_entry,
    find_template,
    layout_problems,
    template_problems,
)
from dopq.container_handler.refusal import problems_of, refusal
from dopq.container_handler.rules import Rules
from dopq.container_handler.saved_image import SavedImage, write_saved_image
from dopq.container_handler.scratch import Scratch
from dopq.container_handler.tar_archive import TarArchive
from dopq.container_handler.unpack import unpack, write_context
from dopq.errors import BadConfig, BundleRejected
from dopq.job import JobSpec, Problem

CONTEXT = "context.tar"
_TEXTS = frozenset({DOCKERFILE, REQUIREMENTS, *map(PurePosixPath, SPEC_FILES)})


@dataclass(frozen=True, slots=True)
class Bundle:
    """A bundle that passed every check; nothing of it is on disk yet.

    Attributes:
        spec: its `template` is the one that was used, asked for or not.
        members: files and folders by their path from the bundle's root, `input/` included.
        source: what its image comes from: a Dockerfile, its own or from the template, or an image to be loaded. The
            latter can be read only as long as the archive is open.
    """

    spec: JobSpec
    members: Mapping[PurePosixPath, Member]
    source: bytes | SavedImage


@dataclass(frozen=True, slots=True)
class Prepared:
    """What a bundle became on disk.

    Attributes:
        context: tar file with the Dockerfile at its top, for `ContainerEngine.build`; or with one image and nothing
            that could overwrite another, for `ContainerEngine.load`.
        is_image: it is the latter.
        input: folder to be mounted read-only at /input; None where the bundle has none.
    """

    spec: JobSpec
    context: Path
    is_image: bool
    input: Path | None


def prepare(
    bundle: BinaryIO,
    workdir: Path,
    *,
    bundle_name: str,
    default_name: str,
    user: str | None,
    rules: Rules,
    labels: Mapping[str, str] | None = None,
) -> Prepared:
    """Check a bundle and write its build context and input into `workdir`, which is made when missing.

    Safe to call again after a crash: what an earlier call left in `workdir` is replaced.

    Args:
        bundle: the file, open for reading; nobody may change it meanwhile.
        bundle_name: the file's name as it was handed in: its ending says what it is.
        default_name: the job's name where the spec gives none.
        user: who handed it in; None where that is not known, and an `executor_name` is believed.
        labels: what an image that is to be loaded is labelled with, in place of its own labels.

    Raises:
        BundleRejected: anything at all is wrong with the bundle; nothing was written.
        BadConfig: the template is broken.
        OSError: this machine's disk is full or failing.
    """
    with Scratch(workdir.parent) as scratch:
        archive = open_archive(bundle, bundle_name, rules.limits, scratch)
        return _write(archive, _checked(archive, default_name, user, rules, scratch), workdir, labels or {})


def check(bundle: BinaryIO, *, bundle_name: str, default_name: str, user: str | None, rules: Rules) -> Bundle:
    """A bundle that `prepare` would take, or its refusal. Arguments and errors as there.

    Writes nothing but nameless files in the system's folder for temporary ones.
    """
    with Scratch(Path(gettempdir())) as scratch:
        archive = open_archive(bundle, bundle_name, rules.limits, scratch)
        return _checked(archive, default_name, user, rules, scratch)


def _checked(archive: Archive, default_name: str, user: str | None, rules: Rules, scratch: Scratch) -> Bundle:
    if isinstance(archive, TarArchive) and is_saved_image(archive.entries):
        spec = read_spec({}, default_name=default_name, defaults=rules.defaults, user=user)
        return Bundle(spec, {}, image_of(archive, rules.limits, scratch))
    contents = look(archive, rules.limits, _TEXTS)
    problems = list(contents.problems)
    specs = {name: contents.texts[path] for name in SPEC_FILES if (path := PurePosixPath(name)) in contents.texts}
    try:
        spec = read_spec(specs, default_name=default_name, defaults=rules.defaults, user=user)
    except BundleRejected as refused:
        layout = [] if problems else _layout_whatever_the_spec(contents)
        raise refusal([*problems, *problems_of(refused), *layout, *_dockerfile_problems(contents, rules)]) from None
    images = image_candidates(contents.files, spec.build)
    if not problems:  # else a file that was found unfit above would be reported once more, as missing
        problems = list(_layout_problems(contents, spec, images, rules))
    if not images:
        problems += _dockerfile_problems(contents, rules)
    if problems:
        raise refusal(problems)
    if images:
        image = image_in(archive, contents.files[images[0]], rules.limits, scratch)
        rest = {path: member for path, member in contents.members.items() if path != images[0]}
        return Bundle(spec, rest, image)
    template, dockerfile = _dockerfile(contents, spec, rules)
    return Bundle(replace(spec, template=template), contents.members, dockerfile)


def _layout_problems(
    contents: Contents, spec: JobSpec, images: Sequence[PurePosixPath], rules: Rules
) -> Iterator[Problem]:
    files = contents.files
    yield from layout_problems(files.keys(), contents.folders, loads=bool(images) or spec.build is False)
    yield from candidate_problems(images, spec.build)
    if not images:
        yield from template_problems(files, spec, rules.templates.settings.m_files)
        yield from rules.templates.version_problems(spec)


def _layout_whatever_the_spec(contents: Contents) -> list[Problem]:
    """What is wrong with the layout as well while nobody knows whether an image was to be loaded."""
    files = contents.files
    may_load = any(image_candidates(files, build) for build in (None, False))
    return list(layout_problems(files.keys(), contents.folders, loads=may_load))


def _dockerfile_problems(contents: Contents, rules: Rules) -> list[Problem]:
    text = contents.texts.get(DOCKERFILE)
    return [] if text is None else dockerfile_problems(text, rules.dockerfile)


def _dockerfile(contents: Contents, spec: JobSpec, rules: Rules) -> tuple[str | None, bytes]:
    """The template that is used, if any, and the Dockerfile."""
    template = find_template(contents.files, spec, rules.templates.settings.m_files)
    if template is None:
        return None, contents.texts[DOCKERFILE]
    entry = find_entry(contents.files, template)
    assert entry is not None, "find_template names none without a program"
    requirements = contents.texts.get(REQUIREMENTS, b"")
    made = rules.templates.render(template, spec, entry=entry, requirements=requirements)
    if wrong := dockerfile_problems(made, DockerfileRules()):
        raise BadConfig(f"The template {template} makes a Dockerfile that no node would build: {wrong[0]}", "Mend it.")
    return template, made


def _write(archive: Archive, bundle: Bundle, workdir: Path, labels: Mapping[str, str]) -> Prepared:
    context, input_folder = workdir / CONTEXT, workdir / INPUT
    workdir.mkdir(exist_ok=True)
    context.unlink(missing_ok=True)
    if input_folder.exists():
        shutil.rmtree(input_folder)
    inputs = {path: member for path, member in bundle.members.items() if _is_input(path, member)}
    rest = {path: member for path, member in bundle.members.items() if path not in inputs}
    with context.open("xb") as tar:
        if isinstance(bundle.source, SavedImage):
            write_saved_image(bundle.source, labels, tar)
        else:
            write_context(archive, rest, {DOCKERFILE: bundle.source}, tar)
    if inputs:
        unpack(archive, {path.relative_to(INPUT): member for path, member in inputs.items()}, input_folder)
    return Prepared(bundle.spec, context, isinstance(bundle.source, SavedImage), input_folder if inputs else None)


def _is_input(path: PurePosixPath, member: Member) -> bool:
    return INPUT in path.parents or (path == INPUT and member.kind is Kind.FOLDER)
