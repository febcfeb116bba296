"""Archives as `docker save` writes them, made by hand so that tests can bend them."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from collections.abc import Mapping, Sequence
from typing import Any


def layer(files: Mapping[str, bytes]) -> bytes:
    """The tar of one layer."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as tar:
        for name, content in files.items():
            add(tar, name, content)
    return stream.getvalue()


def add(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    info = tarfile.TarInfo(name)
    info.size = len(content)
    tar.addfile(info, io.BytesIO(content))


def config_of(layers: Sequence[bytes], **settings: Any) -> dict[str, Any]:
    """An image's configuration; `settings` are those of its containers, such as Cmd."""
    checksums = ["sha256:" + hashlib.sha256(each).hexdigest() for each in layers]
    rootfs = {"type": "layers", "diff_ids": checksums}
    return {"architecture": "amd64", "os": "linux", "config": settings, "rootfs": rootfs}


def archive(
    layers: Sequence[bytes],
    config: Mapping[str, Any],
    *,
    tags: Sequence[str] | None = ("python:3.11-slim",),
    stored: Sequence[bytes] | None = None,
    links: Mapping[str, str] | None = None,
    extra: Mapping[str, bytes] | None = None,
    manifest: object = None,
) -> bytes:
    """An archive with one image.

    Args:
        stored: the layers as they lie in the archive, where they differ from `layers`.
        links: symbolic links that are there too, by name.
        manifest: replaces the right one.
    """
    config_bytes = json.dumps(config).encode()
    config_name = hashlib.sha256(config_bytes).hexdigest() + ".json"
    names = [f"{number}/layer.tar" for number in range(len(layers))]
    right = [{"Config": config_name, "RepoTags": tags, "Layers": names}]
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as tar:
        for name, content in zip(names, stored or layers, strict=True):
            if name not in (links or {}):
                add(tar, name, content)
        for name, target in (links or {}).items():
            info = tarfile.TarInfo(name)
            info.type, info.linkname = tarfile.SYMTYPE, target
            tar.addfile(info)
        add(tar, config_name, config_bytes)
        add(tar, "manifest.json", json.dumps(right if manifest is None else manifest).encode())
        add(tar, "repositories", json.dumps({"python": {"3.11-slim": "0"}}).encode())
        for name, content in (extra or {}).items():
            add(tar, name, content)
    return stream.getvalue()
