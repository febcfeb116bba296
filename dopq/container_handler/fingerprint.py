"""What an image is made from, as one short text: the same for the same content on the same base images."""

from __future__ import annotations

import hashlib
import tarfile
from collections.abc import Callable
from pathlib import Path

from dopq.container_handler.dockerfile_gate import base_images
from dopq.container_handler.image_name import BaseImage
from dopq.job import ImageId

_DOCKERFILE = "Dockerfile"


def fingerprint(context: Path, image_of: Callable[[str], ImageId | None]) -> str:
    """SHA-256 over a build context and over what the base images that it names are now.

    `image_of` says what the engine has under a name.
    """
    with context.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256")
    for base in sorted(bases_of(context)):
        digest.update(f"\0{base.reference}={image_of(base.reference)}".encode())
    return digest.hexdigest()


def bases_of(context: Path) -> frozenset[BaseImage]:
    """The images that the Dockerfile of a build context takes from."""
    with tarfile.open(context) as tar:
        file = tar.extractfile(_DOCKERFILE)
        return base_images(file.read() if file else b"")
