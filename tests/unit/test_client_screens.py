"""Every table and message as text, at 80 and 120 columns, compared with the files in screens/.

After a wanted change: `UPDATE_SCREENS=1 pytest tests/unit/test_client_screens.py`, then read the difference.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console, RenderableType

from dopq.band import Band
from dopq.errors import BundleRejected, ServiceUnreachable
from dopq.forecast import Forecast
from dopq.job import GpuId, Problem, Reason, StateName
from dopq.room import Capacity
from dopq.wire import problem_to_wire
from dopq_client import system_view, views, words
from dopq_client.client import DopqClient
from dopq_client.jobs_table import JobsTable
from dopq_client.screen import Lines
from tests.in_memory_node import InMemoryNode

SCREENS = Path(__file__).parent / "screens"
HOSTILE = "\x1b[31mred\x1b[0m\u202egnp.exe [bold]x[/bold] :smiley: \x07"
ZONE = timezone(timedelta(hours=1))  # the reader's


@pytest.fixture
def node(tmp_path: Path) -> Iterator[InMemoryNode]:
    node = InMemoryNode(tmp_path)
    yield node
    node.close()


@pytest.fixture
def client(node: InMemoryNode) -> DopqClient:
    """An admin's, who is told everything."""
    return DopqClient(node.link(node.tokens["olga"]))


@pytest.fixture
def annas(node: InMemoryNode) -> DopqClient:
    """An ordinary user's."""
    return DopqClient(node.link(node.tokens["anna"]))


@pytest.fixture
def busy(node: InMemoryNode) -> InMemoryNode:
    """A node with a job in every state that a list can show."""
    node.ended(name="iris")
    node.ended(StateName.FAILED, 3, user="bert", name="resnet-50-with-a-long-name")
    node.ended(StateName.CANCELLED, 137)
    node.refused((Problem("Dockerfile", "is missing", "Put one into the bundle's top folder."),))
    node.clock.advance(4000)
    node.running(name="training", gpus=frozenset({GpuId("GPU-1")}))
    node.clock.advance(100)
    node.queued("bert", "next-one", gpus=2)
    assert not node.platform.decide(Capacity(frozenset({GpuId("GPU-0"), GpuId("GPU-1")}), places=9)).starts
    node.queued("bert", HOSTILE)
    eta = Band(2400.0, 7200.0, 18000.0)
    node.platform.tell_forecast(Forecast(node.clock.now(), {job.id: eta for job in node.platform.alive()}))
    node.building(bundle="new.zip")
    full = Reason("waiting_for_space", "Waiting for space: 3.1 GiB free at /var/lib/docker, needs 10.0 GiB.")
    node.platform.hold(node.building("bert", bundle="late.zip").id, full)
    node.clock.advance(30)
    return node


def now(node: InMemoryNode) -> datetime:
    return node.clock.now().astimezone(ZONE)


def check(name: str, *parts: RenderableType | Lines, width: int) -> None:
    """Compare what a plain terminal of that width shows with the file."""
    console = Console(
        file=StringIO(),
        width=width,
        color_system=None,
        markup=False,
        emoji=False,
        highlight=False,
        force_terminal=False,
    )
    for part in parts:
        for drawn in part.lines(width, colour=False) if isinstance(part, Lines) else [part]:
            console.print(drawn, soft_wrap=isinstance(part, Lines))
    assert isinstance(console.file, StringIO)
    shown = "".join(line.rstrip() + "\n" for line in console.file.getvalue().splitlines())
    assert all(len(line) <= width for line in shown.splitlines())
    file = SCREENS / f"{name}_{width}.txt"
    if os.environ.get("UPDATE_SCREENS"):
        file.write_text(shown, encoding="utf-8")
    assert shown == file.read_text(encoding="utf-8")


width = pytest.mark.parametrize("width", [80, 120])


@width
def test_what_runs_and_waits(busy: InMemoryNode, client: DopqClient, width: int) -> None:
    check("jobs", JobsTable(client.jobs(), now(busy)), width=width)


