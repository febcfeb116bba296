from __future__ import annotations

import gzip
import hashlib
import io
import json
import tarfile
from pathlib import Path
from typing import Any

import pytest

from dopq.container_handler.archive import Limits
from dopq.container_handler.bundle import Prepared, prepare
from dopq.container_handler.container_config import SpecDefaults
from dopq.container_handler.refusal import problems_of
from dopq.container_handler.rules import Rules
from dopq.errors import BundleRejected
from tests.bundles import DOCKERFILE, config, zip_of
from tests.saved_images import archive, config_of, layer

LOWER, UPPER = layer({"bin/sh": b"shell"}), layer({"app/run": b"program"})
CONFIG = config_of([LOWER, UPPER], Cmd=["/app/run"], Env=["A=1"])
SAVED = archive([LOWER, UPPER], CONFIG)
AGAIN = "Make it again with 'docker save IMAGE -o image.tar'."


def take(path: Path, limits: Limits | None = None) -> Prepared:
    with path.open("rb") as file:
        return prepare(
            file,
            path.parent / "work",
            bundle_name=path.name,
            default_name="b",
            user="ada",
            rules=Rules(SpecDefaults(gpus=0, max_time_limit_s=100), limits or Limits()),
            labels={"dopq.job": "7"},
        )


def refused(path: Path, limits: Limits | None = None) -> list[str]:
    with pytest.raises(BundleRejected) as caught:
        take(path, limits)
    assert not (path.parent / "work").exists()
    return [str(problem) for problem in problems_of(caught.value)]


def loaded(prepared: Prepared) -> tuple[dict[str, Any], dict[str, Any], list[bytes]]:
    """Manifest, configuration and layers that an engine would get; nothing else may be there."""
    assert prepared.is_image
    with tarfile.open(prepared.context) as tar:
        assert all(info.isreg() for info in tar.getmembers())
        files = {name: file.read() for name in tar.getnames() if (file := tar.extractfile(name))}
    [manifest] = json.loads(files.pop("manifest.json"))
    layers = [files.pop(name) for name in manifest["Layers"]]
    [(name, content)] = files.items()
    assert name == manifest["Config"] == hashlib.sha256(content).hexdigest() + ".json"
    return manifest, json.loads(content), layers


@pytest.fixture
def dropped(tmp_path: Path) -> Path:
    """Where an archive is dropped as it is."""
    return tmp_path / "mine.tar"


