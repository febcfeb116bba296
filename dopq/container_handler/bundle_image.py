"""The ready-made image in a bundle, if it is to be loaded instead of one being built."""

from __future__ import annotations

import shutil
from collections.abc import Collection, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import PurePosixPath

from dopq.container_handler.archive import Archive, Limits, Member
from dopq.container_handler.bundle_name import GZIPPED
from dopq.container_handler.container_config import JSON_FILE
from dopq.container_handler.gunzip import gunzip
from dopq.container_handler.project_layout import DOCKERFILE
from dopq.container_handler.refusal import problems_of, refusal
from dopq.container_handler.saved_image import MANIFEST, SavedImage, check_layers, read_saved_image
from dopq.container_handler.scratch import Scratch
from dopq.container_handler.tar_archive import TarArchive
from dopq.container_handler.tar_entries import Entry
from dopq.errors import BundleRejected
from dopq.job import Problem

_OCI_LAYOUT = "oci-layout"  # newer engines write it beside the manifest, other tools in its place
IMAGE_ENDINGS = (".tar", *GZIPPED)
_CUSTOMARY = tuple(PurePosixPath("image" + ending) for ending in IMAGE_ENDINGS)


def is_saved_image(entries: Sequence[Entry]) -> bool:
    """Whether a tar file is itself what `docker save` writes, and no bundle that happens to have such a file."""
    names = {entry.name.removeprefix("./") for entry in entries}
    return not names.isdisjoint({MANIFEST, _OCI_LAYOUT}) and str(DOCKERFILE) not in names


def image_candidates(files: Collection[PurePosixPath], build: bool | None) -> list[PurePosixPath]:
    """The archives that may be meant as the image.

    Args:
        build: what the spec says; None where it does not: then `image.tar` counts where there is no Dockerfile.
    """
    if build is None:
        return [] if DOCKERFILE in files else [path for path in _CUSTOMARY if path in files]
    if build:
        return []
    return sorted(path for path in files if len(path.parts) == 1 and path.name.lower().endswith(IMAGE_ENDINGS))


def candidate_problems(candidates: Sequence[PurePosixPath], build: bool | None) -> Iterator[Problem]:
    """What keeps one of the candidates from being the image."""
    if build is False and not candidates:
        what = "there is no image to load: no .tar file lies at the top"
        yield Problem(
            f"{JSON_FILE}: build_flag", what, "Add what 'docker save IMAGE -o image.tar' writes, or write true."
        )
    if len(candidates) > 1:
        named = ", ".join(map(str, candidates[:5]))
        yield Problem("bundle", f"several files may be the image: {named}", "Keep one of them.")


def image_in(archive: Archive, member: Member, limits: Limits, scratch: Scratch) -> SavedImage:
    """Find and check the image in one file of a bundle; it lasts as long as `scratch`.

    Raises:
        BundleRejected: it is no archive of `docker save`, or not with exactly one sound image.
    """
    copy = scratch.file()
    with closing(archive.open(member)) as content:
        shutil.copyfileobj(content, copy)
    with _named(member.name):
        if member.name.lower().endswith(GZIPPED):
            packed, copy = copy, scratch.file()
            gunzip(packed, copy.write, limits.unpacked_bytes)
        copy.flush()
        return image_of(TarArchive(copy, limits), limits, scratch)


def image_of(archive: TarArchive, limits: Limits, scratch: Scratch) -> SavedImage:
    """Find and check the image that an archive is; for the rest see `image_in`."""
    return check_layers(read_saved_image(archive.whole, archive.entries), limits, scratch)


@contextmanager
def _named(name: str) -> Iterator[None]:
    """Refusals of an archive within the bundle name that one, not the bundle."""
    try:
        yield
    except BundleRejected as refused:
        problems = problems_of(refused)
        raise refusal([replace(each, where=name) if each.where == "bundle" else each for each in problems]) from refused
