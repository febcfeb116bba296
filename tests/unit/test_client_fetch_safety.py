"""Whatever the service calls its files, nothing outside the target is touched."""

from __future__ import annotations

import tempfile
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dopq.errors import DopqError, TryAgain, UserError
from dopq_client.results import UnsafePath, safe_parts, write_result

NASTY = st.sampled_from(
    ["..", ".", "", "/", "\\", "C:", "//host/share", "a", "output", "link", "\0", "\n", "~", "-", "é"]
)
PATHS = st.one_of(
    st.lists(NASTY, min_size=1, max_size=5).map("/".join),
    st.lists(NASTY, min_size=1, max_size=5).map("".join),
    st.text(max_size=30),
)


@given(path=PATHS)
def test_no_path_of_the_service_leads_out_of_the_target(path: str) -> None:
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        (root / "outside").mkdir()
        (root / "outside" / "secret").write_text("secret")
        target = root / "target"
        target.mkdir()
        (target / "link").symlink_to(root / "outside")
        (target / "a").symlink_to(root / "outside" / "secret")
        with suppress(DopqError):
            write_result(target, path, 2, True, lambda offset: b"hi"[offset:])
        assert {file.name for file in root.iterdir()} == {"outside", "target"}
        assert [file.name for file in (root / "outside").iterdir()] == ["secret"]
        assert (root / "outside" / "secret").read_text() == "secret"
        assert not list(target.rglob(".dopq-*"))


@pytest.mark.parametrize(
    "path",
    [
        "/etc/passwd",
        "../x",
        "a/../../x",
        "a/..",
        ".",
        "",
        "a//b",
        "C:\\x",
        "C:x",
        "a\\..\\x",
        "\\\\h\\s",
        "a\nb",
        "a\0b",
    ],
)
def test_an_unsafe_path_is_refused_by_name(path: str, tmp_path: Path) -> None:
    with pytest.raises(UnsafePath, match="no safe name"):
        write_result(tmp_path / "target", path, 2, False, lambda _: b"hi")
    assert not (tmp_path / "target").exists()


@pytest.mark.parametrize("path", ["job.log", "output/a b/ü.txt", "output/..a", "output/2026-01-01T12:00:00.csv", "-rf"])
def test_an_ordinary_path_is_taken(path: str, tmp_path: Path) -> None:
    write_result(tmp_path, path, 2, False, lambda offset: b"hi"[offset:])
    assert tmp_path.joinpath(*safe_parts(path)).read_bytes() == b"hi"


def test_a_folder_that_is_a_link_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "target").mkdir()
    (tmp_path / "target" / "output").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(UserError, match="is a link"):
        write_result(tmp_path / "target", "output/x", 2, False, lambda _: b"hi")
    assert not list((tmp_path / "elsewhere").iterdir())


def test_a_file_that_ends_early_leaves_the_older_copy_alone(tmp_path: Path) -> None:
    (tmp_path / "x").write_text("older")
    with pytest.raises(TryAgain, match="ended after 2 of 5 bytes"):
        write_result(tmp_path, "x", 5, False, lambda offset: b"hi"[offset:])
    assert [(file.name, file.read_text()) for file in tmp_path.iterdir()] == [("x", "older")]


def test_a_service_that_sends_without_end_fills_no_disk(tmp_path: Path) -> None:
    write_result(tmp_path, "x", 10, False, lambda _: b"z" * 1000)
    assert (tmp_path / "x").read_bytes() == b"z" * 10


def test_a_file_in_the_way_of_a_folder_is_told(tmp_path: Path) -> None:
    (tmp_path / "output").write_text("")
    with pytest.raises(UserError, match="cannot be written"):
        write_result(tmp_path, "output/x", 2, False, lambda _: b"hi")
