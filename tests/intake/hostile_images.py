"""Archives of `docker save` that lead out, take over, or are not whole (Image Tarball Specification v1.2)."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.bundles import zip_of
from tests.intake.hostile import Hostile
from tests.intake.hostile_zips import file_name
from tests.intake.raw_tar import LINK, member, tar_bytes

LAYER = tar_bytes(member("hello", b"hello\n"))


def images() -> Iterator[Hostile]:
    yield from _manifests()
    yield from _layers()


def saved(
    *,
    manifest: object = None,
    config: object = None,
    layer: bytes = LAYER,
    extra: tuple[bytes, ...] = (),
    **fields: Any,
) -> bytes:
    """An image archive, good but for what is given; `fields` replace what the one entry of its manifest says."""
    text = config if isinstance(config, bytes) else json.dumps(config or settings(LAYER)).encode()
    entry = {"Config": "config.json", "RepoTags": ["lab/image:1"], "Layers": ["0/layer.tar"]} | fields
    listed = manifest if isinstance(manifest, bytes) else json.dumps([entry] if manifest is None else manifest).encode()
    return tar_bytes(member("manifest.json", listed), member("config.json", text), member("0/layer.tar", layer), *extra)


def settings(*layers: bytes, **more: object) -> dict[str, object]:
    """An image's own settings, for the layers that it has."""
    checksums = ["sha256:" + hashlib.sha256(layer).hexdigest() for layer in layers]
    return {"os": "linux", "architecture": "amd64", "rootfs": {"type": "layers", "diff_ids": checksums}} | more


def image(title: str, data: bytes, *words: str) -> Hostile:
    """A zip with an image archive in it."""

    def write(path: Path) -> Path:
        return zip_of(path, {"image.tar": data, "container_config.json": '{"build_flag": false}'})

    return Hostile(f"image: {title}", f"image-{file_name(title)}.zip", write, words)


def _manifests() -> Iterator[Hostile]:
    yield image("of no bytes", b"", "image.tar", "empty")
    yield image("that is a text", b"hello " * 400, "image.tar", "no tar file")
    yield image("half of one", saved()[:1500], "image.tar", "half a copy")
    yield image("without a manifest", tar_bytes(member("a")), "manifest.json")
    yield image("with a manifest that is no JSON", saved(manifest=b"{"), "manifest.json")
    yield image("with a manifest that names nothing", saved(manifest=[]), "no image")
    yield image("with a manifest that is a table", saved(manifest={"Config": "config.json"}), "no image")
    yield image("with a manifest with a key twice", saved(manifest=b'[{"Config": "a", "Config": "b", "Layers": []}]'), "twice")  # fmt: skip
    one = {"Config": "config.json", "RepoTags": ["a:1"], "Layers": ["0/layer.tar"]}
    yield image("of two images", saved(manifest=[one, one | {"RepoTags": ["python:3.11-slim"]}]), "2 images")
    yield image("with two manifests", saved(extra=(member("manifest.json", b"[]"),)), "twice")
    yield image("whose settings lie outside", saved(Config="../../../etc/passwd"), "'../../../etc/passwd'", "missing")
    yield image("whose settings are absolute", saved(Config="/etc/passwd"), "'/etc/passwd'", "missing")
    yield image("whose settings are missing", saved(Config="other.json"), "'other.json'", "missing")
    yield image("whose settings are no JSON", saved(config=b"nonsense"), "config.json")
    yield image("whose settings are a list", saved(config=[1]), "damaged")
    yield image("whose settings are a number", saved(Config=7), "no image")
    yield image("whose settings are nested deeply", saved(config=b"[" * 10**6), "nested")
    yield image("whose settings are a link", saved(Config="way", extra=(member("way", b"", LINK, link=b"/etc/passwd"),)), "missing")  # fmt: skip
    yield image("for Windows", saved(config=settings(LAYER, os="windows")), "windows")


def _layers() -> Iterator[Hostile]:
    up = "../../../../etc/passwd"
    yield image("with a layer that lies outside", saved(Layers=[up]), repr(up), "missing")
    yield image("with a layer that is absolute", saved(Layers=["/etc/passwd"]), "'/etc/passwd'", "missing")
    yield image("with a layer that is missing", saved(Layers=["1/layer.tar"]), "'1/layer.tar'", "missing")
    yield image("with a layer that is no text", saved(Layers=[["a"]]), "missing")
    yield image("with a layer that is a link out", saved(Layers=["way"], extra=(member("way", b"", LINK, link=up.encode()),)), "missing")  # fmt: skip
    yield image("with a layer that is a link to itself", saved(Layers=["way"], extra=(member("way", b"", LINK, link=b"way"),)), "missing")  # fmt: skip
    yield image("with a layer that is not the announced one", saved(layer=tar_bytes(member("evil"))), "damaged")
    yield image("with a layer that is no tar", saved(layer=b"x" * 999, config=settings(b"x" * 999)), "tar file")
    yield image("with a layer more than announced", saved(Layers=["0/layer.tar"] * 2), "2 layers")
    yield image("with a layer less than announced", saved(config=settings(LAYER, LAYER)), "1 layers")
    many = saved(config=settings(*[LAYER] * 500), Layers=["0/layer.tar"] * 500)
    yield image("of 500 layers", many, "500 layers")
    sparse = tar_bytes(member("a", b"", b"S", magic=b"ustar  \0"))
    yield image("with a sparse layer", saved(layer=sparse, config=settings(sparse)), "sparse")
    endless = b"\x1f\x8b\x08\0\0\0\0\0\0\3" + b"\xff" * 50
    yield image("with a damaged gzip layer", saved(layer=endless), "damaged")
    cut = tar_bytes(member("a", size=10**6), end=b"")
    yield image("with half a layer", saved(layer=cut, config=settings(cut)), "tar file")
    yield image("with another checksum than sha256", saved(config={"os": "linux", "rootfs": {"type": "layers", "diff_ids": ["md5:abc"]}}), "damaged")  # fmt: skip
