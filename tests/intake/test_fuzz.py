"""Whatever is handed in is taken or refused, and what is taken is what every other unpacker would see.

DOPQ_FUZZ_EXAMPLES says how many mutants of each of the eight kinds are tried (scripts/fuzz.sh: 2,000 of each).
"""

from __future__ import annotations

import gzip
import io
import json
import os
import stat
import tarfile
import tempfile
import zipfile
import zlib
from pathlib import Path, PurePosixPath

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dopq.container_handler.archive import Limits
from dopq.container_handler.bundle import Prepared
from dopq.container_handler.container_config import SpecDefaults
from dopq.container_handler.refusal import problems_of
from dopq.container_handler.rules import Rules
from dopq.errors import BundleRejected
from tests.bundles import DOCKERFILE, Content, add, config, zip_of
from tests.intake.hostile_images import saved
from tests.intake.judging import take
from tests.intake.mutation import mutated
from tests.intake.raw_tar import END, FOLDER, LINK, header, long_name, member, pax, tar_bytes
from tests.intake.raw_zip import DEFLATE, STORE, UTF8, Entry, zip_bytes

EXAMPLES = int(os.environ.get("DOPQ_FUZZ_EXAMPLES", "60"))
SMALL = Rules(
    defaults=SpecDefaults(gpus=0, max_time_limit_s=100),
    limits=Limits(bundle_bytes=10**6, unpacked_bytes=10**6, entries=100),
)
Contents = dict[str, bytes]

fuzz = settings(
    max_examples=EXAMPLES, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)

SPEC = config(name="a", num_gpus=1, run_params={"command": ["x"], "environment": {"A": "1"}, "shm_size": "64m"})
FILES: dict[str, Content] = {
    "p/Dockerfile": DOCKERFILE,
    "p/container_config.json": SPEC,
    "p/input/": "",
    "p/input/run.sh": "#!/bin/sh\n" * 50,
}


pytestmark = pytest.mark.filterwarnings("ignore:Generating overly large repr")  # of a failing mutant, all of it helps


def judge(name: str, data: bytes) -> Contents | None:
    """What is in the build context of a file of these bytes; None when it was refused, as any file may be."""
    with tempfile.TemporaryDirectory() as folder:
        top = Path(folder)
        (top / name).write_bytes(data)
        try:
            prepared: Prepared | None = take(top / name, top / "work", SMALL)
        except BundleRejected as refused:
            prepared, problems = None, problems_of(refused)
        else:
            problems = []
        assert all(problem.what and problem.instead for problem in problems)
        assert bool(problems) != bool(prepared)
        written = list(top.rglob("*"))
        assert {path.relative_to(top).parts[0] for path in written} == ({name, "work"} if prepared else {name})
        assert all(stat.S_ISREG(mode) or stat.S_ISDIR(mode) for mode in (path.lstat().st_mode for path in written))
        return contents(prepared) if prepared else None


def contents(prepared: Prepared) -> Contents:
    """Every file of the context, and of the input folder."""
    with tarfile.open(prepared.context) as tar:
        found = {info.name: file.read() for info in tar if (file := tar.extractfile(info))}
    if prepared.input:
        found |= {
            f"input/{path.relative_to(prepared.input)}": path.read_bytes()
            for path in prepared.input.rglob("*")
            if path.is_file()
        }
    return found


# --- zip ------------------------------------------------------------------------------------------------------------


def zip_seed(method: int) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", method) as archive:
        for name, content in FILES.items():
            add(archive, name, content)
    return file.getvalue()


ZIP_SEEDS = [zip_seed(STORE), zip_seed(DEFLATE), zip_bytes([Entry("Dockerfile", DOCKERFILE.encode())], zip64={})]
ZIP_TOKENS = [
    b"PK\3\4", b"PK\1\2", b"PK\5\6", b"PK\6\6", b"PK\6\7", b"PK\7\x08", b"\0\0", b"\xff\xff\xff\xff", b"../", b"/", b"\x08\0",
]  # fmt: skip


@given(mutated(ZIP_SEEDS, ZIP_TOKENS))
@fuzz
def test_a_mutated_zip(data: bytes) -> None:
    if taken := judge("b.zip", data):
        same_as_zipfile_sees(data, taken)


numbers = st.sampled_from([0, 1, 2, 8, 99, 0x7FFF, 0xFFFF]) | st.integers(0, 0xFFFF)
larger = numbers | st.sampled_from([2**31, 2**32 - 1])
lies = st.fixed_dictionaries(
    {},
    optional={
        "flags": numbers, "method": numbers, "crc": larger, "packed": larger, "size": larger,
        "name": st.sampled_from([b"a", b"../a", b"b/"]), "extra": st.binary(max_size=24),
    },
)  # fmt: skip
entries = st.builds(
    Entry,
    name=st.sampled_from(["a", "b", "a/b", "input/c", "Dockerfile"]),
    data=st.binary(max_size=40),
    method=st.sampled_from([STORE, STORE, DEFLATE]),
    flags=st.sampled_from([UTF8, UTF8, UTF8 | 8]),
    local=st.just({}) | lies,
    central=st.just({}) | st.just({}) | lies,
    packed=st.none() | st.none() | st.binary(max_size=20),
    after=st.just(b"") | st.binary(max_size=24),
    offset=st.none() | st.none() | st.none() | st.integers(0, 200),
    is_listed=st.sampled_from([True, True, True, False]),
)
ends = st.fixed_dictionaries(
    {}, optional=dict.fromkeys(("disk", "table_disk", "here", "count", "comment_bytes"), numbers)
)


