"""Usage decays exactly, whatever the steps; more use never helps; the machine's clock cannot be used to be forgiven."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from dopq.penalty import Account, charge_rate, committed, penalty, refunded, usage_at, with_rate

DAY_S = 86400.0

half_lives = st.floats(60.0, 365 * DAY_S)
usages = st.floats(0.0, 1e9)
rates = st.floats(0.0, 64.0)
spans = st.floats(0.0, 90 * DAY_S)
moments = st.floats(0.0, 4e9)
accounts = st.builds(Account, usage=usages, as_of=moments, rate=rates)


@given(usages, rates, half_lives, st.lists(spans, min_size=1, max_size=8))
def test_splitting_an_interval_anywhere_gives_the_same_usage(
    usage: float, rate: float, half_life_s: float, steps: list[float]
) -> None:
    account = Account(usage, 0.0, rate)
    stepwise, now_s = account, 0.0
    for step in steps:
        now_s += step
        stepwise = with_rate(stepwise, rate, now_s, half_life_s)
    assert stepwise.usage == pytest.approx(usage_at(account, now_s, half_life_s), rel=1e-9, abs=1e-6)


@given(usages, half_lives)
def test_usage_halves_in_a_half_life(usage: float, half_life_s: float) -> None:
    assert usage_at(Account(usage), half_life_s, half_life_s) == pytest.approx(usage / 2)


@given(usages, rates, spans, half_lives)
def test_the_closed_form_agrees_with_numeric_integration(
    usage: float, rate: float, span_s: float, half_life_s: float
) -> None:
    steps = 400
    decay = math.log(2) / half_life_s
    # Simpson's rule over the charge, each part of it decayed until the end.
    parts = [rate * math.exp(-decay * span_s * (1 - n / steps)) for n in range(steps + 1)]
    integral = span_s / steps / 3 * (parts[0] + 4 * sum(parts[1:-1:2]) + 2 * sum(parts[2:-1:2]) + parts[-1])
    expected = usage * math.exp(-decay * span_s) + integral
    if span_s / half_life_s < 20:  # beyond that the steps are too coarse for the rule, not for the closed form
        assert usage_at(Account(usage, 0.0, rate), span_s, half_life_s) == pytest.approx(expected, rel=1e-6, abs=1e-6)


@given(st.floats(0.0, 1e-3), half_lives)
def test_the_first_moments_of_a_charge_are_not_lost_to_rounding(span_s: float, half_life_s: float) -> None:
    assert usage_at(Account(0.0, 0.0, 1.0), span_s, half_life_s) == pytest.approx(span_s, rel=1e-4)


@given(rates, half_lives)
def test_usage_settles_where_charge_and_decay_balance(rate: float, half_life_s: float) -> None:
    settled = rate * half_life_s / math.log(2)
    assert usage_at(Account(0.0, 0.0, rate), 60 * half_life_s, half_life_s) == pytest.approx(settled)


@given(accounts, usages, spans, half_lives, st.floats(0.01, 1000.0))
def test_more_past_usage_never_improves_a_rank(
    account: Account, more: float, span_s: float, half_life_s: float, weight: float
) -> None:
    now_s = account.as_of + span_s
    heavier = Account(account.usage + more, account.as_of, account.rate)
    assert penalty(usage_at(heavier, now_s, half_life_s), weight) >= penalty(
        usage_at(account, now_s, half_life_s), weight
    )


@given(accounts, rates, spans, half_lives)
def test_holding_more_gpus_never_improves_a_rank(
    account: Account, more: float, span_s: float, half_life_s: float
) -> None:
    now_s = account.as_of + span_s
    greedier = Account(account.usage, account.as_of, account.rate + more)
    assert usage_at(greedier, now_s, half_life_s) >= usage_at(account, now_s, half_life_s)


@given(usages, st.floats(0.01, 1000.0), st.floats(0.0, 1000.0))
def test_more_weight_never_worsens_a_rank(usage: float, weight: float, more: float) -> None:
    assert penalty(usage, weight + more) <= penalty(usage, weight)


@given(accounts, st.floats(0.0, 1e9), half_lives)
def test_a_clock_that_steps_back_neither_charges_nor_forgives(
    account: Account, back_s: float, half_life_s: float
) -> None:
    assert usage_at(account, account.as_of - back_s, half_life_s) == account.usage


@given(accounts, rates, st.floats(0.0, 1e9), spans, half_lives)
@example(Account(0.0, 1000.0, 1.0), 1.0, 500.0, 0.0, 3600.0)
def test_a_job_that_begins_while_the_clock_is_behind_is_charged_once_it_has_caught_up(
    account: Account, rate: float, back_s: float, span_s: float, half_life_s: float
) -> None:
    began = with_rate(account, rate, account.as_of - back_s, half_life_s)
    assert (began.usage, began.as_of) == (account.usage, account.as_of)
    straight = Account(account.usage, account.as_of, rate)
    now_s = account.as_of + span_s
    assert usage_at(began, now_s, half_life_s) == usage_at(straight, now_s, half_life_s)


@given(st.integers(1, 64), st.floats(0.0, 1.0))
def test_a_job_is_charged_for_its_gpus_or_as_a_job_without(gpus: int, cpu_job_rate: float) -> None:
    assert charge_rate(gpus, cpu_job_rate) == gpus
    assert charge_rate(0, cpu_job_rate) == cpu_job_rate


@given(st.lists(st.tuples(spans, rates), min_size=1, max_size=12), half_lives)
def test_usage_is_the_sum_of_what_each_interval_left(intervals: list[tuple[float, float]], half_life_s: float) -> None:
    account, now_s, expected = Account(), 0.0, 0.0
    edges = [0.0]
    for span_s, rate in intervals:
        account = with_rate(account, rate, now_s, half_life_s)
        now_s += span_s
        edges.append(now_s)
    for (begin, end), (_, rate) in zip(pairwise(edges), intervals, strict=True):
        of_its_own = usage_at(Account(0.0, begin, rate), end, half_life_s)
        expected += usage_at(Account(of_its_own, end), now_s, half_life_s)
    assert usage_at(account, now_s, half_life_s) == pytest.approx(expected, rel=1e-9, abs=1e-6)


@given(rates, spans, half_lives)
def test_what_runs_is_committed_as_it_will_be_charged(rate: float, left_s: float, half_life_s: float) -> None:
    assert committed(rate, left_s, half_life_s) == usage_at(Account(rate=rate), left_s, half_life_s)


@given(rates, st.floats(-1e12, 1e12), half_lives)
def test_nobody_is_committed_to_more_than_ten_sevenths_of_a_half_life(
    rate: float, left_s: float, half_life_s: float
) -> None:
    """Half-life over ln 2: however long a limit is, or none."""
    assert 0.0 <= committed(rate, left_s, half_life_s) <= rate * half_life_s / math.log(2) * (1 + 1e-9)


@given(rates, rates, st.floats(-1e6, 1e6), st.floats(0.0, 1e6), half_lives)
def test_holding_more_or_for_longer_never_commits_less(
    rate: float, more: float, left_s: float, longer_s: float, half_life_s: float
) -> None:
    ahead = committed(rate, left_s, half_life_s)
    assert committed(rate + more, left_s, half_life_s) >= ahead * (1 - 1e-12)
    assert committed(rate, left_s + longer_s, half_life_s) >= ahead * (1 - 1e-12)


@given(accounts, rates, spans, spans, half_lives)
def test_a_refund_leaves_the_account_as_if_the_job_had_never_been(
    account: Account, rate: float, span_s: float, later_s: float, half_life_s: float
) -> None:
    began_s, ended_s = account.as_of, account.as_of + span_s
    with_job = with_rate(account, account.rate + rate, began_s, half_life_s)
    after = with_rate(with_job, account.rate, ended_s, half_life_s)
    after = with_rate(after, account.rate, ended_s + later_s, half_life_s)
    without = with_rate(account, account.rate, ended_s + later_s, half_life_s)
    refund = refunded(after, rate, began_s, ended_s, half_life_s)
    assert refund.usage == pytest.approx(without.usage, rel=1e-6, abs=1e-3)
