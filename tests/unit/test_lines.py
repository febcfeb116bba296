"""The waiting jobs in their lines; who is oldest is known, whatever came and went before it was asked."""

from __future__ import annotations

from dataclasses import replace

from dopq.lines import Line, LineKey, UserLines
from dopq.room import Demand
from tests.queues import ANNA, BERT, HOLD, queue_of, waiting


def test_jobs_that_are_alike_stand_in_one_line_and_others_in_another() -> None:
    lines = UserLines()
    alike = [waiting(1), waiting(2, since_s=5.0)]
    others = [waiting(3, demand=2), waiting(4, priority=1), waiting(5, limit_s=9.0), waiting(6, name="train")]
    for job in (*alike, *others):
        lines.add(job)
    assert sorted([job.id for job in line] for line in lines.within(())) == [[1, 2], [3], [4], [5], [6]]
    assert list(lines.line_of(alike[1])) == alike


def test_a_job_that_comes_back_stands_where_its_age_puts_it() -> None:
    line = Line(LineKey(0, 1.0, ""))
    early, middle, late = (waiting(number, since_s=float(number)) for number in (1, 2, 3))
    for job in (late, early, middle):
        line.add(job)
    assert (list(line), line.first, line.at(1), len(line)) == ([early, middle, late], early, middle, 3)
    line.remove(early)
    assert list(line) == [middle, late]
    line.add(early)
    assert list(line) == [early, middle, late]


def test_jobs_of_one_moment_stand_by_their_number() -> None:
    queue = queue_of([waiting(2), waiting(1)])
    assert [job.id for job in queue.users[ANNA].line_of(waiting(1))] == [1, 2]


def test_the_oldest_is_known_after_everything_that_can_happen_to_it() -> None:
    lines = UserLines()
    assert lines.oldest(needs_gpu=True) is None, "asked before anybody came: the answer must not stay"
    second = waiting(2, since_s=2.0)
    lines.add(second)
    assert lines.oldest(needs_gpu=True) is second
    first = waiting(1, demand=3, since_s=1.0)
    lines.add(first)
    assert lines.oldest(needs_gpu=True) is first, "an older one came back"
    third = waiting(3, since_s=3.0)
    lines.add(third)
    assert lines.oldest(needs_gpu=True) is first, "a newer one changes nothing"
    lines.remove(third)
    assert lines.oldest(needs_gpu=True) is first
    lines.remove(first)
    assert lines.oldest(needs_gpu=True) is second
    lines.remove(second)
    assert lines.oldest(needs_gpu=True) is None
    assert not lines.by_demand


def test_the_oldest_is_known_for_each_pool_apart() -> None:
    lines = UserLines()
    without, of_slots = waiting(1, demand=0, since_s=1.0), waiting(2, demand=Demand(slots=1), since_s=2.0)
    lines.add(without)
    lines.add(of_slots)
    assert lines.oldest(needs_gpu=False) is without
    assert lines.oldest(needs_gpu=True) is of_slots


def test_whoever_asks_for_what_is_beyond_the_node_is_not_the_oldest() -> None:
    lines = UserLines()
    impossible, possible = waiting(1, demand=50, since_s=1.0), waiting(2, since_s=2.0)
    lines.add(impossible)
    lines.add(possible)
    beyond = frozenset({Demand(50)})
    assert lines.oldest(needs_gpu=True, beyond=beyond) is possible
    assert lines.oldest(needs_gpu=True) is impossible
    lines.remove(possible)
    assert lines.oldest(needs_gpu=True, beyond=beyond) is None


# --- the queue ---


def test_a_job_that_is_set_aside_waits_in_no_line() -> None:
    job = waiting(1)
    queue = queue_of([job], {job.id: HOLD})
    assert (job.id in queue, queue.get(job.id), len(queue), list(queue)) == (True, job, 1, [job])
    assert not queue.users
    assert not queue.demands
    assert queue.aside == {job.id: HOLD}


def test_a_job_is_put_back_in_line_and_aside_again() -> None:
    job = waiting(1)
    queue = queue_of([job], {job.id: HOLD})
    queue.add(job)
    assert (len(queue), queue.aside, queue.demands) == (1, {}, {job.demand: 1})
    queue.add(job, HOLD)
    assert (len(queue), queue.users, queue.demands) == (1, {}, {})


def test_a_job_that_joins_again_with_other_wishes_is_there_once() -> None:
    queue = queue_of([waiting(1)])
    changed = replace(waiting(1), priority=5, demand=Demand(2))
    queue.add(changed)
    assert (list(queue), queue.demands) == ([changed], {Demand(2): 1})
    assert queue.users[ANNA].oldest(needs_gpu=True) is changed


def test_whoever_leaves_leaves_nothing_behind() -> None:
    queue = queue_of([waiting(1), waiting(2, BERT)], {waiting(2).id: HOLD})
    assert queue.remove(waiting(1).id) == waiting(1)
    assert queue.remove(waiting(2).id) == waiting(2, BERT)
    assert queue.remove(waiting(1).id) is None
    assert (len(queue), queue.users, queue.demands, queue.aside) == (0, {}, {}, {})


def test_a_user_has_had_a_turn_when_their_oldest_job_of_a_pool_starts() -> None:
    oldest, newer = waiting(1, since_s=1.0), waiting(2, since_s=2.0)
    without = waiting(3, demand=0, since_s=3.0)
    queue = queue_of([oldest, newer, without])
    queue.start(newer.id, 10.0)
    assert queue.turns == {}, "it passed an older one of its own user"
    queue.start(oldest.id, 20.0)
    assert queue.turns == {(ANNA, True): 20.0}
    queue.start(without.id, 30.0)
    assert queue.turns == {(ANNA, True): 20.0, (ANNA, False): 30.0}
    assert not queue


def test_a_job_that_is_set_aside_is_nobodys_oldest() -> None:
    old, new = waiting(1, since_s=1.0), waiting(2, since_s=2.0)
    queue = queue_of([old, new], {old.id: HOLD})
    queue.start(new.id, 10.0)
    assert queue.turns == {(ANNA, True): 10.0}


def test_an_older_job_that_can_never_start_takes_no_turn() -> None:
    queue = queue_of([waiting(1, demand=50, since_s=1.0), waiting(2, since_s=2.0)])
    queue.start(waiting(2).id, 10.0, beyond=frozenset({Demand(50)}))
    assert queue.turns == {(ANNA, True): 10.0}
