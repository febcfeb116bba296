"""What must always hold for the node table: it is the same whoever tells whom, and in which order."""

from __future__ import annotations

from itertools import product

from hypothesis import given
from hypothesis import strategies as st

from dopq.peers.exchange import differences
from dopq.peers.node_key import NodeId
from dopq.peers.record import NodeRecord
from dopq.peers.table import Table, digest, entries, merge, summary, table_of, version_of
from tests import neighbours

NODES = range(3)
RECORDS = {
    (node, incarnation, sequence, version): neighbours.record(
        node, incarnation=incarnation, sequence=sequence, version=version
    )
    # Two of one version are what a node should never sign, and a hostile one may.
    for node, incarnation, sequence, version in product(NODES, range(2), range(2), ("2.0", "2.1"))
}

records = st.sampled_from(sorted(RECORDS)).map(RECORDS.__getitem__)
tables = st.lists(records, max_size=6).map(table_of)
tables_of_a_node = st.lists(records, min_size=1, max_size=6).map(table_of)  # who has a table is in it


@given(tables, tables)
def test_the_order_in_which_tables_meet_is_irrelevant(one: Table, other: Table) -> None:
    assert merge(one, other) == merge(other, one)


@given(tables, tables, tables)
def test_the_company_in_which_tables_meet_is_irrelevant(one: Table, two: Table, three: Table) -> None:
    assert merge(merge(one, two), three) == merge(one, merge(two, three))


@given(tables, tables)
def test_hearing_a_table_again_changes_nothing(one: Table, other: Table) -> None:
    assert merge(merge(one, other), other) == merge(one, other)


@given(tables, tables)
def test_no_node_is_forgotten_and_none_gets_older(one: Table, other: Table) -> None:
    merged = merge(one, other)
    assert merged.keys() == one.keys() | other.keys()
    assert all(merged[node].age >= record.age for table in (one, other) for node, record in table.items())


@given(tables, st.sampled_from(NODES))
def test_what_a_node_says_of_itself_wins_over_hearsay(table: Table, number: int) -> None:
    news = neighbours.record(number, incarnation=1, sequence=2)
    assert merge(table, {news.node_id: news})[news.node_id] == news


@given(tables_of_a_node, tables_of_a_node)
def test_after_an_exchange_both_have_the_merged_table(mine: Table, theirs: Table) -> None:
    told = differences(mine, digest(theirs))
    answered = [theirs[node] for node in told.want]
    assert merge(mine, table_of(answered)) == merge(mine, theirs)
    assert merge(theirs, table_of(told.give)) == merge(mine, theirs)


@given(tables, tables)
def test_only_what_the_other_lacks_is_sent(mine: Table, theirs: Table) -> None:
    told = differences(mine, digest(theirs))
    assert all(record.node_id not in theirs or record.age > theirs[record.node_id].age for record in told.give)
    assert not set(told.want) & {record.node_id for record in told.give}


@given(tables, tables)
def test_a_summary_is_that_of_one_table_alone(one: Table, other: Table) -> None:
    assert (summary(digest(one)) == summary(digest(other))) == (
        {node: it.body for node, it in one.items()} == {node: it.body for node, it in other.items()}
    )


@given(tables)
def test_a_digest_tells_every_version(table: Table) -> None:
    assert dict(entries(digest(table))) == {node: version_of(record) for node, record in table.items()}


@given(records, records)
def test_versions_in_a_digest_are_ordered_as_the_records_are(one: NodeRecord, other: NodeRecord) -> None:
    assert (version_of(one) > version_of(other)) == (one.age[:3] > other.age[:3])


def test_a_node_is_its_key_and_not_its_name() -> None:
    assert neighbours.record(1, name="gpu2").node_id == neighbours.record(1).node_id != neighbours.record(2).node_id
    assert neighbours.record(1).node_id == NodeId(neighbours.key(1).node_id)
