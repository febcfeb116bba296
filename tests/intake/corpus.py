"""The corpus: every hostile or broken bundle that we know, made by code, with its verdict and words of its reason."""

from __future__ import annotations

from collections.abc import Iterator

from tests.intake.hostile import Hostile
from tests.intake.hostile_dockerfiles import dockerfiles
from tests.intake.hostile_folders import deferred, folders
from tests.intake.hostile_images import images
from tests.intake.hostile_specs import specs
from tests.intake.hostile_tars import DOCKERFILE as DOCKERFILE_IN_TAR
from tests.intake.hostile_tars import tars
from tests.intake.hostile_zips import DOCKERFILE as DOCKERFILE_IN_ZIP
from tests.intake.hostile_zips import whole, zips
from tests.intake.names import NAMES, ZIP_ONLY
from tests.intake.raw_tar import member, pax, tar_bytes
from tests.intake.raw_zip import Entry, zip_bytes


def names() -> Iterator[Hostile]:
    """Each bad name in a zip, in a tar, and as a tar's extended header spells it."""
    for title, (bad, words) in (NAMES | ZIP_ONLY).items():
        data = zip_bytes([DOCKERFILE_IN_ZIP, *(Entry(name) for name in bad)])
        yield whole(f"zip with {title}", data, words=words)
    for title, (bad, words) in NAMES.items():
        entries = [pax({"path": name.encode()}) + member("harmless") for name in bad]
        yield whole(f"tar with {title}", tar_bytes(DOCKERFILE_IN_TAR, *entries), words=words, ending=".tar")


CORPUS = (*zips(), *tars(), *names(), *specs(), *dockerfiles(), *folders(), *images(), *deferred())
