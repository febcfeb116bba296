"""Uploads: whatever is lost on the way or said twice, what arrives is what was sent, once."""

from __future__ import annotations

import hashlib
import os
import tempfile
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dopq.disk import Floor, shortage
from dopq.errors import NotAllowed, NotFound, TryAgain, UserError
from dopq.job import UserName
from dopq.uploads import ABANDONED_S, MOST_UNFINISHED, Uploads, upload_id
from dopq.utils.cpu import Disk
from tests.platforms import ANNA, BERT

KEY = "laptop-0001"
DATA = bytes(range(256)) * 4
SHA256 = hashlib.sha256(DATA).hexdigest()


@pytest.fixture
def uploads(tmp_path: Path) -> Uploads:
    (tmp_path / "uploads").mkdir()
    (tmp_path / "spool").mkdir()
    return Uploads(tmp_path / "uploads", tmp_path / "spool", max_bytes=2000, shortage=lambda _bytes: None)


def send(uploads: Uploads, data: bytes = DATA, user: UserName = ANNA, begin: int = 0) -> None:
    for at in range(begin, len(data), 100):
        assert uploads.append(user, KEY, at, data[at : at + 100]) == min(at + 100, len(data))


def test_what_arrives_is_what_was_sent(uploads: Uploads) -> None:
    assert uploads.begin(ANNA, KEY, len(DATA)) == (upload_id(ANNA, KEY), 0)
    send(uploads)
    spooled = uploads.finish(ANNA, KEY, SHA256)
    assert (uploads.spool / spooled).read_bytes() == DATA
    assert list(uploads.folder.iterdir()) == []


def test_a_repeated_chunk_changes_nothing(uploads: Uploads) -> None:
    uploads.begin(ANNA, KEY, len(DATA))
    send(uploads)
    assert uploads.append(ANNA, KEY, 200, DATA[200:300]) == len(DATA)
    assert (uploads.spool / uploads.finish(ANNA, KEY, SHA256)).read_bytes() == DATA


@given(st.permutations(range(0, len(DATA), 128)), st.data())
def test_in_whatever_order_chunks_come_a_client_that_heeds_the_answers_gets_through(
    order: list[int], data: st.DataObject
) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "spool").mkdir()
        heed_the_answers(Uploads(folder, folder / "spool", 2000, lambda _bytes: None), order, data)


def heed_the_answers(uploads: Uploads, order: list[int], data: st.DataObject) -> None:
    _, here = uploads.begin(ANNA, KEY, len(DATA))
    for at in order:
        if at <= here:
            here = uploads.append(ANNA, KEY, at, DATA[at : at + 128])
        else:
            with pytest.raises(UserError, match=f"{here} bytes are here"):
                uploads.append(ANNA, KEY, at, DATA[at : at + 128])
    while here < len(DATA):
        here = uploads.append(ANNA, KEY, here, DATA[here : here + data.draw(st.integers(1, 300))])
    assert (uploads.spool / uploads.finish(ANNA, KEY, SHA256)).read_bytes() == DATA


def test_a_gap_is_refused_with_where_to_go_on(uploads: Uploads) -> None:
    uploads.begin(ANNA, KEY, len(DATA))
    uploads.append(ANNA, KEY, 0, DATA[:100])
    with pytest.raises(UserError, match="100 bytes are here"):
        uploads.append(ANNA, KEY, 200, DATA[200:300])


def test_a_negative_offset_is_refused(uploads: Uploads) -> None:
    uploads.begin(ANNA, KEY, len(DATA))
    with pytest.raises(UserError):
        uploads.append(ANNA, KEY, -1, b"x")


def test_an_upload_goes_on_after_a_restart(uploads: Uploads) -> None:
    uploads.begin(ANNA, KEY, len(DATA))
    send(uploads, DATA[:500])
    reborn = replace(uploads)
    assert reborn.begin(ANNA, KEY, len(DATA))[1] == 500
    send(reborn, begin=500)
    assert (reborn.spool / reborn.finish(ANNA, KEY, SHA256)).read_bytes() == DATA


def test_a_wrong_checksum_drops_the_upload_so_that_it_can_begin_anew(uploads: Uploads) -> None:
    uploads.begin(ANNA, KEY, len(DATA))
    send(uploads, b"?" + DATA[1:])
    with pytest.raises(UserError, match="damaged"):
        uploads.finish(ANNA, KEY, SHA256)
    assert list(uploads.spool.iterdir()) == []
    assert uploads.begin(ANNA, KEY, len(DATA))[1] == 0
    send(uploads)
    uploads.finish(ANNA, KEY, SHA256)


def test_half_an_upload_is_not_taken_for_a_whole(uploads: Uploads) -> None:
    uploads.begin(ANNA, KEY, len(DATA))
    send(uploads, DATA[:500])
    with pytest.raises(UserError, match="damaged"):
        uploads.finish(ANNA, KEY, SHA256)


def test_finishing_twice_gives_the_same_answer(uploads: Uploads) -> None:
    uploads.begin(ANNA, KEY, len(DATA))
    send(uploads)
    assert uploads.finish(ANNA, KEY, SHA256) == uploads.finish(ANNA, KEY, SHA256)
    assert uploads.begin(ANNA, KEY, len(DATA))[1] == len(DATA), "the client sees that all is here"


