"""What can wait gives way to those who start containers, and not for ever."""

from __future__ import annotations

import threading

from dopq.starts import Starts


def test_nobody_waits_where_nobody_starts_anything() -> None:
    assert Starts().give_way(quiet_s=5.0, limit_s=5.0)


def test_a_start_that_is_under_way_is_waited_for_and_so_is_the_quiet_behind_it() -> None:
    starts, gave_way = Starts(), list[bool]()
    with starts.one():
        waiting = threading.Thread(target=lambda: gave_way.append(starts.give_way(quiet_s=0.01, limit_s=30.0)))
        waiting.start()
        assert gave_way == []
    waiting.join()
    assert gave_way == [True]


def test_a_start_that_takes_too_long_is_not_waited_for() -> None:
    starts = Starts()
    with starts.one():
        assert not starts.give_way(quiet_s=0.0, limit_s=0.01)


def test_one_that_is_expected_counts_like_one_that_was_made() -> None:
    starts = Starts()
    starts.expect_one()
    assert not starts.give_way(quiet_s=30.0, limit_s=0.01)
