"""Whatever bytes come in: a bundle is taken or refused, and nothing is written outside its work folder."""

from __future__ import annotations

import io
import stat
import tempfile
import warnings
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from dopq.container_handler.archive import Kind, Limits, Member, entry_problems
from dopq.container_handler.bundle import Prepared, prepare
from dopq.container_handler.container_config import SpecDefaults
from dopq.container_handler.refusal import problems_of
from dopq.container_handler.rules import Rules
from dopq.errors import BundleRejected
from tests.bundles import DOCKERFILE, add, config

LIMITS = Limits(bundle_bytes=10**6, unpacked_bytes=10**6, entries=100)


def seeds() -> Iterator[bytes]:
    for method in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        file = io.BytesIO()
        with zipfile.ZipFile(file, "w", method) as archive:
            archive.comment = b"made by a test"
            add(archive, "p/Dockerfile", DOCKERFILE)
            add(archive, "p/container_config.json", config(name="a", num_gpus=1, run_params={"command": "x"}))
            add(archive, "p/input/", "")
            add(archive, "p/input/run.sh", "#!/bin/sh\n" * 50, mode=stat.S_IFREG | 0o755)
        yield file.getvalue()


SEEDS = list(seeds())


@contextmanager
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as name:
        yield Path(name)


def take(data: bytes) -> Prepared | None:
    """The bundle as far as it was taken, after a look that all that was written lies where it belongs."""
    with folder() as top:
        bundle = top / "bundle.zip"
        bundle.write_bytes(data)
        prepared = None
        try:
            with bundle.open("rb") as file:
                prepared = prepare(
                    file,
                    top / "work",
                    bundle_name=bundle.name,
                    default_name="bundle",
                    user="ada",
                    rules=Rules(SpecDefaults(gpus=0, max_time_limit_s=100), LIMITS),
                )
        except BundleRejected as refused:
            problems = problems_of(refused)
            assert problems
            assert all(problem.what and problem.instead for problem in problems)
        written = {path.relative_to(top).parts[0] for path in top.rglob("*")}
        assert written == ({"bundle.zip", "work"} if prepared else {"bundle.zip"})
        assert all(stat.S_ISREG(mode) or stat.S_ISDIR(mode) for mode in (p.lstat().st_mode for p in top.rglob("*")))
        return prepared


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    """A good zip with a few bytes changed, cut out, doubled or put in."""
    data = bytearray(draw(st.sampled_from(SEEDS)))
    for _ in range(draw(st.integers(1, 6))):
        at = draw(st.integers(0, len(data)))
        match draw(st.sampled_from(["set", "set", "set", "cut", "insert", "double"])):
            case "set":
                new = draw(
                    st.sampled_from([b"\0", b"\xff", b"\xff" * 4, b"PK\x01\x02", b"/", b".."]) | st.binary(max_size=4)
                )
                data[at : at + len(new)] = new
            case "cut":
                del data[at : at + draw(st.integers(1, 64))]
            case "insert":
                data[at:at] = draw(st.binary(max_size=64))
            case "double":
                data[at:at] = data[at : at + draw(st.integers(1, 256))]
    return bytes(data)


@given(mutated())
@settings(max_examples=1500, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_a_mutated_zip_is_taken_or_refused(data: bytes) -> None:
    take(data)


@given(st.binary(max_size=300))
@example(b"PK\x05\x06" + bytes(18))
@settings(deadline=None)
def test_any_bytes_are_taken_or_refused(data: bytes) -> None:
    assert take(data) is None


def test_the_seeds_are_taken() -> None:
    for data in SEEDS:
        assert take(data) is not None


names = st.lists(
    st.sampled_from(
        ["a", "A", "b", "..", ".", "", "input", "code", "app.py", "Dockerfile", "__MACOSX", "._x", "\0", "\\", "C:"]
    )
    | st.text(max_size=5),
    min_size=1,
    max_size=4,
).map("/".join)
modes = st.sampled_from([stat.S_IFREG | 0o644, stat.S_IFREG | 0o4755, stat.S_IFLNK | 0o777, stat.S_IFIFO | 0o600, 0])


@given(st.lists(st.tuples(names, st.binary(max_size=20), modes), max_size=6))
@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_a_zip_of_any_names_and_modes_is_taken_or_refused(entries: list[tuple[str, bytes, int]]) -> None:
    file = io.BytesIO()
    with warnings.catch_warnings(), zipfile.ZipFile(file, "w") as archive:
        warnings.simplefilter("ignore")  # zipfile warns of duplicate names
        for name, content, mode in entries:
            try:
                add(archive, name, content, mode=mode)
            except UnicodeEncodeError:
                continue  # Python itself cannot write a lone surrogate
    take(file.getvalue())


members = st.builds(
    Member, name=names, kind=st.sampled_from([Kind.FILE, Kind.FOLDER]), size=st.just(0), executable=st.booleans()
)


@given(st.lists(members, max_size=6))
def test_names_without_a_problem_stay_inside_and_apart(entries: list[Member]) -> None:
    if entry_problems(entries, LIMITS):
        return
    paths = [entry.path for entry in entries if entry.kind is Kind.FILE]
    folded = [str(path).casefold() for path in paths]
    assert len(folded) == len(set(folded))
    for path in paths:
        assert not path.is_absolute()
        assert ".." not in path.parts
        assert path != PurePosixPath()
        assert not set(path.parents) & set(paths)
