"""Archives that `docker save` makes, taken apart and put together anew before an engine gets to see one.

Such an archive names the image that it holds, and an engine that loads it gives the image that name, from whichever
image bore it before: `python:3.11-slim` would then be a stranger's. It may also hold several images, links, and
settings that are the service's business. So nothing is passed on but the layers, each compared with its checksum, and
what of the settings a Dockerfile's author could have set as well.

The format is Docker's "Image Tarball Specification v1.2" with `manifest.json`, which newer engines write beside OCI's.
"""

from __future__ import annotations

import hashlib
import io
import json
import posixpath
import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import BinaryIO

from dopq.container_handler.archive import Limits
from dopq.container_handler.file_part import Part
from dopq.container_handler.gunzip import GZIP_MAGIC, gunzip
from dopq.container_handler.refusal import refusal, shown
from dopq.container_handler.scratch import Scratch
from dopq.container_handler.strict_json import read_json
from dopq.container_handler.tar_entries import Entry, entries_of
from dopq.container_handler.tar_header import FILES, LINKS, Malformed
from dopq.errors import BundleRejected
from dopq.job import Problem

MANIFEST = "manifest.json"
_MOST_LAYERS = 127  # as many as Docker's storage driver overlay2 takes
_LONGEST_TEXT = 4 * 2**20
_PIECE = 1024 * 1024
_AGAIN = "Make it again with 'docker save IMAGE -o image.tar'."
_SETTINGS = ("Env", "Entrypoint", "Cmd", "WorkingDir", "User", "Shell")
_PLATFORM = ("architecture", "variant", "created")


@dataclass(frozen=True, slots=True)
class SavedImage:
    """The one image of an archive.

    Attributes:
        settings: the image's own, of which few are passed on.
        layers: from the lowest to the uppermost; none of them is checked yet.
        checksums: of the unpacked layers, `sha256:...`, in the same order.
    """

    settings: Mapping[object, object]
    layers: Sequence[Part]
    checksums: Sequence[str]


def read_saved_image(tar: Part, entries: Sequence[Entry]) -> SavedImage:
    """Find the image in an archive; `entries` are those of `tar`.

    Raises:
        BundleRejected: it does not hold exactly one image, or it is damaged.
    """
    files = {posixpath.normpath(entry.name): entry for entry in entries}
    if len(files) < len(entries):
        raise _refused("it has a name twice")
    manifest = _json(tar, files, MANIFEST)
    match manifest:
        case [{"Config": str(config_name), "Layers": list(layer_names)}]:
            config = _json(tar, files, config_name)
        case [{}, {}, *_]:
            raise refusal([Problem(MANIFEST, f"it holds {len(manifest)} images", "Save one image alone.")])
        case _:
            raise _refused(f"its {MANIFEST} names no image")
    match config:
        case {"os": "linux", "rootfs": {"type": "layers", "diff_ids": list(checksums)}, **settings}:
            layers = [_part(tar, _file(files, str(name))) for name in layer_names]
        case {"os": str(system)} if system != "linux":
            raise _refused(f"it is an image for {shown(system)}; this node runs linux")
        case _:
            raise _refused("its settings are damaged")
    if len(layers) != len(checksums) or len(layers) > _MOST_LAYERS:
        raise _refused(f"it has {len(layers)} layers, and {len(checksums)} are announced; 127 are allowed")
    return SavedImage(settings, layers, [str(checksum) for checksum in checksums])


def check_layers(image: SavedImage, limits: Limits, scratch: Scratch) -> SavedImage:
    """The same image with its layers unpacked and compared with their checksums.

    Raises:
        BundleRejected: a layer is damaged, not what its checksum says, or all of them are too large.
    """
    layers: list[Part] = []
    left = limits.unpacked_bytes
    for packed, checksum in zip(image.layers, image.checksums, strict=True):
        layer = _unpacked(packed, left, scratch)
        if layer.size > left:
            raise _refused(f"its layers are larger than the {limits.unpacked_bytes} bytes that are allowed")
        _check_layer(layer, checksum)
        left -= layer.size
        layers.append(layer)
    return replace(image, layers=layers)


