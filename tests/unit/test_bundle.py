from __future__ import annotations

import os
import stat
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path

import pytest

from dopq.container_handler.archive import Limits
from dopq.container_handler.bundle import Prepared, prepare
from dopq.container_handler.container_config import SpecDefaults
from dopq.container_handler.refusal import problems_of
from dopq.container_handler.rules import Rules
from dopq.container_handler.template import Templates
from dopq.errors import BadConfig, BundleRejected
from dopq.job import JobSpec
from tests.bundles import DOCKERFILE, Content, add, config, good_bundle, patched, patched_headers, zip_of

APP = {"code/app.py": "print('hello')\n"}


def take(
    bundle: Path,
    *,
    limits: Limits | None = None,
    templates: Path | None = None,
    name: str = "",
) -> Prepared:
    rules = Rules(SpecDefaults(gpus=0, max_time_limit_s=86400), limits or Limits(), Templates(folder=templates))
    with bundle.open("rb") as file:
        return prepare(
            file,
            bundle.parent / "work",
            bundle_name=name or bundle.name,
            default_name=bundle.stem,
            user="ada",
            rules=rules,
        )


def refused(bundle: Path, *, limits: Limits | None = None, name: str = "") -> list[str]:
    """The problems, after a look that nothing was written."""
    before = sorted(bundle.parent.rglob("*"))
    with pytest.raises(BundleRejected) as caught:
        take(bundle, limits=limits, name=name)
    assert sorted(bundle.parent.rglob("*")) == before
    return [str(problem) for problem in problems_of(caught.value)]


def context(prepared: Prepared) -> dict[str, tuple[int, bytes]]:
    """Mode and content of everything in the build context; folders have no content."""
    with tarfile.open(prepared.context) as tar:
        return {
            info.name: (info.mode, file.read() if (file := tar.extractfile(info)) else b"") for info in tar.getmembers()
        }


@pytest.fixture
def zipped(tmp_path: Path) -> Path:
    return tmp_path / "bundle.zip"


