"""Bundles for tests: good ones from a dictionary, and bad ones made byte by byte, so that no opaque binary is stored."""

from __future__ import annotations

import json
import stat
import zipfile
from collections.abc import Mapping
from pathlib import Path

DOCKERFILE = "FROM scratch\nCOPY . /\n"
Content = bytes | str


def config(**settings: object) -> str:
    """The text of a container_config.json."""
    return json.dumps(settings)


def zip_of(path: Path, files: Mapping[str, Content], *, executable: tuple[str, ...] = ()) -> Path:
    """A well-made zip: names that end with / are folders, those in `executable` may be run."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            add(archive, name, content, mode=stat.S_IFREG | (0o755 if name in executable else 0o644))
    return path


def add(archive: zipfile.ZipFile, name: str, content: Content = b"", *, mode: int = stat.S_IFREG | 0o644) -> None:
    """One entry with whatever name and mode; the time is fixed so that the same call gives the same bytes."""
    info = zipfile.ZipInfo("placeholder", (2020, 1, 1, 0, 0, 0))
    info.filename = info.orig_filename = name  # set afterwards: the constructor would clean the name up
    info.create_system = 3
    info.external_attr = (stat.S_IFDIR | 0o755 if name.endswith("/") else mode) << 16
    info.compress_type = archive.compression
    archive.writestr(info, content)


def good_bundle(path: Path, **settings: object) -> Path:
    """The smallest bundle that is taken."""
    return zip_of(path, {"Dockerfile": DOCKERFILE, "container_config.json": config(**settings)})


def patched(path: Path, old: bytes, new: bytes) -> Path:
    """The same file with every `old` replaced by `new`, which must be there and as long."""
    data = path.read_bytes()
    assert old in data
    assert len(old) == len(new)
    path.write_bytes(data.replace(old, new))
    return path


def patched_headers(path: Path, *, local: Mapping[int, bytes], central: Mapping[int, bytes]) -> Path:
    """The same file with bytes replaced at offsets into each local header and each entry of the table of contents."""
    data = bytearray(path.read_bytes())
    for signature, changes in ((b"PK\x03\x04", local), (b"PK\x01\x02", central)):
        at = data.find(signature)
        while at >= 0:
            for offset, new in changes.items():
                data[at + offset : at + offset + len(new)] = new
            at = data.find(signature, at + 4)
    path.write_bytes(data)
    return path