def write_saved_image(image: SavedImage, labels: Mapping[str, str], out: BinaryIO) -> None:
    """Write an archive with nothing but this image, without a name, for an engine to load.

    Args:
        labels: take the place of all that the image had.
    """
    config = _config(image, labels)
    names = [f"{number}/layer.tar" for number in range(len(image.layers))]
    config_name = hashlib.sha256(config).hexdigest() + ".json"
    manifest = [{"Config": config_name, "RepoTags": None, "Layers": names}]
    with tarfile.open(fileobj=out, mode="w") as tar:
        for text_name, content in ((MANIFEST, json.dumps(manifest).encode()), (config_name, config)):
            tar.addfile(_info(text_name, len(content)), io.BytesIO(content))
        for name, layer in zip(names, image.layers, strict=True):
            tar.addfile(_info(name, layer.size), layer.reader())


def _config(image: SavedImage, labels: Mapping[str, str]) -> bytes:
    own = image.settings.get("config")
    settings = {key: own[key] for key in _SETTINGS if key in own} if isinstance(own, dict) else {}
    platform = {"os": "linux"} | {key: image.settings[key] for key in _PLATFORM if key in image.settings}
    rootfs = {"type": "layers", "diff_ids": list(image.checksums)}
    return json.dumps({**platform, "config": {**settings, "Labels": dict(labels)}, "rootfs": rootfs}).encode()


def _json(tar: Part, files: Mapping[str, Entry], name: str) -> object:
    entry = _file(files, name)
    if entry.size > _LONGEST_TEXT:
        raise _refused(f"its {shown(name)} has {entry.size} bytes, {_LONGEST_TEXT} are allowed")
    try:
        value, problems = read_json(tar.exactly(entry.size, entry.at).decode(), name)
    except UnicodeDecodeError:
        raise _refused(f"its {shown(name)} is not written in UTF-8") from None
    if problems:
        raise refusal(problems)
    return value


def _file(files: Mapping[str, Entry], name: str) -> Entry:
    """The file of that name; a layer that an image has twice may be a link to the first one."""
    entry = files.get(posixpath.normpath(name))
    if entry is not None and entry.kind in LINKS:
        beside = posixpath.join(posixpath.dirname(entry.name), entry.link)  # as for a symbolic link
        entry = files.get(posixpath.normpath(beside)) or files.get(posixpath.normpath(entry.link))
    if entry is None or entry.kind not in FILES or entry.is_sparse:
        raise _refused(f"the file {shown(name)} is missing in it")
    return entry


def _part(tar: Part, entry: Entry) -> Part:
    return Part(tar.descriptor, entry.at, entry.end)


def _unpacked(layer: Part, most_bytes: int, scratch: Scratch) -> Part:
    """The layer without its compression, if it has one."""
    if layer.reader().read(len(GZIP_MAGIC)) != GZIP_MAGIC:
        return layer
    plain = scratch.file()
    gunzip(layer.reader(), plain.write, most_bytes)
    plain.flush()
    return Part.whole(plain.fileno())


def _check_layer(layer: Part, checksum: str) -> None:
    """The bytes are those that were announced, and unpacking them takes no more space than they do themselves."""
    if "sha256:" + hashlib.file_digest(layer.reader(), "sha256").hexdigest() != checksum:
        raise _refused(f"the layer {shown(checksum)} is damaged, or packed in another way than gzip")
    try:
        if any(entry.is_sparse for entry in entries_of(layer)):
            raise _refused(f"the layer {shown(checksum)} has sparse files")
    except (Malformed, EOFError) as error:
        raise _refused(f"the layer {shown(checksum)} is no whole tar file") from error


def _info(name: str, size: int) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.size = size
    return info


def _refused(what: str) -> BundleRejected:
    return refusal([Problem("image archive", what, _AGAIN)])
