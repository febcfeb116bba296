"""Pages of what runs and waits, and of the history: what is wanted, in the right order, and how much of it there is."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from dopq.errors import UserError
from dopq.job import GpuId, StateName
from dopq.room import Capacity
from dopq.wire import Plain, time_to_wire
from tests.in_memory_node import InMemoryNode, MemoryLink


@pytest.fixture
def node(tmp_path: Path) -> Iterator[InMemoryNode]:
    """Anna's job runs; in the queue are bert's, which goes first, and two of anna's; one more is building."""
    node = InMemoryNode(tmp_path)
    node.building()
    node.running(gpus=frozenset({GpuId("GPU-1")}))
    node.clock.advance(60)
    node.queued("anna", "second")
    node.queued("bert", "first")
    node.queued("anna", "third")
    assert not node.platform.decide(Capacity()).starts
    yield node
    node.close()


@pytest.fixture
def link(node: InMemoryNode) -> MemoryLink:
    return node.link(node.tokens["anna"])


def numbers(page: Plain) -> list[int]:
    return [job["id"] for job in page["jobs"]]


def test_a_page_begins_with_what_runs_and_ends_with_what_is_in_no_line(link: MemoryLink) -> None:
    page = link.call("get_jobs")
    assert numbers(page) == [2, 4, 3, 5, 1]
    assert (page["total"], page["counts"]) == (5, {"building": 1, "running": 1, "queued": 3})


@pytest.mark.parametrize("limit", [1, 2, 3, 5])
def test_pages_laid_side_by_side_are_the_whole(link: MemoryLink, limit: int) -> None:
    pages = [link.call("get_jobs", limit, skip) for skip in range(0, 6, limit)]
    assert [number for page in pages for number in numbers(page)] == [2, 4, 3, 5, 1]
    assert {page["total"] for page in pages} == {5}


def test_a_page_has_only_what_is_wanted_and_its_places_in_the_whole_queue(link: MemoryLink) -> None:
    mine = link.call("get_jobs", 10, 0, True)
    assert numbers(mine) == [2, 3, 5, 1]
    assert [job["position"] for job in mine["jobs"]] == [None, 2, 3, None]
    assert numbers(link.call("get_jobs", 10, 0, False, "bert")) == [4]
    assert numbers(link.call("get_jobs", 10, 0, False, None, ["running", "building"])) == [2, 1]
    assert link.call("get_jobs", 10, 0, False, "nobody") == {"jobs": [], "total": 0, "counts": {}}


def test_a_page_tells_of_others_jobs_what_is_public(link: MemoryLink) -> None:
    [berts] = link.call("get_jobs", 10, 0, False, "bert")["jobs"]
    assert berts["position"] == 1
    assert berts["bundle"] is None


def test_the_history_has_only_what_is_wanted(node: InMemoryNode, link: MemoryLink) -> None:
    early = node.ended(StateName.FAILED, 1)
    node.clock.advance(3600)
    late = node.ended(user="bert")
    since = time_to_wire(node.clock.now() - timedelta(minutes=1))

    def found(*arguments: object) -> list[int]:
        return [job["id"] for job in link.call("get_containers_history_info", 100, *arguments)]

    assert found() == [late.id, early.id]
    assert found(True) == found(False, "anna") == [early.id]
    assert found(False, None, ["failed", "lost"]) == [early.id]
    assert found(False, None, [], since) == [late.id]
    assert found(False, None, [], time_to_wire(node.clock.now())) == [late.id]


def test_a_state_that_there_is_not_is_refused_with_those_that_there_are(link: MemoryLink) -> None:
    with pytest.raises(UserError, match=r"no such state; there are building, .* build_failed"):
        link.call("get_jobs", 10, 0, False, None, ["waiting"])
