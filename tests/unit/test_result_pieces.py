"""Results a page at a time and in pieces: all of them, each once, and no answer larger than it may be."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dopq import result_files, result_pieces
from dopq.errors import NotFound
from dopq.result_files import page
from dopq.result_pieces import pieces, sums

NAMES = ("job.log", "output")


def listed(folder: Path) -> list[str]:
    paths, after = list[str](), ""
    while True:
        some = page(folder, NAMES, after)
        paths += [file.path for file in some.files]
        if some.next is None:
            return paths
        after = some.next


@settings(max_examples=60, deadline=None)
@given(
    paths=st.sets(
        st.lists(st.sampled_from(["a", "a.b", "b", "é", "Z"]), min_size=1, max_size=4).map(tuple), max_size=20
    ),
    most=st.integers(1, 4),
    entries=st.integers(1, 5),
)
def test_pages_together_have_every_file_once_and_in_order(paths: set[tuple[str, ...]], most: int, entries: int) -> None:
    with tempfile.TemporaryDirectory() as name, pytest.MonkeyPatch.context() as patch:
        patch.setattr(result_files, "PAGE_FILES", most)
        patch.setattr(result_files, "PAGE_ENTRIES", entries)
        patch.setattr(result_files, "_SORTED", 2)
        folder = Path(name)
        wanted = list[tuple[str, ...]]()
        for parts in sorted(paths):
            file = folder.joinpath("output", *parts)
            if not file.exists() and not any(
                folder.joinpath("output", *parts[:n]).is_file() for n in range(len(parts))
            ):
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_text("")
                wanted.append(("output", *parts))
        (folder / "secret").write_text("")
        (folder / "job.log").write_text("")
        assert [tuple(path.split("/")) for path in listed(folder)] == [("job.log",), *sorted(wanted)]


def test_a_page_of_many_thousand_files_has_a_thousand(tmp_path: Path) -> None:
    (tmp_path / "output").mkdir()
    for number in range(2500):
        (tmp_path / "output" / f"{number:05}").touch()
    sizes = []
    after: str | None = ""
    while after is not None:
        some = page(tmp_path, NAMES, after)
        sizes.append(len(some.files))
        after = some.next
    assert sizes == [1000, 1000, 500]


class Files:
    def __init__(self, **files: bytes) -> None:
        self.files = files

    @contextmanager
    def opened(self, path: str) -> Iterator[int]:
        if path not in self.files:
            raise NotFound("No.")
        with tempfile.TemporaryFile() as file:
            file.write(self.files[path])
            file.flush()
            yield file.fileno()


def test_many_small_files_come_in_one_answer_and_the_last_as_far_as_there_is_room(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(result_pieces, "ANSWER_BYTES", 10)
    files = Files(a=b"1234", b=b"", c=b"56789abcdef", d=b"x")
    answer = list(pieces(files.opened, ["a", "gone", "b", "c", "d"], 1))
    assert [piece.data if piece else None for piece in answer] == [b"234", None, b"", b"56789ab"]
    assert all(piece.sha256 == hashlib.sha256(piece.data).hexdigest() for piece in answer if piece)
    assert answer[3]
    assert answer[3].size == 11


@settings(max_examples=50, deadline=None)
@given(contents=st.lists(st.binary(max_size=30), min_size=1, max_size=4), first=st.integers(0, 3))
def test_checksums_are_those_of_the_blocks_however_many_answers_it_takes(contents: list[bytes], first: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(result_pieces, "BLOCK_BYTES", 4)
        patch.setattr(result_pieces, "SUMMED_BYTES", 8)
        files = Files(**{f"f{n}": content for n, content in enumerate(contents)})
        for number, answer in enumerate(sums(files.opened, list(files.files), 4 * first)):
            assert answer
            content, begin = contents[number], 0 if number else 4 * first
            blocks = [content[at : at + 4] for at in range(begin, len(content), 4)]
            told = [hashlib.sha256(block).hexdigest() for block in blocks]
            assert answer.sha256 == told[: len(answer.sha256)]
            assert len(answer.sha256) <= 2
            assert answer.sha256 or not told


def test_a_checksum_reads_no_more_than_an_answer_may(monkeypatch: pytest.MonkeyPatch) -> None:
    read = list[int]()
    real = os.pread
    monkeypatch.setattr(os, "pread", lambda *args: (read.append(args[1]), real(*args))[1])
    files = Files(a=b"x" * (result_pieces.BLOCK_BYTES + 1))
    [answer] = sums(files.opened, ["a"], 0)
    assert answer
    assert len(answer.sha256) == 2
    assert max(read) <= 2**20