@given(st.lists(entries, max_size=4), st.just({}) | ends, st.just(b"") | st.binary(max_size=30), st.booleans())
@fuzz
def test_a_zip_whose_fields_lie(listed: list[Entry], end: dict[str, int], comment: bytes, zip64: bool) -> None:
    good = Entry("Dockerfile", DOCKERFILE.encode())
    data = zip_bytes([good, *listed], comment=comment, zip64={} if zip64 else None, **end)
    if taken := judge("b.zip", data):
        same_as_zipfile_sees(data, taken)
        in_sequence = [name for name, _ in read_in_sequence(data)]
        assert len(in_sequence) == len(zipfile.ZipFile(io.BytesIO(data)).namelist())


def same_as_zipfile_sees(data: bytes, taken: Contents) -> None:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        seen = {name: archive.read(name) for name in archive.namelist() if not name.endswith("/")}
    same_files(seen, taken)


def read_in_sequence(data: bytes) -> list[tuple[bytes, int]]:
    """Name and checksum of every entry as an unpacker finds them that reads from the first byte on."""
    found, at = [], 0
    while data[at : at + 4] == b"PK\3\4":
        flags, crc = int.from_bytes(data[at + 6 : at + 8], "little"), int.from_bytes(data[at + 14 : at + 18], "little")
        packed, names, extra = (
            int.from_bytes(data[at + a : at + b], "little") for a, b in ((18, 22), (26, 28), (28, 30))
        )
        found.append((data[at + 30 : at + 30 + names], crc))
        at += 30 + names + extra
        following = [p for p in (data.find(b"PK\3\4", at), data.find(b"PK\1\2", at)) if p >= 0]
        at = min(following) if flags & 8 else at + packed
    return found


def same_files(seen: Contents, taken: Contents) -> None:
    """The same contents, once names are taken from the bundle's own top."""
    by_path = {str(PurePosixPath(name)): zlib.crc32(content) for name, content in seen.items()}
    tops = {PurePosixPath(name).parts[0] for name in by_path}
    for name, content in taken.items():
        assert zlib.crc32(content) in {by_path.get(name), *(by_path.get(f"{top}/{name}") for top in tops)}, name


# --- tar ------------------------------------------------------------------------------------------------------------


def tar_seed(form: int) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w", format=form) as tar:
        for name, content in FILES.items():
            info = tarfile.TarInfo(name.rstrip("/"))
            raw = content.encode() if isinstance(content, str) else content
            info.type, info.size = (tarfile.DIRTYPE, 0) if name.endswith("/") else (tarfile.REGTYPE, len(raw))
            tar.addfile(info, io.BytesIO(raw))
        tar.addfile(tarfile.TarInfo("p/" + "long/" * 30 + "name"))
    return file.getvalue()


TAR_SEEDS = [tar_seed(form) for form in (tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT)]
TAR_TOKENS = [
    b"ustar\x0000", b"ustar  \0", bytes(512), b"0000644\0", b"00000000100\0", b"\x80" + bytes(10) + b"\1", b"\xff" * 12,
    b"../", b"/", b"L", b"x", b"g", b"S", b"1", b"2", b"5", b"30 path=", b"12 size=99\n",
]  # fmt: skip


@given(mutated(TAR_SEEDS, TAR_TOKENS), st.booleans())
@fuzz
def test_a_mutated_tar(data: bytes, mend: bool) -> None:
    data = with_checksums(data) if mend else data
    if taken := judge("b.tar", data):
        same_as_tarfile_sees(data, taken)


def with_checksums(data: bytes) -> bytes:
    """The same with the checksum of every block that looks like a header made right, else few mutants get far."""
    whole = bytearray(data)
    for at in range(0, len(whole) - 511, 512):
        if whole[at + 257 : at + 262] == b"ustar":
            whole[at + 148 : at + 156] = b" " * 8
            whole[at + 148 : at + 156] = b"%06o\0 " % sum(whole[at : at + 512])
    return bytes(whole)


