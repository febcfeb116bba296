"""Whose image is made next: for any orders, in any interleaving of begins and ends."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from dopq.build_pool import BuildPool
from dopq.handover import Accepted
from dopq.job import JobId, UserName

USERS = st.sampled_from([UserName(name) for name in ("anna", "bert", "cleo", "dirk")])
PLACES = 3


def order(job: int, user: UserName) -> Accepted:
    return Accepted(f"key-{job}", JobId(job), user, "b.zip", "build.log", True)


@given(others=st.lists(USERS, max_size=30), places=st.integers(1, 5))
def test_at_most_one_build_of_each_other_user_begins_before_a_newcomers_first(
    others: list[UserName], places: int
) -> None:
    pool = BuildPool(places)
    for job, user in enumerate(others):
        pool.add(order(job, user))
    making = []
    while begins := pool.begin_next():
        making.append(begins)
    pool.add(order(999, UserName("newcomer")))
    passed_by = list[UserName]()
    while not (begins := pool.begin_next()) or begins.job != 999:
        if begins:
            passed_by.append(begins.user)
            making.append(begins)
        else:
            pool.end(making.pop(0).job)
    assert len(passed_by) == len(set(passed_by))


@given(orders=st.lists(USERS, min_size=1, max_size=30))
def test_one_user_builds_in_the_order_of_arrival(orders: list[UserName]) -> None:
    pool = BuildPool(1)
    for job, user in enumerate(orders):
        pool.add(order(job, user))
    done: list[Accepted] = []
    while begins := pool.begin_next():
        done.append(begins)
        pool.end(begins.job)
    assert sorted(o.job for o in done) == list(range(len(orders)))
    for user in set(orders):
        mine = [o.job for o in done if o.user == user]
        assert mine == sorted(mine)


@given(sizes=st.lists(st.integers(1, 8), min_size=2, max_size=4))
def test_users_who_all_wait_take_turns(sizes: list[int]) -> None:
    """With one place, nobody gets a further turn before everybody who waits has had as many."""
    pool = BuildPool(1)
    names = [UserName(f"user{n}") for n in range(len(sizes))]
    for n, (name, size) in enumerate(zip(names, sizes, strict=True)):
        for job in range(size):
            pool.add(order(100 * n + job, name))
    turns = Counter[UserName]()
    while begins := pool.begin_next():
        still = {o.user for o in pool.waiting} | {begins.user}
        assert turns[begins.user] == min(turns[user] for user in still)
        turns[begins.user] += 1
        pool.end(begins.job)


class Pool(RuleBasedStateMachine):
    """Orders come, are dropped, begin and end in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.pool = BuildPool(PLACES)
        self.next_job = 0
        self.waiting: dict[JobId, UserName] = {}
        self.making: dict[JobId, UserName] = {}

    @rule(user=USERS, twice=st.booleans())
    def add(self, user: UserName, twice: bool) -> None:
        new = order(self.next_job, user)
        self.next_job += 1
        for _ in range(1 + twice):
            self.pool.add(new)
        self.waiting[new.job] = user

    @rule()
    def begin(self) -> None:
        begins = self.pool.begin_next()
        assert (begins is None) == (not self.waiting or len(self.making) == PLACES)
        if begins:
            counts = Counter(self.making.values())
            assert counts[begins.user] == min(counts[user] for user in self.waiting.values())
            self.making[begins.job] = self.waiting.pop(begins.job)

    @precondition(lambda self: self.making)
    @rule(data=st.data())
    def end(self, data: st.DataObject) -> None:
        job = data.draw(st.sampled_from(sorted(self.making)))
        self.pool.end(job)
        self.pool.end(job)
        del self.making[job]

    @precondition(lambda self: self.waiting)
    @rule(data=st.data())
    def drop(self, data: st.DataObject) -> None:
        job = data.draw(st.sampled_from(sorted(self.waiting)))
        self.pool.drop(job)
        del self.waiting[job]

    @precondition(lambda self: self.making)
    @rule()
    def add_one_that_is_in_the_making(self) -> None:
        job, user = next(iter(self.making.items()))
        self.pool.add(order(job, user))

    @invariant()
    def everything_waits_that_was_not_begun(self) -> None:
        assert sorted(o.job for o in self.pool.waiting) == sorted(self.waiting)


TestPool = Pool.TestCase
