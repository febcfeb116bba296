"""What must always hold for the node table: it is the same whoever tells whom, and in which order."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from dopq.peers.table import NodeId, NodeRecord, Table, changed, merge

NODES = st.sampled_from([NodeId("a"), NodeId("b"), NodeId("c")])


@st.composite
def tables(draw: st.DrawFn) -> Table:
    known = draw(st.sets(NODES))
    numbers = st.integers(0, 3)
    return {
        node: NodeRecord(draw(numbers), draw(numbers), node, draw(st.sampled_from("xy")), "2.0", "127.0.0.1:9090")
        for node in sorted(known)
    }


@given(tables(), tables())
def test_the_order_in_which_tables_meet_is_irrelevant(one: Table, other: Table) -> None:
    assert merge(one, other) == merge(other, one)


@given(tables(), tables(), tables())
def test_the_company_in_which_tables_meet_is_irrelevant(one: Table, two: Table, three: Table) -> None:
    assert merge(merge(one, two), three) == merge(one, merge(two, three))


@given(tables(), tables())
def test_hearing_a_table_again_changes_nothing(one: Table, other: Table) -> None:
    assert merge(merge(one, other), other) == merge(one, other)


@given(tables(), tables())
def test_no_node_is_forgotten_and_none_gets_older(one: Table, other: Table) -> None:
    merged = merge(one, other)
    assert merged.keys() == one.keys() | other.keys()
    assert all(merged[node] >= record for table in (one, other) for node, record in table.items())


@given(tables(), NODES)
def test_what_a_node_says_of_itself_wins_over_hearsay(table: Table, node: NodeId) -> None:
    if node in table:
        news = changed(table[node], name="renamed")
        assert merge(table, {node: news})[node] == news
