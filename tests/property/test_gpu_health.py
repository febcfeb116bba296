"""How GPUs are, from look to look: nothing broken is handed out, nothing healthy is kept back for ever."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from dopq.gpu_health import BACK, LOST, Health, after_look, from_json, healed, to_json
from dopq.gpu_offer import FRESH_S, offer
from dopq.job import GpuId
from dopq.xids import HARDWARE

START = datetime(2026, 1, 5, 9, 0, tzinfo=UTC)
GPUS = [GpuId(f"GPU-{number}") for number in range(3)]
APPLICATION = [13, 31, 43, 45, 68, 69, 94]

xids = st.lists(st.tuples(st.sampled_from(GPUS), st.sampled_from([*HARDWARE, *APPLICATION])), max_size=2)
looks = st.lists(st.tuples(st.sets(st.sampled_from(GPUS)), xids), max_size=12)


def after(looks: list[tuple[set[GpuId], list[tuple[GpuId, int]]]]) -> dict[GpuId, Health]:
    known: dict[GpuId, Health] = {}
    for number, (seen, reported) in enumerate(looks):
        known = after_look(known, dict.fromkeys(seen, "A100"), reported, START + timedelta(seconds=number))
    return known


def handed_out(known: dict[GpuId, Health], silent_s: float = 0.0) -> set[GpuId]:
    made = offer(known, frozenset(), {}, silent_s, None)
    return set(made.models) - set(made.withheld)


@given(looks)
def test_what_does_not_answer_is_not_handed_out(looks: list[tuple[set[GpuId], list[tuple[GpuId, int]]]]) -> None:
    if looks:
        assert handed_out(after(looks)) <= looks[-1][0]


@given(looks)
def test_whatever_happened_a_gpu_that_comes_back_from_being_lost_is_handed_out_again(
    looks: list[tuple[set[GpuId], list[tuple[GpuId, int]]]],
) -> None:
    everything, nothing = set(GPUS), set[GpuId]()
    assert (
        handed_out(after([*looks, *[(nothing, [])] * LOST, *[(everything, [])] * BACK]))
        == {gpu for gpu in GPUS if any(gpu in seen for seen, _ in looks)} | everything
    )


@given(looks, st.sampled_from(APPLICATION))
def test_the_xid_of_an_application_changes_nothing(
    looks: list[tuple[set[GpuId], list[tuple[GpuId, int]]]], code: int
) -> None:
    with_it = [(seen, [*reported, (GPUS[0], code)]) for seen, reported in looks]
    assert after(looks) == after(with_it)


@given(looks, st.integers(0, 5))
def test_a_hardware_xid_keeps_its_gpu_back_alone_and_for_as_long_as_it_answers(
    looks: list[tuple[set[GpuId], list[tuple[GpuId, int]]]], more: int
) -> None:
    sound = [(seen | set(GPUS), []) for seen, _ in looks]
    known = after([*sound, (set(GPUS), [(GPUS[0], 79)]), *[(set(GPUS), [])] * more])
    assert handed_out(known) == set(GPUS[1:])
    assert known[GPUS[0]].is_broken
    assert handed_out(healed(known, {GPUS[0]: START + timedelta(hours=1)})) == set(GPUS)


def test_a_word_that_is_older_than_the_fault_heals_nothing() -> None:
    known = after([(set(GPUS), []), (set(GPUS), [(GPUS[0], 48)])])
    assert healed(known, {GPUS[0]: START}) == known


def test_one_look_without_a_gpu_ends_no_job_and_a_second_does() -> None:
    once = after([(set(GPUS), []), (set(GPUS[1:]), [])])
    twice = after([(set(GPUS), []), *[(set(GPUS[1:]), [])] * 2])
    assert (once[GPUS[0]].is_broken, twice[GPUS[0]].is_broken) == (False, True)
    assert handed_out(once) == set(GPUS[1:])


def test_a_lost_gpu_that_answers_once_is_not_yet_handed_out() -> None:
    known = after([(set(GPUS), []), *[(set[GpuId](), [])] * LOST, (set(GPUS), [])])
    assert handed_out(known) == set()
    assert not known[GPUS[0]].is_broken


@given(looks)
def test_the_journal_keeps_all_of_it(looks: list[tuple[set[GpuId], list[tuple[GpuId, int]]]]) -> None:
    known = after(looks)
    assert from_json(to_json(known)) == known


def test_the_first_look_after_a_boot_forgets_faults_and_what_was_taken_out() -> None:
    known = after([(set(GPUS), [(GPUS[0], 79)])])
    assert after_look(known, {GPUS[0]: "A100"}, [], START, first_of_boot=True) == {GPUS[0]: Health("A100")}


def test_gpus_of_which_nothing_is_heard_are_handed_out_for_a_while_and_then_no_more() -> None:
    known = after([(set(GPUS), [])])
    assert handed_out(known, FRESH_S) == set(GPUS)
    assert handed_out(known, FRESH_S + 1) == set()
    made = offer(known, frozenset(), {}, 42.0, "no answer within 10 s")
    assert "for 42 s (no answer within 10 s)" in made.withheld[GPUS[0]].sentence
    assert made.broken == {}
