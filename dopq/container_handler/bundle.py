"""From an untrusted file to a checked build context: the one door through which strangers' bytes come in.

First everything is looked at and every problem is told, then the first byte is written. The order of the rooms: archive
(names, sizes, checksums), spec, layout, Dockerfile, and only then the disk.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from dopq.container_handler.archive import Archive, Kind, Limits, Member, entry_problems, is_junk, size_problems
from dopq.container_handler.container_config import SPEC_FILES, read_spec
from dopq.container_handler.project_layout import (
    DOCKERFILE,
    INPUT,
    REQUIREMENTS,
    find_entry,
    find_root,
    find_template,
    layout_problems,
    template_problems,
)
from dopq.container_handler.refusal import problems_of, refusal, shown
from dopq.container_handler.rules import Rules
from dopq.container_handler.unpack import unpack, write_context
from dopq.container_handler.zip_archive import ZipArchive
from dopq.errors import BundleRejected
from dopq.job import JobSpec, Problem

_CHUNK = 1024 * 1024
_LONGEST_TEXT = 1024 * 1024
_TEXTS = frozenset({DOCKERFILE, REQUIREMENTS, *map(PurePosixPath, SPEC_FILES)})


@dataclass(frozen=True, slots=True)
class Bundle:
    """A bundle that passed every check; nothing of it is on disk yet.

    Attributes:
        spec: its `template` is the one that was used, asked for or not.
        members: files and folders by their path from the bundle's root, `input/` included.
        dockerfile: its own, or the one made from the template.
    """

    spec: JobSpec
    members: Mapping[PurePosixPath, Member]
    dockerfile: bytes


@dataclass(frozen=True, slots=True)
class Prepared:
    """What a bundle became on disk.

    Attributes:
        context: tar file with the Dockerfile at its top, for `ContainerEngine.build`.
        input: folder to be mounted read-only at /input; None where the bundle has none.
    """

    spec: JobSpec
    context: Path
    input: Path | None


def prepare(
    bundle_path: Path, workdir: Path, *, bundle_name: str, default_name: str, user: str | None, rules: Rules
) -> Prepared:
    """Check a bundle and write its build context and input into `workdir`, which is made when missing.

    Safe to call again after a crash: what an earlier call left in `workdir` is replaced.

    Args:
        bundle_path: the file; nobody may change it meanwhile.
        bundle_name: the file's name as it was handed in: its ending says what it is.
        default_name: the job's name where the spec gives none.
        user: who handed it in; None where that is not known, and an `executor_name` is believed.

    Raises:
        BundleRejected: anything at all is wrong with the bundle; nothing was written.
        BadConfig: the template is broken.
        OSError: this machine's disk is full or failing.
    """
    with _open(bundle_path, bundle_name, rules.limits) as archive:
        return _write(archive, _checked(archive, default_name, user, rules), workdir)


def check(bundle_path: Path, *, bundle_name: str, default_name: str, user: str | None, rules: Rules) -> Bundle:
    """What `prepare` would take, or its refusal, without writing anything. Arguments and errors as there."""
    with _open(bundle_path, bundle_name, rules.limits) as archive:
        return _checked(archive, default_name, user, rules)


def _open(bundle_path: Path, bundle_name: str, limits: Limits) -> ZipArchive:
    if not bundle_name.lower().endswith(".zip"):
        what = "this version takes zip files only"
        raise refusal([Problem(shown(bundle_name), what, "Zip the folder with 'zip -r' and hand that in.")])
    return ZipArchive(bundle_path, limits)


def _checked(archive: Archive, default_name: str, user: str | None, rules: Rules) -> Bundle:
    members, texts, problems = _look(archive, rules.limits)
    try:
        specs = {name: texts[path] for name in SPEC_FILES if (path := PurePosixPath(name)) in texts}
        spec = read_spec(specs, default_name=default_name, defaults=rules.defaults, user=user)
    except BundleRejected as refused:
        raise refusal(problems + problems_of(refused)) from None
    files = _files(members)
    if not problems:
        problems += template_problems(files, spec, rules.templates.settings.m_files)
        problems += rules.templates.version_problems(spec)
    if problems:
        raise refusal(problems)
    # The place of the Dockerfile gate: from here on, only what it lets through is built.
    template = find_template(files, spec, rules.templates.settings.m_files)
    dockerfile = _from_template(template, spec, files, texts, rules) if template else texts[DOCKERFILE]
    return Bundle(replace(spec, template=template), members, dockerfile)


def _look(
    archive: Archive, limits: Limits
) -> tuple[Mapping[PurePosixPath, Member], Mapping[PurePosixPath, bytes], list[Problem]]:
    """The entries by their path from the bundle's root, the texts that decide what becomes of it, and all problems.

    While there are problems the paths are not safe to create, and texts may be missing.
    """
    if problems := size_problems(archive.members, limits):
        raise refusal(problems)
    damaged = _damaged(archive)
    problems = entry_problems(archive.members, limits) + list(damaged.values())
    members = _from_root(archive.members)
    files = _files(members)
    if not problems:  # else a file that was found unfit above would be reported once more, as missing
        problems += layout_problems(files, _folders(members))
    texts = {}
    for path in _TEXTS & files.keys():
        if files[path].size > _LONGEST_TEXT:
            what = f"it has {files[path].size} bytes, {_LONGEST_TEXT} are allowed"
            problems.append(Problem(str(path), what, "Make it shorter."))
        elif not files[path].obstacle and files[path] not in damaged:
            with closing(archive.open(files[path])) as content:
                texts[path] = content.read()
    return members, texts, problems


def _damaged(archive: Archive) -> dict[Member, Problem]:
    """The files whose content is not what the table of contents claims: every one is read to its end."""
    damaged = {}
    for member in archive.members:
        if member.kind is Kind.FILE and not member.obstacle:
            try:
                with closing(archive.open(member)) as content:
                    while content.read(_CHUNK):
                        pass
            except BundleRejected as refused:
                damaged[member] = problems_of(refused)[0]
    return damaged


def _from_root(members: Sequence[Member]) -> dict[PurePosixPath, Member]:
    wanted = {member.path: member for member in members if member.path.parts and not is_junk(member.path)}
    root = find_root(_files(wanted))
    return {path.relative_to(root): member for path, member in wanted.items() if root in path.parents}


def _files(members: Mapping[PurePosixPath, Member]) -> dict[PurePosixPath, Member]:
    return {path: member for path, member in members.items() if member.kind is Kind.FILE}


def _folders(members: Mapping[PurePosixPath, Member]) -> set[PurePosixPath]:
    """Those with an entry of their own, and those that the path of another one implies."""
    implied = {parent for path in members for parent in path.parents if parent.parts}
    return implied | {path for path, member in members.items() if member.kind is Kind.FOLDER}


def _from_template(
    template: str,
    spec: JobSpec,
    files: Mapping[PurePosixPath, Member],
    texts: Mapping[PurePosixPath, bytes],
    rules: Rules,
) -> bytes:
    entry = find_entry(files, template)
    assert entry is not None, "find_template names none without a program"
    return rules.templates.render(template, spec, entry=entry, requirements=texts.get(REQUIREMENTS, b""))


def _write(archive: Archive, bundle: Bundle, workdir: Path) -> Prepared:
    context, input_folder = workdir / "context.tar", workdir / "input"
    workdir.mkdir(exist_ok=True)
    context.unlink(missing_ok=True)
    if input_folder.exists():
        shutil.rmtree(input_folder)
    inputs = {path: member for path, member in bundle.members.items() if _is_input(path, member)}
    rest = {path: member for path, member in bundle.members.items() if path not in inputs}
    with context.open("xb") as tar:
        write_context(archive, rest, {DOCKERFILE: bundle.dockerfile}, tar)
    if inputs:
        unpack(archive, {path.relative_to(INPUT): member for path, member in inputs.items()}, input_folder)
    return Prepared(bundle.spec, context, input_folder if inputs else None)


def _is_input(path: PurePosixPath, member: Member) -> bool:
    return INPUT in path.parents or (path == INPUT and member.kind is Kind.FOLDER)
