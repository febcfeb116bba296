"""A fetch that is cut off goes on: what is here and right is not sent again, and what is wrong does not stay."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from dopq import result_pieces
from dopq.errors import TryAgain, UserError
from dopq.job import Job
from dopq_client import checksums, fetching
from dopq_client.client import DopqClient
from dopq_client.target import ARRIVALS, Target
from tests.in_memory_node import InMemoryNode, MemoryLink

BLOCK, ANSWER = 64, 100

FILES = {
    "job.log": b"hello\n" * 20,
    "output/a/small": b"1",
    "output/a/empty": b"",
    "output/large": bytes(range(256)) * 4,
    "output/other": b"o" * 99,
    **{f"output/many/{number:02}": b"%d" % number * 7 for number in range(30)},
}


class Cut(Exception):
    """What a test throws where the process would die."""


@pytest.fixture(autouse=True)
def small_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    """A thousand bytes stand for gigabytes."""
    monkeypatch.setattr(result_pieces, "BLOCK_BYTES", BLOCK)
    monkeypatch.setattr(result_pieces, "SUMMED_BYTES", 4 * BLOCK)
    monkeypatch.setattr(result_pieces, "ANSWER_BYTES", ANSWER)
    for module in (checksums, fetching):
        monkeypatch.setattr(module, "BLOCK_BYTES", BLOCK)
    monkeypatch.setattr(fetching, "ANSWER_BYTES", ANSWER)


@pytest.fixture
def node(tmp_path: Path) -> Iterator[InMemoryNode]:
    (tmp_path / "node").mkdir()
    node = InMemoryNode(tmp_path / "node")
    yield node
    node.close()


@pytest.fixture
def link(node: InMemoryNode) -> MemoryLink:
    return node.link(node.tokens["anna"])


@pytest.fixture
def job(node: InMemoryNode) -> Job:
    job = node.ended()
    for path, content in FILES.items():
        node.leaves(job, path, content, executable=path.endswith("small"))
    return job


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "results"


def through(link: MemoryLink, method: str, change: Callable[[Any], Any]) -> None:
    """Have what the node answers to a method go through `change`."""
    straight = link.node.link(link.token)
    link.answers[method] = lambda *arguments: change(straight.call(method, *arguments))


def sent(link: MemoryLink) -> list[int]:
    """The bytes of each answer from now on."""
    sizes = list[int]()

    def count(answer: Any) -> Any:
        sizes.append(sum(len(piece["data"]) for piece in answer))
        return answer

    through(link, "read_results", count)
    return sizes


def contents(target: Path) -> dict[str, bytes]:
    return {path.relative_to(target).as_posix(): path.read_bytes() for path in target.rglob("*") if path.is_file()}


def is_all_here(target: Path) -> bool:
    here = contents(target)
    return here.pop("report.txt", None) is not None and here == FILES and os.access(target / "output/a/small", os.X_OK)


@pytest.mark.parametrize("after", range(1, 16, 2))
def test_a_fetch_that_is_cut_off_anywhere_goes_on_and_is_sent_nothing_twice(
    link: MemoryLink, job: Job, target: Path, after: int
) -> None:
    total = sum(map(len, FILES.values()))
    left = [after]

    def cut(answer: Any) -> Any:
        left[0] -= 1
        if not left[0]:
            raise Cut
        return answer

    through(link, "read_results", cut)
    with pytest.raises(Cut):
        DopqClient(link).fetch(job.id, target)
    here = {path: content for path, content in contents(target).items() if not path.startswith(ARRIVALS)}
    assert all(FILES[path] == content for path, content in here.items()), "whole or absent"
    before = sum(path.stat().st_size for path in (target / ARRIVALS).glob("*.part")) // BLOCK * BLOCK
    sizes = sent(link)
    files = DopqClient(link).fetch(job.id, target)
    assert is_all_here(target)
    assert sum(sizes) <= total - sum(map(len, here.values())) - before
    assert {file["path"] for file in files if file["kept"]} >= {path for path, content in here.items() if content}


def test_a_second_fetch_is_sent_nothing_but_checksums_and_the_report(link: MemoryLink, job: Job, target: Path) -> None:
    DopqClient(link).fetch(job.id, target)
    sizes = sent(link)
    DopqClient(link).fetch(job.id, target)
    assert sum(sizes) == 0
    assert is_all_here(target)


def test_what_is_here_but_wrong_is_replaced_whatever_its_size_and_time(
    link: MemoryLink, job: Job, target: Path
) -> None:
    DopqClient(link).fetch(job.id, target)
    file = target / "output/large"
    before = file.stat()
    content = bytearray(file.read_bytes())
    content[700] ^= 1
    file.write_bytes(content)
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    (target / "output/other").write_bytes(b"longer" * 100)
    DopqClient(link).fetch(job.id, target)
    assert is_all_here(target)


def test_a_part_that_was_damaged_here_is_fetched_again(link: MemoryLink, job: Job, target: Path) -> None:
    left = [12]

    def cut(answer: Any) -> Any:
        left[0] -= 1
        if not left[0]:
            raise Cut
        return answer

    through(link, "read_results", cut)
    with pytest.raises(Cut):
        DopqClient(link).fetch(job.id, target)
    [part] = (target / ARRIVALS).glob("*.part")
    assert part.stat().st_size > BLOCK
    with part.open("r+b") as file:
        file.seek(BLOCK + 1)
        file.write(b"?")
    link.answers.clear()
    DopqClient(link).fetch(job.id, target)
    assert is_all_here(target)


def test_a_piece_that_arrives_damaged_is_asked_for_again_but_not_for_ever(
    link: MemoryLink, job: Job, target: Path
) -> None:
    times = [0]

    def damage(answer: Any) -> Any:
        times[0] += 1
        if times[0] in {1, 5}:
            answer[0]["data"] = answer[0]["data"][::-1] + b"?"
        return answer

    through(link, "read_results", damage)
    DopqClient(link).fetch(job.id, target)
    assert is_all_here(target)
    (target / "output/large").unlink()
    through(link, "read_results", lambda answer: [piece | {"data": b"wrong"} for piece in answer])
    with pytest.raises(TryAgain, match="arrived damaged, 3 times"):
        DopqClient(link).fetch(job.id, target)
    assert not (target / "output/large").exists()


def test_a_file_that_is_replaced_while_it_is_read_is_read_anew(
    link: MemoryLink, node: InMemoryNode, job: Job, target: Path
) -> None:
    file = node.outbox.folder(job) / "output/large"
    times = [0]

    def replace(answer: Any) -> Any:
        times[0] += 1
        if times[0] == 6:
            file.write_bytes(b"new" * 300)
            os.utime(file, ns=(1, 1))
        return answer

    through(link, "read_results", replace)
    DopqClient(link).fetch(job.id, target)
    assert (target / "output/large").read_bytes() == b"new" * 300


def test_a_log_that_grows_comes_as_it_was_when_it_was_listed(
    link: MemoryLink, node: InMemoryNode, target: Path
) -> None:
    job = node.running()
    node.leaves(job, "job.log", b"x" * 500)
    through(link, "read_results", lambda answer: (node.leaves(job, "job.log", b"more"), answer)[1])
    DopqClient(link).fetch(job.id, target)
    assert (target / "job.log").read_bytes() == b"x" * 500


def test_a_file_that_went_is_told(link: MemoryLink, job: Job, target: Path) -> None:
    through(link, "read_results", lambda answer: [None for _ in answer])
    with pytest.raises(TryAgain, match="is not there any more"):
        DopqClient(link).fetch(job.id, target)


def test_a_service_that_says_nothing_is_not_asked_for_ever(link: MemoryLink, job: Job, target: Path) -> None:
    link.answers["read_results"] = lambda *_: []
    with pytest.raises(TryAgain, match="sends nothing"):
        DopqClient(link).fetch(job.id, target)


def test_two_fetches_do_not_write_into_one_folder(link: MemoryLink, job: Job, target: Path) -> None:
    with Target(target), pytest.raises(UserError, match="Another fetch"):
        DopqClient(link).fetch(job.id, target)
    DopqClient(link).fetch(job.id, target)
    assert is_all_here(target)


def test_outputs_alone_come_without_the_folder_that_the_job_had(link: MemoryLink, job: Job, target: Path) -> None:
    DopqClient(link).fetch_outputs(job.id, target)
    assert contents(target) == {
        path.removeprefix("output/"): content for path, content in FILES.items() if path.startswith("output/")
    }


def test_a_link_in_the_place_of_what_arrives_is_not_followed(link: MemoryLink, job: Job, target: Path) -> None:
    precious = target.parent / "precious"
    precious.write_text("precious")
    target.mkdir()
    (target / "job.log").symlink_to(precious)
    (target / ARRIVALS).mkdir()
    with Target(target) as folder:
        arrival = folder.arrival("output/large")
        arrival.close()
        part = arrival.part
    (target / ARRIVALS).mkdir(exist_ok=True)
    part.unlink(missing_ok=True)
    part.symlink_to(precious)
    DopqClient(link).fetch(job.id, target)
    assert is_all_here(target)
    assert precious.read_text() == "precious"