tar_names = st.sampled_from(["a", "b", "a/b", "input/c", "../up", "/abs", "Dockerfile", "a\udcff"])
tar_parts = st.one_of(
    st.builds(member, tar_names, st.binary(max_size=600), st.sampled_from([b"0", b"\0", b"7", FOLDER, LINK, b"1", b"S", b"V"])),
    st.builds(header, tar_names, size=st.integers(0, 2000) | st.binary(min_size=12, max_size=12)),
    st.dictionaries(
        st.sampled_from(["path", "size", "linkpath", "GNU.sparse.major", "comment", "hdrcharset"]),
        st.sampled_from([b"a", b"../up", b"0", b"5", b"-1", b"99999999999999999999", b"a\0b", b""]),
        min_size=1,
        max_size=2,
    ).map(pax),
    st.binary(max_size=200).map(long_name),
    st.sampled_from([bytes(512), bytes(1024), b"x" * 512]),
)  # fmt: skip


@given(st.lists(tar_parts, max_size=5), st.sampled_from([END, END, b"", bytes(512), bytes(10240)]))
@fuzz
def test_a_tar_whose_fields_lie(parts: list[bytes], end: bytes) -> None:
    data = tar_bytes(member("Dockerfile", DOCKERFILE.encode()), *parts, end=end)
    if taken := judge("b.tar", data):
        same_as_tarfile_sees(data, taken)


def same_as_tarfile_sees(data: bytes, taken: Contents) -> None:
    try:
        with tarfile.open(fileobj=io.BytesIO(data), mode="r:") as tar:
            seen = {info.name: file.read() for info in tar if (file := tar.extractfile(info))}
    except tarfile.TarError:
        return  # of owners and times, which nobody uses, tarfile takes fewer spellings
    same_files(seen, taken)


GZIP_SEEDS = [gzip.compress(seed, mtime=0) for seed in TAR_SEEDS[:2]] + [gzip.compress(TAR_SEEDS[0], 0, mtime=0)]


@given(mutated(GZIP_SEEDS, [b"\x1f\x8b\x08", b"\0\0\xff\xff", bytes(8), bytes(512)], most_edits=3))
@fuzz
def test_a_mutated_tgz(data: bytes) -> None:
    if taken := judge("b.tgz", data):
        same_as_tarfile_sees(gzip.decompress(data), taken)


# --- what decides inside of it --------------------------------------------------------------------------------------

JSON_SEEDS = [
    SPEC.encode(),
    json.dumps({"name": "a", "required_memory": "1.5g", "build_flag": True, "num_slots": 1}).encode(),
]
TOML_SEEDS = [
    b'name = "a"\ngpus = 1\nmemory = "2g"\ntime_limit = "2h"\n[env]\nA = "1"\n',
    b'command = ["a", "b"]\ncpus = 1.5\n',
]
SPEC_TOKENS = [
    b'"', b"'", b"{", b"}", b"[", b"]", b",", b":", b"=", b"NaN", b"1e3", b"true", b"null", b"9" * 400, b"[" * 5000,
    b'"privileged"', b'"NVIDIA_VISIBLE_DEVICES"', b"\\u0000", b"\\ud800", b"\xff\xfe", b"\xef\xbb\xbf", b"-1", b"\xe2\x80\xae",
]  # fmt: skip


def with_file(name: str, content: bytes) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        return zip_of(Path(folder) / "b.zip", {"Dockerfile": DOCKERFILE, "a": "x", name: content}).read_bytes()


@given(mutated(JSON_SEEDS, SPEC_TOKENS) | mutated(TOML_SEEDS, SPEC_TOKENS), st.booleans())
@fuzz
def test_a_mutated_spec(content: bytes, as_json: bool) -> None:
    judge("b.zip", with_file("container_config.json" if as_json else "job.toml", content))


DOCKERFILE_SEEDS = [
    b"# escape=`\nARG BASE=python\nFROM ${BASE}:3 AS one\nRUN <<EOF\nls\nEOF\nFROM scratch\nCOPY --from=one /a /b\n",
    b'FROM python:3\nENV A=1 B="2"\nRUN --mount=type=cache,target=/c \\\n  # a comment\n  pip list\nCMD ["a", "b"]\n',
    b"FROM python:3\nCOPY <<-ONE <<TWO /x/\n\tone\nONE\ntwo\nTWO\nADD a b\nUSER 1000\nONBUILD RUN x\n",
]
DOCKERFILE_TOKENS = [
    b"\n", b"\\\n", b"`\n", b"# escape=`\n", b"# syntax=x\n", b"FROM ", b"--from=", b"--mount=", b"<<EOF", b"EOF\n", b"${", b"}",
    b"$", b'"', b"'", b"[", b"]", b"ARG A=", b":-", b":+", b"dopq/bob/1", b"\xef\xbb\xbf", b"\0", b"\r\n", b"ONBUILD ", b"ADD http://x /\n",
]  # fmt: skip


@given(mutated(DOCKERFILE_SEEDS, DOCKERFILE_TOKENS))
@fuzz
def test_a_mutated_dockerfile(content: bytes) -> None:
    judge("b.zip", with_file("Dockerfile", content))


@given(mutated([saved()], [*TAR_TOKENS, *SPEC_TOKENS, b"sha256:", b"layer.tar", b"RepoTags"]))
@fuzz
def test_a_mutated_image(data: bytes) -> None:
    judge("image.tar", with_checksums(data))
