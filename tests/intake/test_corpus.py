"""Every bundle of the corpus is refused, with its words, and nothing of it reaches the disk."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from tests.intake.corpus import CORPUS
from tests.intake.hostile import Hostile
from tests.intake.judging import USER, reasons, snapshot

JUDGED = [hostile for hostile in CORPUS if hostile.verdict == "invalid" and not hostile.is_folder]


def test_the_corpus_is_large_and_its_names_are_unique() -> None:
    assert len(CORPUS) >= 150
    assert [title for title, times in Counter(hostile.title for hostile in CORPUS).items() if times > 1] == []
    assert [file for file, times in Counter(hostile.file for hostile in CORPUS).items() if times > 1] == []
    assert [hostile.title for hostile in JUDGED if not hostile.words] == []


@pytest.mark.parametrize("hostile", JUDGED, ids=str)
def test_a_hostile_bundle_is_refused_with_its_reason(hostile: Hostile, tmp_path: Path) -> None:
    inbox, state = tmp_path / "inbox" / USER, tmp_path / "state"
    inbox.mkdir(parents=True)
    state.mkdir()
    hostile.write(inbox / hostile.file)
    before = snapshot(tmp_path)
    said = reasons(inbox / hostile.file, state / "work")
    assert snapshot(tmp_path) == before
    assert [word for word in hostile.words if word not in said] == [], said
