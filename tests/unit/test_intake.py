"""The inbox: half-copied files are waited for, and what is taken is what was looked at, whoever swaps it meanwhile."""

from __future__ import annotations

import os
import zipfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dopq.intake import Drop, copy_to_spool, look_into, remove_drop, users_of
from dopq.settling import Settling
from dopq.stamp import Stamp
from tests.platforms import ANNA, BERT, open_descriptors


@pytest.fixture
def inbox(tmp_path: Path) -> Path:
    (tmp_path / "inbox" / "anna").mkdir(parents=True)
    return tmp_path / "inbox"


@pytest.fixture
def spool(tmp_path: Path) -> Path:
    (tmp_path / "spool").mkdir()
    return tmp_path / "spool"


def scan(inbox: Path) -> dict[Drop, Stamp]:
    """What a look into every user's inbox finds."""
    found = [look_into(inbox / user, user, (), 1000).drops for user in users_of(inbox)]
    return {drop: stamp for drops in found for drop, stamp in drops.items()}


def drop(inbox: Path, name: str = "x.zip", content: bytes = b"content") -> Drop:
    (inbox / "anna" / name).write_bytes(content)
    return Drop(ANNA, inbox / "anna" / name)


def stamp_of(drop: Drop) -> Stamp:
    return Stamp.of(os.lstat(drop.path))


def a_zip(path: Path) -> bytes:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("Dockerfile", "FROM scratch\n" * 50)
    return path.read_bytes()


# --- what is there ---


def test_whoever_drops_there_is_that_user(inbox: Path) -> None:
    (inbox / "bert").mkdir()
    (inbox / "bert" / "y.tar").write_bytes(b"")
    anna = drop(inbox)
    assert scan(inbox) == {anna: stamp_of(anna), (b := Drop(BERT, inbox / "bert" / "y.tar")): stamp_of(b)}


@pytest.mark.parametrize(
    "name",
    [
        ".x.zip",
        "x.zip.part",
        "x.zip.PART",
        "x.tmp",
        "x.crdownload",
        "x.zip.filepart",
        "x.zip~",
        ".dopq-1.tmp",
        "x.partial",
    ],
)
def test_temporary_names_are_passed_over(inbox: Path, name: str) -> None:
    drop(inbox, name)
    assert scan(inbox) == {}