def test_two_users_with_the_same_key_do_not_meet(uploads: Uploads) -> None:
    other = b"x" * 300
    for user, data in ((ANNA, DATA), (BERT, other)):
        uploads.begin(user, KEY, len(data))
        send(uploads, data, user)
    annas = uploads.finish(ANNA, KEY, SHA256)
    berts = uploads.finish(BERT, KEY, hashlib.sha256(other).hexdigest())
    assert (uploads.spool / annas).read_bytes() == DATA
    assert (uploads.spool / berts).read_bytes() == other


@given(st.tuples(st.text(), st.text()), st.tuples(st.text(), st.text()))
def test_no_two_users_and_keys_share_an_upload(one: tuple[str, str], other: tuple[str, str]) -> None:
    if "\0" not in one[0] + other[0]:  # no user's name has one
        assert (upload_id(UserName(one[0]), one[1]) == upload_id(UserName(other[0]), other[1])) == (one == other)


@pytest.mark.parametrize("key", ["../../etc/passwd", "/etc/passwd", "x\0y", "a/b", "." * 8, "k" * 100])
def test_a_key_is_no_path(uploads: Uploads, key: str) -> None:
    uploads.begin(ANNA, key, 10)
    assert [path.parent for path in uploads.folder.iterdir()] == [uploads.folder]


@pytest.mark.parametrize("size", [0, -1, 2001, 2**63])
def test_what_is_too_large_or_empty_is_refused_at_the_beginning(uploads: Uploads, size: int) -> None:
    with pytest.raises(UserError, match=str(size)):
        uploads.begin(ANNA, KEY, size)
    assert list(uploads.folder.iterdir()) == []


def test_nobody_sends_more_than_the_limit_whatever_they_said_at_the_beginning(uploads: Uploads) -> None:
    uploads.begin(ANNA, KEY, 10)
    uploads.append(ANNA, KEY, 0, b"x" * 2000)
    with pytest.raises(UserError):
        uploads.append(ANNA, KEY, 2000, b"x")


def test_what_was_not_begun_is_not_found(uploads: Uploads) -> None:
    with pytest.raises(NotFound):
        uploads.append(ANNA, KEY, 0, b"x")
    with pytest.raises(NotFound):
        uploads.finish(ANNA, KEY, SHA256)


def test_a_client_that_begins_again_after_its_upload_was_complete_gets_through(uploads: Uploads) -> None:
    uploads.begin(ANNA, KEY, len(DATA))
    send(uploads)
    spooled = uploads.finish(ANNA, KEY, SHA256)  # and the node dies before it can say so
    assert uploads.begin(ANNA, KEY, len(DATA)) == (spooled, len(DATA))
    assert uploads.append(ANNA, KEY, 0, DATA[:100]) == len(DATA)
    assert uploads.finish(ANNA, KEY, SHA256) == spooled
    assert (uploads.spool / spooled).read_bytes() == DATA


def test_a_user_has_few_unfinished_uploads_and_others_are_not_held_up(uploads: Uploads) -> None:
    for number in range(MOST_UNFINISHED):
        uploads.begin(ANNA, f"{KEY}{number}", 10)
    with pytest.raises(NotAllowed, match="8 uploads of yours are unfinished"):
        uploads.begin(ANNA, KEY, len(DATA))
    uploads.begin(ANNA, f"{KEY}0", 10)
    uploads.begin(BERT, KEY, len(DATA))
    uploads.append(ANNA, f"{KEY}0", 0, b"x")
    uploads.finish(ANNA, f"{KEY}0", hashlib.sha256(b"x").hexdigest())
    uploads.begin(ANNA, KEY, len(DATA))


def test_no_upload_takes_the_disk_below_its_floor_whatever_size_it_began_with(uploads: Uploads) -> None:
    def probe(folder: Path) -> Disk:
        return Disk(folder, 10_000, 5000 - sum(file.stat().st_size for file in folder.iterdir()))

    tight = replace(uploads, shortage=lambda more: shortage([uploads.folder], Floor(4500, 0), probe, more))
    with pytest.raises(TryAgain, match="Waiting for space"):
        tight.begin(ANNA, KEY, 501)
    assert list(uploads.folder.iterdir()) == []
    tight.begin(ANNA, KEY, 500)
    tight.append(ANNA, KEY, 0, b"x" * 400)
    with pytest.raises(TryAgain, match="Waiting for space"):
        tight.append(ANNA, KEY, 400, b"x" * 101)
    assert tight.begin(ANNA, KEY, 500)[1] == 400, "only the rest needs space"


def test_what_has_not_grown_for_a_day_is_swept(uploads: Uploads) -> None:
    now = datetime.now(UTC)
    for key, idle_s in (("idle-key", ABANDONED_S + 1), ("busy-key", ABANDONED_S - 60)):
        uploads.begin(ANNA, key, 10)
        (newest,) = (file for file in uploads.folder.iterdir() if upload_id(ANNA, key) in file.name)
        os.utime(newest, ((now - timedelta(seconds=idle_s)).timestamp(),) * 2)
    uploads.sweep(now)
    assert [file.name.partition(".")[0] for file in uploads.folder.iterdir()] == [upload_id(ANNA, "busy-key")]
