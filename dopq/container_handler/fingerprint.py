"""What an image is made from, as one short text: the same for the same content on the same base images."""

from __future__ import annotations

import hashlib
import re
import tarfile
from collections.abc import Callable
from pathlib import Path

from dopq.job import ImageId

_DOCKERFILE = "Dockerfile"
# What FROM, COPY --from and RUN --mount from= name. Too much does no harm here: a stage's name is no image's.
_NAMED = re.compile(r"(?im)^[ \t]*FROM[ \t]+(?:--\S+[ \t]+)*(\S+)|\bfrom=([^\s,]+)")
_PLAIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/@-]*")


def fingerprint(context: Path, image_of: Callable[[str], ImageId | None]) -> str:
    """SHA-256 over a build context and over what the base images that it names are now.

    Empty where a base image is named indirectly (by an argument, or on a continued line): such an image is not looked
    for, but built. `image_of` says what the engine has under a name.
    """
    names = _base_images(context)
    if not all(_PLAIN.fullmatch(name) for name in names):
        return ""
    with context.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256")
    for name in sorted(names):
        digest.update(f"\0{name}={image_of(name)}".encode())
    return digest.hexdigest()


def _base_images(context: Path) -> set[str]:
    with tarfile.open(context) as tar:
        file = tar.extractfile(_DOCKERFILE)
        text = file.read().decode("utf-8", "replace") if file else ""
    return {match[1] or match[2] for match in _NAMED.finditer(text)} - {"scratch"}