def test_links_and_special_files_are_passed_over(inbox: Path, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("x")
    (inbox / "anna" / "link.zip").symlink_to(tmp_path / "secret")
    (inbox / "anna" / "linked-folder").symlink_to(tmp_path)
    os.mkfifo(inbox / "anna" / "pipe.zip")
    (inbox / "loose.zip").write_text("x")
    (inbox / "linked").symlink_to(tmp_path)
    assert scan(inbox) == {}


def test_an_inbox_that_is_away_is_told_from_an_empty_one(inbox: Path, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        users_of(tmp_path / "nowhere")
    assert look_into(inbox / "gone", ANNA, (), 10).drops == {}


def test_a_folder_whose_name_is_no_text_is_nobodys(inbox: Path) -> None:
    folder = Path(os.fsdecode(os.fsencode(inbox) + b"/caf\xe9"))
    folder.mkdir()
    (folder / "x.zip").write_bytes(b"x")
    assert scan(inbox) == {}


def test_a_file_whose_name_is_no_text_gets_a_name_that_can_be_stored(inbox: Path) -> None:
    Path(os.fsdecode(os.fsencode(inbox / "anna") + b"/caf\xe9.zip")).write_bytes(b"x")
    (found,) = scan(inbox)
    assert found.name == "caf\ufffd.zip"
    assert found.key(stamp_of(found)).isascii()


@given(st.binary(min_size=1, max_size=40).filter(lambda name: b"/" not in name and b"\0" not in name))
def test_a_bundles_name_is_always_printable_text(name: bytes) -> None:
    bundle = Drop(ANNA, Path("/inbox/anna", os.fsdecode(name))).name if name not in {b".", b".."} else "x"
    assert bundle.isprintable()
    bundle.encode()


# --- standing still ---


def looks(settling: Settling, *seen: tuple[float, Stamp | None]) -> list[float | None]:
    thing = Drop(ANNA, Path("/inbox/anna/x.zip"))
    answers = [settling.look({thing: stamp} if stamp else {}, now_s) for now_s, stamp in seen]
    return [answer.get(thing) for answer in answers]


SMALL, LARGE = Stamp(1, 2, 10, 5, 5), Stamp(1, 2, 20, 6, 6)
REPLACED = Stamp(1, 3, 10, 5, 7)


def test_a_file_is_taken_when_it_stood_still_between_two_looks_and_long_enough() -> None:
    assert looks(Settling(0.2), (0.0, SMALL), (0.1, SMALL), (0.2, SMALL)) == [None, None, 0.2]


def test_a_growing_file_is_waited_for() -> None:
    assert looks(Settling(0.2), (0.0, SMALL), (5.0, LARGE), (5.1, LARGE), (5.3, LARGE)) == [
        None,
        None,
        None,
        pytest.approx(0.3),
    ]


def test_a_file_that_was_replaced_by_one_of_the_same_size_begins_anew() -> None:
    assert looks(Settling(0.2), (0.0, SMALL), (0.3, REPLACED), (0.6, REPLACED)) == [None, None, pytest.approx(0.3)]


def test_a_file_that_was_away_begins_anew() -> None:
    assert looks(Settling(0.2), (0.0, SMALL), (1.0, None), (2.0, SMALL), (2.3, SMALL)) == [
        None,
        None,
        None,
        pytest.approx(0.3),
    ]


def test_one_look_is_never_enough_however_long_ago() -> None:
    assert looks(Settling(0.2), (1e9, SMALL)) == [None]


@given(st.lists(st.tuples(st.floats(0.01, 10.0), st.sampled_from([SMALL, LARGE, REPLACED, None])), max_size=12))
def test_what_is_taken_was_the_same_in_every_look_for_that_long(steps: list[tuple[float, Stamp | None]]) -> None:
    now_s, seen = 0.0, list[tuple[float, Stamp | None]]()
    for span_s, stamp in steps:
        now_s += span_s
        seen.append((now_s, stamp))
    for number, still_s in enumerate(looks(Settling(0.2), *seen)):
        if still_s is not None:
            assert still_s >= 0.2
            since = seen[number][0] - still_s
            assert {stamp for at, stamp in seen[: number + 1] if at >= since - 1e-9} == {seen[number][1]}


# --- taking ---


def test_a_copy_is_whole_and_repeating_it_gives_the_same_key(inbox: Path, spool: Path) -> None:
    it = drop(inbox, content=b"x" * 3_000_000)
    key = copy_to_spool(it, stamp_of(it), spool)
    assert key is not None
    assert copy_to_spool(it, stamp_of(it), spool) == key
    assert [path.name for path in spool.iterdir()] == [key]
    assert (spool / key).read_bytes() == b"x" * 3_000_000


def test_half_a_copy_of_a_former_life_is_made_anew(inbox: Path, spool: Path) -> None:
    it = drop(inbox)
    (spool / f"{it.key(stamp_of(it))}.part").write_bytes(b"half a copy, longer than the whole")
    key = copy_to_spool(it, stamp_of(it), spool)
    assert key is not None
    assert (spool / key).read_bytes() == b"content"


@pytest.mark.parametrize("swap", ["link", "fifo", "folder", "file", "longer", "gone"])
def test_what_is_no_longer_what_was_looked_at_is_not_taken(inbox: Path, spool: Path, tmp_path: Path, swap: str) -> None:
    (tmp_path / "secret").write_bytes(b"content")
    it = drop(inbox)
    stamp = stamp_of(it)
    descriptors = open_descriptors()
    if swap == "longer":
        with it.path.open("ab") as file:
            file.write(b"x")
    else:
        it.path.rename(tmp_path / "old")
    match swap:
        case "link":
            it.path.symlink_to(tmp_path / "old")
        case "fifo":
            os.mkfifo(it.path)
        case "folder":
            it.path.mkdir()
        case "file":
            it.path.write_bytes(b"content")
    assert copy_to_spool(it, stamp, spool) is None
    assert list(spool.iterdir()) == []
    assert open_descriptors() == descriptors


def test_a_file_that_grows_while_it_is_copied_is_not_taken(
    inbox: Path, spool: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    it = drop(inbox)
    stamp, real = stamp_of(it), os.sendfile

    def growing(out: int, source: int, offset: int | None, count: int) -> int:
        sent = real(out, source, offset, 3)
        if sent and it.path.stat().st_size == 7:
            it.path.write_bytes(b"content and more")
        return sent

    monkeypatch.setattr(os, "sendfile", growing)
    assert copy_to_spool(it, stamp, spool) is None
    assert list(spool.iterdir()) == []


def test_a_file_that_is_dropped_again_has_another_key(inbox: Path) -> None:
    it = drop(inbox)
    first = it.key(stamp_of(it))
    it.path.unlink()
    again = drop(inbox)
    assert again == it
    assert again.key(stamp_of(again)) != first


def test_two_users_drops_have_two_keys() -> None:
    path = Path("/inbox/anna/x.zip")
    assert Drop(ANNA, path).key(SMALL) != Drop(BERT, path).key(SMALL)


# --- removing ---


def test_a_drop_is_removed_once(inbox: Path) -> None:
    it = drop(inbox)
    stamp = stamp_of(it)
    remove_drop(it, stamp)
    remove_drop(it, stamp)
    assert scan(inbox) == {}


def test_a_later_drop_of_the_same_name_stays(inbox: Path) -> None:
    it = drop(inbox)
    stamp = stamp_of(it)
    it.path.unlink()
    drop(inbox, content=b"newer")
    remove_drop(it, stamp)
    assert it.path.read_bytes() == b"newer"