@width
def test_what_runs_and_waits_as_a_user_sees_it(busy: InMemoryNode, annas: DopqClient, width: int) -> None:
    jobs = [*annas.jobs(), *annas.history()]
    check("of_others", JobsTable(jobs, now(busy)), views.job_cards([annas.job(6)], now(busy)), width=width)


@width
def test_an_empty_queue(node: InMemoryNode, client: DopqClient, width: int) -> None:
    check("no_jobs", JobsTable(client.jobs(), now(node)), width=width)


@width
def test_the_history(busy: InMemoryNode, client: DopqClient, width: int) -> None:
    check("history", JobsTable(client.history(), now(busy)), width=width)


@width
def test_why_a_job_waits_and_when_it_starts(busy: InMemoryNode, client: DopqClient, width: int) -> None:
    check("why", views.explanations([client.explain(6)], now(busy), with_terms=False), width=width)


@width
def test_all_about_jobs(busy: InMemoryNode, client: DopqClient, width: int) -> None:
    check("cards", views.job_cards([client.job(number) for number in (2, 4, 5, 6, 7)], now(busy)), width=width)


@width
def test_the_users(busy: InMemoryNode, client: DopqClient, width: int) -> None:
    check("users", views.users_table(client.users()), width=width)


@width
def test_the_system(busy: InMemoryNode, client: DopqClient, width: int) -> None:
    busy.controller.dopq_system_lock(busy.users.by_name("olga"), True, HOSTILE)  # type: ignore[arg-type]
    check("system", system_view.system_view(client.system(), now(busy)), width=width)


@width
def test_outcomes_and_next_steps(busy: InMemoryNode, client: DopqClient, width: int) -> None:
    jobs = [client.job(number) for number in range(1, 9)]
    check("outcomes", *(words.outcome(job) for job in jobs), words.next_steps(jobs[0]), width=width)


@width
def test_errors(width: int) -> None:
    problems = [
        problem_to_wire(Problem("container_config.json: num_gpu", "is no setting", "Did you mean num_gpus?")),
        problem_to_wire(Problem(HOSTILE, "is a link", "Put a copy in its place.")),
    ]
    check(
        "errors",
        views.error_text(ServiceUnreachable("The DoPQ service at gpu1:9090 cannot be reached.", "Check the address.")),
        views.error_text(BundleRejected("The bundle has 2 problems.", "Change it as told.", problems=problems)),
        width=width,
    )


@width
def test_a_checked_bundle(width: int) -> None:
    problems = [
        problem_to_wire(Problem("job.toml: gpu", "no such key", 'Did you mean "gpus"? Known here are: cpus, gpus.')),
        problem_to_wire(Problem(HOSTILE, "it is a link", "Put the file itself into the bundle.")),
    ]
    by = "Checked with the limits of the service at gpu1:9090."
    check(
        "checked",
        views.checked("nile.zip", {"name": "nile", "template": "python"}, [], by),
        views.checked("own", {"name": "own", "template": None}, [], by),
        views.checked(HOSTILE, None, problems, by),
        width=width,
    )


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.4, "0 s"), (59, "59 s"), (60, "1 min"), (3599, "59 min"), (3600, "1 h"), (3900, "1 h 5 min"),
        (36_000, "10 h"), (172_799, "47 h"), (172_800, "2 d"),
    ],
)  # fmt: skip
def test_a_duration_in_words(seconds: float, text: str) -> None:
    assert words.span(seconds) == text


@pytest.mark.parametrize(
    ("count", "text"), [(None, "-"), (0, "0 B"), (1023, "1023 B"), (1536, "1.5 KiB"), (5 * 2**50, "5120.0 TiB")]
)
def test_a_size_in_words(count: int | None, text: str) -> None:
    assert words.size(count) == text


def test_a_time_is_told_from_the_readers_place() -> None:
    at = datetime(2026, 1, 5, 10, 0, tzinfo=ZONE)
    assert words.local("2026-01-05T08:57:00.000Z", at) == "2026-01-05 09:57:00 (3 min ago)"
    assert words.ago("2026-01-05T11:00:00.000Z", at) == "in 2 h"
    assert words.ago("2026-01-05T09:00:00.000Z", at) == "now"
    assert words.ago(None, at) == words.ago("soon", at) == words.ago("2026-01-05T09:00:00", at) == "-"