def with_entry(path: Path, name: str, content: Content = b"x", **more: int) -> Path:
    """A good bundle with one odd entry."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        add(archive, "Dockerfile", DOCKERFILE)
        add(archive, name, content, **more)
    return path


# --- what is taken --------------------------------------------------------------------------------------------------


def test_a_bundle_becomes_a_spec_and_a_context(zipped: Path) -> None:
    files = {"Dockerfile": DOCKERFILE, "container_config.json": config(name="iris", num_gpus=2), "src/a.py": "1"}
    prepared = take(zip_of(zipped, files))
    assert prepared.spec == JobSpec(name="iris", gpus=2)
    assert prepared.input is None
    assert context(prepared) == {
        "Dockerfile": (0o644, DOCKERFILE.encode()),
        "container_config.json": (0o644, config(name="iris", num_gpus=2).encode()),
        "src": (0o755, b""),
        "src/a.py": (0o644, b"1"),
    }


def test_a_bundle_without_a_spec_has_all_defaults(zipped: Path) -> None:
    assert take(zip_of(zipped, {"Dockerfile": DOCKERFILE})).spec == JobSpec(name="bundle")


def test_the_one_single_folder_of_a_bundle_is_its_top(zipped: Path) -> None:
    files = {"iris/": "", "iris/Dockerfile": DOCKERFILE, "iris/job.toml": "name = 'x'", "__MACOSX/iris/._a": "junk"}
    prepared = take(zip_of(zipped, files))
    assert prepared.spec.name == "x"
    assert set(context(prepared)) == {"Dockerfile", "job.toml"}


def test_a_project_whose_only_folder_is_code_is_not_taken_apart(zipped: Path) -> None:
    assert "code/app.py" in context(take(zip_of(zipped, APP)))


def test_what_macos_adds_is_left_out(zipped: Path) -> None:
    junk = dict.fromkeys(["__MACOSX/a", ".DS_Store", "src/.DS_Store", "src/._a.py"], "junk")
    assert set(context(take(zip_of(zipped, {"Dockerfile": DOCKERFILE, **junk})))) == {"Dockerfile"}


def test_the_executable_bit_survives(zipped: Path) -> None:
    files = {"Dockerfile": DOCKERFILE, "run.sh": "#!/bin/sh\n", "a.txt": "a", "input/tool": "x", "input/data": "y"}
    prepared = take(zip_of(zipped, files, executable=("run.sh", "input/tool")))
    modes = {name: mode for name, (mode, _) in context(prepared).items()}
    assert modes == {"Dockerfile": 0o644, "run.sh": 0o755, "a.txt": 0o644}
    assert prepared.input is not None
    assert stat.S_IMODE((prepared.input / "tool").stat().st_mode) == 0o755
    assert stat.S_IMODE((prepared.input / "data").stat().st_mode) == 0o644


def test_where_no_modes_were_kept_everything_may_be_run(zipped: Path) -> None:
    zip_of(zipped, {"Dockerfile": DOCKERFILE, "run.sh": "#!/bin/sh\n"})
    prepared = take(patched_headers(zipped, local={}, central={5: b"\0", 38: bytes(4)}))  # made on FAT, no attributes
    assert context(prepared)["run.sh"][0] == 0o755


def test_setuid_bits_are_dropped(zipped: Path) -> None:
    prepared = take(with_entry(zipped, "su", mode=stat.S_IFREG | 0o6777))
    assert context(prepared)["su"][0] == 0o755


def test_input_is_unpacked_beside_the_context(zipped: Path) -> None:
    files = {"p/Dockerfile": DOCKERFILE, "p/input/a/b.csv": "1,2\n", "p/input/empty/": ""}
    prepared = take(zip_of(zipped, files))
    assert set(context(prepared)) == {"Dockerfile"}
    assert prepared.input is not None
    assert (prepared.input / "a" / "b.csv").read_text() == "1,2\n"
    assert (prepared.input / "empty").is_dir()


def test_input_can_be_read_by_every_user_whatever_the_umask(zipped: Path) -> None:
    zip_of(zipped, {"Dockerfile": DOCKERFILE, "input/a/b.csv": "1"})
    before = os.umask(0o077)
    try:
        folder = take(zipped).input
    finally:
        os.umask(before)
    assert folder is not None
    modes = [stat.S_IMODE(path.stat().st_mode) for path in (folder, folder / "a", folder / "a" / "b.csv")]
    assert modes == [0o755, 0o755, 0o644]


def test_a_file_called_input_is_a_file_like_any_other(zipped: Path) -> None:
    prepared = take(zip_of(zipped, {"Dockerfile": DOCKERFILE, "input": "x"}))
    assert prepared.input is None
    assert context(prepared)["input"] == (0o644, b"x")


def test_the_same_files_give_the_same_context_however_they_were_packed(tmp_path: Path) -> None:
    files = {"Dockerfile": DOCKERFILE, "b/ü.txt": "ü", "a.txt": "a" * 1000, "n" * 120 + "/x": "long"}
    first, second = tmp_path / "1" / "x.zip", tmp_path / "2" / "y.zip"
    for path in (first, second):
        path.parent.mkdir()
    zip_of(first, files)
    with zipfile.ZipFile(second, "w", zipfile.ZIP_STORED) as archive:
        for name, content in reversed(files.items()):
            info = zipfile.ZipInfo(f"top/{name}", (1999, 12, 31, 23, 59, 58))
            info.external_attr = (stat.S_IFREG | 0o600) << 16
            archive.writestr(info, content)
    assert take(first).context.read_bytes() == take(second).context.read_bytes()


def test_preparing_again_after_a_crash_starts_from_scratch(zipped: Path) -> None:
    first = take(zip_of(zipped, {"Dockerfile": DOCKERFILE, "input/a": "1"}))
    assert first.input is not None
    (first.input / "left-over").write_text("x")
    first.context.write_bytes(b"half")
    second = take(zipped)
    assert second.input is not None
    assert [path.name for path in second.input.iterdir()] == ["a"]
    assert set(context(second)) == {"Dockerfile"}


def test_utf8_names_that_do_not_say_so_are_read_as_utf8(zipped: Path) -> None:
    with_entry(zipped, "größe.txt")
    patched_headers(zipped, local={6: b"\0\0"}, central={8: b"\0\0"})  # macOS leaves the UTF-8 flag out
    assert "größe.txt" in context(take(zipped))


# --- the project layout ---------------------------------------------------------------------------------------------


def dockerfile_of(zipped: Path, files: Mapping[str, Content], templates: Path | None = None) -> list[str]:
    text = context(take(zip_of(zipped, files), templates=templates))["Dockerfile"][1].decode()
    return [line for line in text.splitlines() if line and not line.startswith("#")]


def test_a_project_gets_its_dockerfile_from_the_template(zipped: Path) -> None:
    assert dockerfile_of(zipped, {**APP, "requirements.txt": "numpy\n"}) == [
        "FROM python:3.11-slim",
        "ENV PYTHONUNBUFFERED=1",
        "WORKDIR /app",
        "COPY requirements.txt /app/",
        "RUN python3 -m pip install --no-cache-dir --disable-pip-version-check -r requirements.txt",
        "COPY . /app/",
        'CMD ["python3", "/app/code/app.py"]',
    ]


@pytest.mark.parametrize("requirements", [{}, {"requirements.txt": "\n  # nothing\r\n\n"}])
def test_without_a_requirement_nothing_is_installed(zipped: Path, requirements: dict[str, str]) -> None:
    assert not [line for line in dockerfile_of(zipped, {**APP, **requirements}) if line.startswith("RUN")]


@pytest.mark.parametrize("entry", ["code/app.py", "app.py", "main.py", "code.py"])
def test_each_place_of_a_program_is_run(zipped: Path, entry: str) -> None:
    assert dockerfile_of(zipped, {entry: "", "z.py": ""})[-1] == f'CMD ["python3", "/app/{entry}"]'


def test_of_two_programs_the_first_in_the_documented_order_is_run(zipped: Path) -> None:
    assert dockerfile_of(zipped, {"main.py": "", "app.py/x": "", **APP})[-1] == 'CMD ["python3", "/app/code/app.py"]'
    assert dockerfile_of(zipped, {"main.py": "", "app.py/x": ""})[-1] == 'CMD ["python3", "/app/main.py"]'


def test_an_admins_own_template_is_used(zipped: Path, tmp_path: Path) -> None:
    folder = tmp_path / "templates" / "python"
    folder.mkdir(parents=True)
    (folder / "Dockerfile").write_text('FROM lab/base\n$requirements\nCMD ["$entry"]\n')
    (folder / "requirements").write_text("RUN conda install\n")
    files = {**APP, "requirements.txt": "numpy"}
    expected = ["FROM lab/base", "RUN conda install", 'CMD ["code/app.py"]']
    assert dockerfile_of(zipped, files, tmp_path / "templates") == expected


@pytest.mark.parametrize("text", ["FROM $nothing\n", "FROM $\n"])
def test_a_broken_template_is_the_operators_to_mend(zipped: Path, tmp_path: Path, text: str) -> None:
    folder = tmp_path / "templates" / "python"
    folder.mkdir(parents=True)
    (folder / "Dockerfile").write_text(text)
    with pytest.raises(BadConfig, match=r"The template .* cannot be used"):
        take(zip_of(zipped, APP), templates=tmp_path / "templates")


def test_a_template_that_makes_what_the_gate_refuses_is_the_operators_to_mend(zipped: Path, tmp_path: Path) -> None:
    folder = tmp_path / "templates" / "python"
    folder.mkdir(parents=True)
    (folder / "Dockerfile").write_text("FROM $base\nADD https://example.org/lab.tar /\n")
    with pytest.raises(BadConfig, match=r"template python makes .* Dockerfile:2: ADD may fetch"):
        take(zip_of(zipped, APP), templates=tmp_path / "templates")


def test_a_dockerfile_that_the_gate_refuses_is_told_together_with_all_else(zipped: Path) -> None:
    files = {"Dockerfile": "FROM dopq/alice/1\nONBUILD RUN x\n", "job.toml": "gpus = -1"}
    problems = refused(zip_of(zipped, files))
    assert [problem.split(": ")[0] for problem in problems] == ["job.toml", "Dockerfile:1", "Dockerfile:2"]


def test_a_dockerfile_of_its_own_goes_before_the_template(zipped: Path) -> None:
    assert dockerfile_of(zipped, {**APP, "Dockerfile": "FROM x\n"}) == ["FROM x"]


NEITHER = "it has neither a Dockerfile nor a program to run"
BOTH_WAYS = "Put a Dockerfile at the top, or your program as code/app.py or code/app.m (and data into input/)."


def test_neither_dockerfile_nor_program_is_refused_with_both_ways_out(zipped: Path) -> None:
    assert refused(zip_of(zipped, {"readme.txt": "x"})) == [f"bundle: {NEITHER}. {BOTH_WAYS}"]


@pytest.mark.parametrize("name", ["dockerfile", "Dockerfile.txt", "sub/Dockerfile"])
def test_a_dockerfile_under_another_name_is_pointed_out(zipped: Path, name: str) -> None:
    assert refused(zip_of(zipped, {name: "", "a": ""})) == [f"bundle: {NEITHER} (only '{name}'). {BOTH_WAYS}"]


def test_a_folder_called_dockerfile_is_refused(zipped: Path) -> None:
    problems = refused(zip_of(zipped, {**APP, "Dockerfile/a": ""}))
    assert problems == ["Dockerfile: it is a folder. Give the folder another name."]


@pytest.mark.parametrize(
    ("name", "right"),
    [
        ("Container_Config.json", "container_config.json"),
        ("container_config.json.txt", "container_config.json"),
        ("jobs.toml", "job.toml"),
    ],
)
def test_a_spec_under_another_name_is_not_left_out_in_silence(zipped: Path, name: str, right: str) -> None:
    problems = refused(zip_of(zipped, {"Dockerfile": DOCKERFILE, name: "{}"}))
    assert problems == [f"'{name}': a settings file has another name. Rename it to \"{right}\"."]


def test_what_is_wrong_with_the_layout_is_told_together_with_the_spec(zipped: Path) -> None:
    told = refused(zip_of(zipped, {"container_config.json": '{"num_gpus": 1.5}', "readme.txt": ""}))
    assert [problem.split(":")[0] for problem in told] == ["container_config.json", "bundle"]


def test_with_a_wrong_spec_an_image_is_not_missed_as_a_program(zipped: Path) -> None:
    told = refused(zip_of(zipped, {"container_config.json": '{"build_flag": 0}', "my.tar": b"x"}))
    assert [problem.split(":")[0] for problem in told] == ["container_config.json"]


def test_a_bundle_of_nothing_is_refused(zipped: Path) -> None:
    assert refused(zip_of(zipped, {})) == ["bundle: there is no file in it. Zip the folder that holds your Dockerfile."]


# --- what is no zip file --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["job.tar.xz", "job", "job.rar"])
def test_other_kinds_of_file_are_refused(zipped: Path, name: str) -> None:
    problems = refused(good_bundle(zipped), name=name)
    what = "this kind of file is not taken; folders and .zip, .tar, .tar.gz, .tgz are"
    assert problems == [f"'{name}': {what}. Pack the folder with 'zip -r' or 'tar -czf' and hand that in."]


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("job.tar.gz", "it is no gzip file, it only has the name of one. Make it with 'tar -czf'."),
        ("job.tar", "it is no tar file, it only has the name of one. Make it with 'tar -cf'."),
    ],
)
def test_an_archive_of_another_kind_than_its_name_says_is_refused(zipped: Path, name: str, words: str) -> None:
    zip_of(zipped, {"Dockerfile": DOCKERFILE, "data": os.urandom(1000)})
    assert refused(zipped, name=name) == [f"bundle: {words}"]


def test_an_ending_in_capitals_is_taken(zipped: Path) -> None:
    assert take(good_bundle(zipped), name="JOB.ZIP").spec.name == "bundle"


def test_an_empty_file_is_refused(zipped: Path) -> None:
    zipped.touch()
    assert refused(zipped) == ["bundle: it is empty (0 bytes). Copy it again, all of it."]


def test_a_file_that_only_has_the_name_of_a_zip_is_refused(zipped: Path) -> None:
    zipped.write_text("hello")
    assert refused(zipped) == ["bundle: it is no zip file, it only has the name of one. Make it with 'zip -r'."]


def test_every_part_of_a_zip_is_refused_as_half_a_copy(zipped: Path) -> None:
    whole = good_bundle(zipped, name="a").read_bytes()
    for size in range(4, len(whole)):
        zipped.write_bytes(whole[:size])
        words = "bundle: the end of the zip file is missing, as in half a copy. Copy it again, all of it."
        assert refused(zipped) == [words], size


def test_bytes_after_the_end_are_refused(zipped: Path) -> None:
    zipped.write_bytes(good_bundle(zipped).read_bytes() + b"more")
    words = "bundle: there are foreign bytes after the end of the zip file. Zip the bundle again."
    assert refused(zipped) == [words]


def test_bytes_before_the_beginning_are_refused(zipped: Path) -> None:
    zipped.write_bytes(b"#!/bin/sh\n" + good_bundle(zipped).read_bytes())
    words = "bundle: there are foreign bytes before the beginning of the zip file. Zip the bundle again."
    assert refused(zipped) == [words]


def test_a_table_of_contents_elsewhere_is_refused(zipped: Path) -> None:
    data = bytearray(good_bundle(zipped).read_bytes())
    struct.pack_into("<L", data, len(data) - 6, 0xFFFFFF)
    zipped.write_bytes(data)
    words = "bundle: its table of contents is not where its end says. Zip the bundle again."
    assert refused(zipped) == [words]


def test_a_table_of_contents_that_is_none_is_refused(zipped: Path) -> None:
    patched(good_bundle(zipped), b"PK\x01\x02", b"KP\x01\x02")
    words = "bundle: its table of contents is damaged. Copy or zip the bundle again."
    assert refused(zipped) == [words]


def test_a_zip64_file_is_taken(zipped: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(zipfile, "ZIP_FILECOUNT_LIMIT", 1)  # makes zipfile write the records of 65,536 entries
    zip_of(zipped, {"Dockerfile": DOCKERFILE, "a": "", "b": ""})
    assert b"PK\x06\x06" in zipped.read_bytes()
    monkeypatch.undo()
    assert "b" in context(take(zipped))


def test_a_table_of_contents_far_too_large_is_refused_before_it_is_read(zipped: Path) -> None:
    with zipfile.ZipFile(zipped, "w") as archive:
        add(archive, "a")
        archive.comment = b"x" * 100
        info = zipfile.ZipInfo("b")
        info.comment = b"x" * 60_000
        archive.writestr(info, "")
    words = "bundle: its table of contents is far larger than 2 entries need. Pack many small files into one."
    assert refused(zipped, limits=Limits(entries=2)) == [words]


# --- limits ---------------------------------------------------------------------------------------------------------


def test_a_bundle_of_too_many_bytes_is_refused(zipped: Path) -> None:
    size = good_bundle(zipped).stat().st_size
    words = f"bundle: it has {size} bytes, 100 are allowed. Leave large data out; the lab's data is mounted at /data."
    assert refused(zipped, limits=Limits(bundle_bytes=100)) == [words]


def test_too_many_entries_are_refused(zipped: Path) -> None:
    zip_of(zipped, {"Dockerfile": DOCKERFILE, "a": "", "b": ""})
    words = "bundle: it has 3 entries, 2 are allowed. Pack many small files into one."
    assert refused(zipped, limits=Limits(entries=2)) == [words]


def test_a_zip_bomb_is_refused(zipped: Path) -> None:
    zip_of(zipped, {"Dockerfile": DOCKERFILE, "bomb": bytes(10**6)})
    total = 10**6 + len(DOCKERFILE)
    words = (
        f"bundle: it unpacks to {total} bytes, 100000 are allowed. "
        "Leave large data out; the lab's data is mounted at /data."
    )
    assert refused(zipped, limits=Limits(unpacked_bytes=100_000)) == [words]


def test_a_bomb_that_lies_about_its_size_is_refused(zipped: Path) -> None:
    with_entry(zipped, "bomb", bytes(10**6))
    patched(zipped, struct.pack("<L", 10**6), struct.pack("<L", 10))
    [problem] = refused(zipped, limits=Limits(unpacked_bytes=100_000))
    assert problem == "'bomb': it unpacks to more bytes than it claims. Copy or pack the bundle again."


def test_a_file_that_claims_more_than_it_holds_is_refused(zipped: Path) -> None:
    with_entry(zipped, "a.txt", b"x" * 1000)
    patched(zipped, struct.pack("<L", 1000), struct.pack("<L", 1010))
    assert refused(zipped) == ["'a.txt': 10 bytes or more of it are missing. Copy or pack the bundle again."]


def test_a_dockerfile_of_megabytes_is_refused(zipped: Path) -> None:
    zip_of(zipped, {"Dockerfile": "#" * (2**20 + 1)})
    assert refused(zipped) == ["Dockerfile: it has 1048577 bytes, 1048576 are allowed. Make it shorter."]


# --- entries --------------------------------------------------------------------------------------------------------

AGAIN = "Rename it and pack the bundle again."
BAD_NAMES = {
    "/etc/passwd": "the path is absolute",
    "../outside": "'..' leads out of the bundle",
    "a/../../outside": "'..' leads out of the bundle",
    "a\\b": "the name has a backslash; entries use '/'",
    "C:/windows": "the name begins with a drive letter",
    "a\x1b[2Jb": "the name has control or bidirectional characters",
    "a\nb": "the name has control or bidirectional characters",
    "a\0b": "the name has control or bidirectional characters",
    "a\u202egpj.exe": "the name has control or bidirectional characters",
    "a\u2028b": "the name has control or bidirectional characters",
    "x" * 256: "the name is too long (255 bytes a part, 1024 in all)",
    "ü" * 128: "the name is too long (255 bytes a part, 1024 in all)",
    "/".join(["x" * 200] * 6): "the name is too long (255 bytes a part, 1024 in all)",
    "a/" * 32 + "a": "it lies more than 32 folders deep",
    "././": "the name is empty",
    "..\\..\\x": "the name has a backslash; entries use '/'",
    "__MACOSX/../../x": "'..' leads out of the bundle",
}


def test_the_folder_itself_may_be_an_entry_as_tar_writes_it(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text("")
    bundle = tmp_path / "b.tar"
    with tarfile.open(bundle, "w") as tar:
        tar.add(tmp_path, ".", filter=lambda info: None if info.name.endswith(".tar") else info)
        assert tar.getnames() == [".", "./app.py"]
    assert take(bundle).spec.template == "python"


@pytest.mark.parametrize("name", BAD_NAMES)
def test_a_bad_name_is_refused(zipped: Path, name: str) -> None:
    [problem] = refused(with_entry(zipped, name, b"" if name.endswith("/") else b"x"))
    where, words = problem.split(": ", 1) if "C:" not in name else (repr(name), problem.removeprefix(f"{name!r}: "))
    assert words == f"{BAD_NAMES[name]}. {AGAIN}"
    assert where.isprintable()
    assert len(where) < 100


def test_all_that_is_wrong_with_a_name_is_told(zipped: Path) -> None:
    [problem] = refused(with_entry(zipped, "/../a\\b"))
    reasons = "the path is absolute; '..' leads out of the bundle; the name has a backslash; entries use '/'"
    assert problem == f"'/../a\\\\b': {reasons}. {AGAIN}"


def test_a_link_is_refused(zipped: Path) -> None:
    with_entry(zipped, "link", "/etc/passwd", mode=stat.S_IFLNK | 0o777)
    assert refused(zipped) == ["'link': it is a link. Put the file itself into the bundle."]


@pytest.mark.parametrize("form", [stat.S_IFCHR, stat.S_IFBLK, stat.S_IFIFO, stat.S_IFSOCK])
def test_a_special_file_is_refused(zipped: Path, form: int) -> None:
    with_entry(zipped, "odd", b"", mode=form | 0o644)
    assert refused(zipped) == ["'odd': it is neither a file nor a folder. Leave it out."]


def test_a_folder_with_content_of_its_own_is_refused(zipped: Path) -> None:
    with_entry(zipped, "odd/", b"x")
    assert refused(zipped) == ["'odd/': it is a folder with content of its own. Pack the bundle again."]


PLAIN = "Pack the bundle again with plain 'zip -r' or 'tar -czf', without a password."


@pytest.mark.parametrize("flags", [0x1, 0x41, 0x2001])
def test_an_encrypted_entry_is_refused(zipped: Path, flags: int) -> None:
    zip_of(zipped, {"Dockerfile": DOCKERFILE})
    patched_headers(zipped, local={6: struct.pack("<H", flags)}, central={8: struct.pack("<H", flags)})
    assert refused(zipped) == [f"'Dockerfile': it is encrypted. {PLAIN}"]


@pytest.mark.parametrize("method", [1, 9, 12, 14, 93, 99])
def test_an_unknown_compression_is_refused(zipped: Path, method: int) -> None:
    zip_of(zipped, {"Dockerfile": DOCKERFILE})
    patched_headers(zipped, local={8: struct.pack("<H", method)}, central={10: struct.pack("<H", method)})
    words = f"its compression (method {method}) is not taken; deflate and store are"
    assert refused(zipped) == [f"'Dockerfile': {words}. {PLAIN}"]


def test_entries_that_share_their_bytes_are_refused(zipped: Path) -> None:
    zip_of(zipped, {"Dockerfile": DOCKERFILE, "a": "x" * 1000, "b": "x" * 1000})
    data = bytearray(zipped.read_bytes())
    table = [at for at in range(len(data)) if data[at : at + 4] == b"PK\x01\x02"]
    data[table[2] + 42 : table[2] + 46] = data[table[1] + 42 : table[1] + 46]  # b begins where a does
    zipped.write_bytes(data)
    assert f"'a': it overlaps with another entry. {PLAIN}" in refused(zipped)


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize(
    ("first", "second", "words"),
    [
        ("a.txt", "a.txt", "'a.txt': it is there twice"),
        ("a.txt", "./a.txt", "'./a.txt': it is there twice"),
        ("A.txt", "a.txt", "'a.txt': it differs from 'A.txt' only in case"),
        ("Src/a", "src/b", "'src': it differs from 'Src' only in case"),
        ("stra\u00dfe", "STRASSE", "'STRASSE': it differs from 'stra\u00dfe' only in case"),
        ("\u00e9", "e\u0301", "'e\u0301': it differs from '\u00e9' only in how its letters are encoded"),
        ("\u0390", "\u03aa\u0301", "'\u03aa\u0301': it differs from '\u0390' only in how its letters are encoded"),
        ("a", "a/b", "'a': it is there both as a file and as a folder"),
        ("a/b", "a", "'a': it is there both as a file and as a folder"),
    ],
)
def test_names_that_collide_are_refused(zipped: Path, first: str, second: str, words: str) -> None:
    with zipfile.ZipFile(zipped, "w") as archive:
        for name in ("Dockerfile", first, second):
            add(archive, name, DOCKERFILE if name == "Dockerfile" else b"x")
    assert refused(zipped) == [f"{words}. Rename or remove one of them, and pack the bundle again."]


def test_folders_that_paths_imply_count_as_entries(zipped: Path) -> None:
    files: dict[str, Content] = {"Dockerfile": DOCKERFILE} | {f"{n}/a/b/c/d": "" for n in range(5)}
    words = "bundle: it has more than 20 files and folders. Pack many small files into one."
    assert refused(zip_of(zipped, files), limits=Limits(entries=20)) == [words]
    take(zipped, limits=Limits(entries=26))


def test_a_name_of_dots_that_leads_nowhere_is_a_name(zipped: Path) -> None:
    prepared = take(zip_of(zipped, {"Dockerfile": DOCKERFILE, "...": "x", "..a": "y"}))
    assert {"...", "..a"} <= context(prepared).keys()


def test_an_old_zip_program_is_believed_how_it_spells_a_name_in_unicode(zipped: Path) -> None:
    info = zipfile.ZipInfo("caf#U00e9.txt")
    field = struct.pack("<BL", 1, zlib.crc32(b"caf#U00e9.txt")) + "caf\u00e9.txt".encode()
    info.extra = struct.pack("<HH", 0x7075, len(field)) + field
    with zipfile.ZipFile(zipped, "w") as archive:
        add(archive, "Dockerfile", DOCKERFILE)
        archive.writestr(info, "x")
    assert "caf\u00e9.txt" in context(take(zipped))


def test_a_folder_may_have_an_entry_of_its_own_twice(zipped: Path) -> None:
    take(zip_of(zipped, {"Dockerfile": DOCKERFILE, "a/": "", "a/b": "", "./a/": ""}))


def test_a_bad_checksum_is_refused(zipped: Path) -> None:
    with zipfile.ZipFile(zipped, "w", zipfile.ZIP_STORED) as archive:
        add(archive, "Dockerfile", DOCKERFILE)
        add(archive, "data", b"precious")
    patched(zipped, b"precious", b"pRecious")
    problems = refused(zipped)
    assert problems == ["'data': it is damaged: its checksum is wrong. Copy or pack the bundle again."]


def test_a_name_that_differs_between_table_and_entry_is_refused(zipped: Path) -> None:
    with_entry(zipped, "aaaa")
    data = zipped.read_bytes()
    zipped.write_bytes(data.replace(b"aaaa", b"bbbb", 1))
    [problem] = refused(zipped)
    assert problem.startswith("'aaaa': its own header tells another name than the table of contents.")


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_every_problem_of_a_bundle_comes_at_once(zipped: Path) -> None:
    with zipfile.ZipFile(zipped, "w", zipfile.ZIP_STORED) as archive:
        add(archive, "Dockerfile", DOCKERFILE)
        add(archive, "job.toml", "gpus = true\nfoo = 1")
        add(archive, "data", b"precious")
        add(archive, "../x")
        add(archive, "link", "x", mode=stat.S_IFLNK | 0o777)
        add(archive, "a")
        add(archive, "A")
    patched(zipped, b"precious", b"pRecious")
    assert [problem.split(":")[0] for problem in refused(zipped)] == [
        "'../x'",
        "'link'",
        "'A'",
        "'data'",
        "job.toml",
        "job.toml",
    ]


def test_problems_without_end_are_cut_to_fifty(zipped: Path) -> None:
    problems = refused(zip_of(zipped, {f"../{i}": "" for i in range(120)}))
    assert len(problems) == 51
    assert problems[-1] == "bundle: 70 more problems like these. Mend the ones above first."


def test_a_link_in_the_work_folder_leads_nowhere(zipped: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (tmp_path / "work").mkdir()
    (tmp_path / "work" / "context.tar").symlink_to(outside / "file")
    (tmp_path / "work" / "input").symlink_to(outside)
    with pytest.raises(OSError, match="symbolic link"):
        take(zip_of(zipped, {"Dockerfile": DOCKERFILE, "input/a": "1"}))
    assert list(outside.iterdir()) == []