def of(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


# --- what is taken --------------------------------------------------------------------------------------------------


def test_a_dropped_archive_is_loaded_without_its_names(dropped: Path) -> None:
    prepared = take(of(dropped, SAVED))
    manifest, settings, layers = loaded(prepared)
    assert manifest["RepoTags"] is None
    assert layers == [LOWER, UPPER]
    assert settings["rootfs"]["diff_ids"] == CONFIG["rootfs"]["diff_ids"]
    assert settings["config"] == {"Cmd": ["/app/run"], "Env": ["A=1"], "Labels": {"dopq.job": "7"}}
    assert prepared.spec.name == "b"
    assert prepared.input is None


def test_an_archive_in_a_bundle_is_loaded_with_its_spec_and_input(tmp_path: Path) -> None:
    bundle = zip_of(tmp_path / "b.zip", {"image.tar": SAVED, "job.toml": 'name = "x"', "input/a": "1"})
    prepared = take(bundle)
    assert loaded(prepared)[2] == [LOWER, UPPER]
    assert prepared.spec.name == "x"
    assert prepared.input is not None
    assert (prepared.input / "a").read_text() == "1"


@pytest.mark.parametrize("name", ["image.tar.gz", "image.tgz"])
def test_an_archive_may_be_gzipped(tmp_path: Path, name: str) -> None:
    assert loaded(take(zip_of(tmp_path / "b.zip", {name: gzip.compress(SAVED)})))[2] == [LOWER, UPPER]


def test_a_dropped_archive_may_be_gzipped(tmp_path: Path) -> None:
    assert loaded(take(of(tmp_path / "mine.tar.gz", gzip.compress(SAVED))))[2] == [LOWER, UPPER]


def test_build_flag_false_names_the_one_archive_that_is_there(tmp_path: Path) -> None:
    files = {"mine.tar": SAVED, "container_config.json": config(build_flag=False), "notes.txt": "x"}
    assert loaded(take(zip_of(tmp_path / "b.zip", files)))[2] == [LOWER, UPPER]


def test_a_bundle_with_a_dockerfile_is_built_whatever_lies_beside_it(tmp_path: Path) -> None:
    files = {"image.tar": SAVED, "Dockerfile": DOCKERFILE}
    assert not take(zip_of(tmp_path / "b.zip", files)).is_image
    files["container_config.json"] = config(build_flag=False)
    assert take(zip_of(tmp_path / "b.zip", files)).is_image


def test_a_tar_with_a_dockerfile_and_a_manifest_is_a_bundle(dropped: Path) -> None:
    bundle = of(dropped, archive([], CONFIG, extra={"Dockerfile": DOCKERFILE.encode()}))
    assert not take(bundle).is_image


def test_a_layer_that_is_there_twice_may_be_a_link_to_the_first(dropped: Path) -> None:
    twice = [LOWER, UPPER, LOWER]
    data = archive(twice, config_of(twice), links={"2/layer.tar": "../0/layer.tar"})
    assert loaded(take(of(dropped, data)))[2] == twice


def test_gzipped_layers_are_unpacked_and_compared(dropped: Path) -> None:
    data = archive([LOWER, UPPER], CONFIG, stored=[gzip.compress(LOWER), UPPER])
    assert loaded(take(of(dropped, data)))[2] == [LOWER, UPPER]


def test_what_only_the_service_may_set_is_left_out(dropped: Path) -> None:
    settings = {
        "Labels": {"dopq.node": "x"},
        "Volumes": {"/x": {}},
        "OnBuild": ["RUN x"],
        "Healthcheck": {"Test": ["NONE"]},
        "StopSignal": "SIGKILL",
        "ExposedPorts": {"22/tcp": {}},
        "WorkingDir": "/app",
    }
    data = archive([LOWER], config_of([LOWER], **settings))
    assert loaded(take(of(dropped, data)))[1]["config"] == {"WorkingDir": "/app", "Labels": {"dopq.job": "7"}}


# --- what is refused ------------------------------------------------------------------------------------------------


def test_several_images_are_refused(dropped: Path) -> None:
    image = {"Config": "x.json", "RepoTags": None, "Layers": []}
    problems = refused(of(dropped, archive([], CONFIG, manifest=[image, image])))
    assert problems == ["manifest.json: it holds 2 images. Save one image alone."]


@pytest.mark.parametrize(
    "manifest", [[], {}, "x", [1], [{"Config": 1, "Layers": []}], [{"Config": "x"}], [{"Layers": []}], [[]], [None]]
)
def test_a_manifest_that_names_no_image_is_refused(dropped: Path, manifest: object) -> None:
    data = archive([], CONFIG, manifest=manifest)
    assert refused(of(dropped, data)) == [f"image archive: its manifest.json names no image. {AGAIN}"]


def test_an_archive_of_another_tool_is_refused(dropped: Path) -> None:
    data = layer({"oci-layout": b"{}", "index.json": b"{}"})
    assert refused(of(dropped, data)) == [f"image archive: the file 'manifest.json' is missing in it. {AGAIN}"]


@pytest.mark.parametrize(
    ("target", "words"),
    [
        ("/etc/passwd", "the file '0/layer.tar' is missing in it"),
        ("../../../etc/passwd", "the file '0/layer.tar' is missing in it"),
        ("layer.tar", "the file '0/layer.tar' is missing in it"),
    ],
)
def test_a_link_out_of_the_archive_leads_nowhere(dropped: Path, target: str, words: str) -> None:
    data = archive([LOWER], config_of([LOWER]), links={"0/layer.tar": target})
    assert refused(of(dropped, data)) == [f"image archive: {words}. {AGAIN}"]


def test_a_layer_that_is_not_what_its_checksum_says_is_refused(dropped: Path) -> None:
    data = archive([LOWER], config_of([LOWER]), stored=[UPPER])
    checksum = config_of([LOWER])["rootfs"]["diff_ids"][0]
    words = f"image archive: the layer '{checksum}' is damaged, or packed in another way than gzip. {AGAIN}"
    assert refused(of(dropped, data)) == [words]


def test_more_checksums_than_layers_are_refused(dropped: Path) -> None:
    data = archive([LOWER], config_of([LOWER, UPPER]))
    words = "it has 1 layers, and 2 are announced; 127 are allowed"
    assert refused(of(dropped, data)) == [f"image archive: {words}. {AGAIN}"]


def test_a_layer_with_holes_is_refused(dropped: Path) -> None:
    holes = bytearray(layer({"big": b"x"}))
    holes[156:157] = b"S"  # a sparse file, of which GNU tar says that it unpacks to more
    holes[148:156] = b" " * 8
    holes[148:156] = b"%06o\0 " % sum(holes[:512])
    data = archive([bytes(holes)], config_of([bytes(holes)]))
    assert "has sparse files" in refused(of(dropped, data))[0]


def test_a_layer_that_is_no_tar_is_refused(dropped: Path) -> None:
    data = archive([b"hello"], config_of([b"hello"]))
    assert "is no whole tar file" in refused(of(dropped, data))[0]


def test_a_gzip_bomb_of_a_layer_is_refused(dropped: Path) -> None:
    bomb = layer({"zeros": bytes(10**6)})
    data = archive([bomb], config_of([bomb]), stored=[gzip.compress(bomb)])
    assert "more than 100000 bytes" in refused(of(dropped, data), Limits(unpacked_bytes=100_000))[0]


def test_layers_that_are_too_large_together_are_refused(dropped: Path) -> None:
    data = archive([LOWER, UPPER], CONFIG)
    assert "larger than the 15000 bytes" in refused(of(dropped, data), Limits(unpacked_bytes=15_000))[0]


def test_an_image_for_windows_is_refused(dropped: Path) -> None:
    data = archive([LOWER], {**config_of([LOWER]), "os": "windows"})
    words = f"image archive: it is an image for 'windows'; this node runs linux. {AGAIN}"
    assert refused(of(dropped, data)) == [words]


@pytest.mark.parametrize("broken", [{}, {"os": "linux"}, {"os": "linux", "rootfs": {"type": "layers"}}, [], 1])
def test_an_image_without_settings_is_refused(dropped: Path, broken: Any) -> None:
    assert refused(of(dropped, archive([LOWER], broken))) == [f"image archive: its settings are damaged. {AGAIN}"]


def test_a_name_that_is_there_twice_is_refused(dropped: Path) -> None:
    data = archive([LOWER], config_of([LOWER]), extra={"./manifest.json": b"[]"})
    assert refused(of(dropped, data)) == [f"image archive: it has a name twice. {AGAIN}"]


def test_a_manifest_that_says_a_thing_twice_is_refused(dropped: Path) -> None:
    data = layer({"manifest.json": b'[{"Config": "a", "Config": "b", "Layers": []}]'})
    assert refused(of(dropped, data)) == ["manifest.json: the key 'Config' is there twice. Keep one of them."]


def test_a_file_that_is_no_archive_of_an_image_is_refused(tmp_path: Path) -> None:
    bundle = zip_of(tmp_path / "b.zip", {"image.tar": layer({"a": b"1"})})
    assert refused(bundle) == [f"image archive: the file 'manifest.json' is missing in it. {AGAIN}"]


def test_build_flag_false_without_an_archive_is_refused(tmp_path: Path) -> None:
    files = {"Dockerfile": DOCKERFILE, "container_config.json": config(build_flag=False)}
    words = (
        "container_config.json: build_flag: there is no image to load: no .tar file lies at the top. "
        "Add what 'docker save IMAGE -o image.tar' writes, or write true."
    )
    assert refused(zip_of(tmp_path / "b.zip", files)) == [words]


def test_several_archives_are_refused(tmp_path: Path) -> None:
    files = {"a.tar": SAVED, "b.tar": SAVED, "container_config.json": config(build_flag=False)}
    words = "bundle: several files may be the image: a.tar, b.tar. Keep one of them."
    assert refused(zip_of(tmp_path / "b.zip", files)) == [words]


def test_build_flag_true_without_a_dockerfile_is_refused(tmp_path: Path) -> None:
    files = {"image.tar": SAVED, "container_config.json": config(build_flag=True)}
    [problem] = refused(zip_of(tmp_path / "b.zip", files))
    assert "neither a Dockerfile nor a program" in problem


def test_every_part_of_an_archive_is_refused_or_complete(dropped: Path) -> None:
    for size in range(512, len(SAVED.rstrip(b"\0")), 997):
        assert refused(of(dropped, SAVED[:size])) == [
            "bundle: the end of the tar file is missing, as in half a copy. Copy it again, all of it."
        ]


def test_the_archive_for_the_engine_is_a_tar_that_it_can_read(dropped: Path) -> None:
    data = take(of(dropped, SAVED)).context.read_bytes()
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        assert len(tar.getnames()) == 4
