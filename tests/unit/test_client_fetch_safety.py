"""Whatever the service calls its files, nothing outside the target is touched."""

from __future__ import annotations

import tempfile
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dopq.errors import DopqError, UserError
from dopq_client.results import UnsafePath, safe_parts
from dopq_client.target import Target

NASTY = st.sampled_from(
    ["..", ".", "", "/", "\\", "C:", "//host/share", "a", "output", "link", "\0", "\n", "~", "-", "é"]
)
PATHS = st.one_of(
    st.lists(NASTY, min_size=1, max_size=5).map("/".join),
    st.lists(NASTY, min_size=1, max_size=5).map("".join),
    st.text(max_size=30),
)


def put(folder: Path, path: str) -> None:
    with Target(folder) as target:
        target.put(path, b"hi")


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
            put(target, path)
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
        put(tmp_path / "target", path)
    assert not list((tmp_path / "target").iterdir())


@pytest.mark.parametrize("path", ["job.log", "output/a b/ü.txt", "output/..a", "output/2026-01-01T12:00:00.csv", "-rf"])
def test_an_ordinary_path_is_taken(path: str, tmp_path: Path) -> None:
    put(tmp_path, path)
    assert tmp_path.joinpath(*safe_parts(path)).read_bytes() == b"hi"


def test_a_folder_that_is_a_link_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "target").mkdir()
    (tmp_path / "target" / "output").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(UserError, match="is a link"):
        put(tmp_path / "target", "output/x")
    assert not list((tmp_path / "elsewhere").iterdir())


def test_a_file_in_the_way_of_a_folder_is_told(tmp_path: Path) -> None:
    (tmp_path / "output").write_text("")
    with pytest.raises(UserError, match="cannot be written"):
        put(tmp_path, "output/x")
