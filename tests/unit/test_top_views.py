"""The five views of `dopq-client top`, without a terminal: the same facts as the API's five calls, whatever those hold."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from dopq.errors import NotLoggedIn, ServiceUnreachable
from dopq.job import GpuId, Problem, StateName
from dopq_client.top import running, system
from dopq_client.top.choice import VIEWS, Choice
from dopq_client.top.deeds_words import cancel_question, help_lines, hold_question
from dopq_client.top.facts import CALLS, JOBS, Facts, View, ask
from dopq_client.top.moment import Moment
from dopq_client.top.picture import Picture, columns_of, detail, no_answer, picture, tabs, title
from dopq_client.top.trends import Trends
from dopq_client.views import counts
from dopq_client.words import band, reason, size
from tests.hostile_text import HOSTILE, shows_only_itself
from tests.in_memory_node import InMemoryNode, MemoryLink

GPU = {
    "uuid": "GPU-7",
    "index": 0,
    "utilisation_percent": 97,
    "memory_used_bytes": 31 * 2**30,
    "memory_total_bytes": 40 * 2**30,
}
LIVE = {"cpu_cores": 3.9, "memory_bytes": 12 * 2**30, "gpus": [GPU]}


@pytest.fixture
def node(tmp_path: Path) -> Iterator[InMemoryNode]:
    node = InMemoryNode(tmp_path)
    node.ended(name="iris")
    node.ended(StateName.FAILED, 3, user="bert", name="resnet")
    node.refused((Problem("Dockerfile", "is missing", "Add one."),))
    node.clock.advance(4000)
    job = node.running(name="training", gpus=frozenset({GpuId("GPU-7")}))
    node.live = {int(job.id): LIVE}
    node.clock.advance(100)
    node.queued("bert", "next-one", gpus=2)
    node.building(bundle="new.zip")
    yield node
    node.close()


@pytest.fixture
def link(node: InMemoryNode) -> MemoryLink:
    """An admin's, who is told everything."""
    return node.link(node.tokens["olga"])


@pytest.fixture
def facts(link: MemoryLink) -> Facts:
    return gathered(link)


def gathered(link: MemoryLink) -> Facts:
    facts = Facts(me="anna", asked="gpu1:9090")
    for view in VIEWS:
        facts = facts.with_answer(view, ask(link, view))
    return facts


def moment(node: InMemoryNode) -> Moment:
    return Moment(node.clock.now(), 0.0, Trends())


def rows(facts: Facts, view: View, at: Moment, **chosen: Any) -> Picture:
    return picture(facts, Choice(view, **chosen), at, 200)


def lines_by_key(seen: Picture) -> dict[object, str]:
    return dict(zip(seen.keys, (line.plain for line in seen.lines), strict=True))


# --- the same facts as the API ---


def test_each_view_is_one_of_the_five_calls_of_dopq_1(link: MemoryLink) -> None:
    gathered(link)
    assert link.calls == [
        "get_running_containers_info",
        "get_enqueued_containers_info",
        "get_containers_history_info",
        "get_dopq_user_statistics",
        "get_dopq_system_status",
    ]
    assert [call[0] for call in CALLS.values()] == link.calls


@pytest.mark.parametrize("view", [View.RUNNING, View.ENQUEUED, View.HISTORY])
def test_a_list_has_a_row_for_each_job_of_its_call_with_the_same_facts(
    node: InMemoryNode, link: MemoryLink, facts: Facts, view: View
) -> None:
    jobs = link.call(*CALLS[view])
    seen = rows(facts, view, moment(node))
    assert seen.keys == [job["id"] for job in jobs]
    for job, line in zip(jobs, seen.lines, strict=True):
        assert line.plain.split()[:1] == [str(job["position"] or "-") if view is View.ENQUEUED else str(job["id"])]
        for fact in (job["name"], job["user"], job["state"], str(job["id"])):
            assert fact in line.plain
        told = " ".join(it.plain for it in detail(facts, Choice(view), job["id"], moment(node), 500))
        assert reason(job) in told
        if view is View.ENQUEUED:
            assert band(job) in line.plain
        if view is View.HISTORY and job["exit_code"] is not None:
            assert f"exit code {job['exit_code']}" in told


def test_what_runs_is_shown_with_its_live_figures(node: InMemoryNode, facts: Facts) -> None:
    assert facts.running
    [job] = facts.running
    [line] = rows(facts, View.RUNNING, moment(node)).lines
    for figure in ("3.9", size(LIVE["memory_bytes"]), "97 %", size(GPU["memory_used_bytes"])):  # type: ignore[arg-type]
        assert figure in line.plain
    told = "\n".join(it.plain for it in detail(facts, Choice(), job["id"], moment(node), 120))
    assert "31.0 GiB / 40.0 GiB" in told


def test_the_users_are_those_of_the_call_with_the_same_figures(
    node: InMemoryNode, link: MemoryLink, facts: Facts
) -> None:
    told = {user["user"]: user for user in link.call("get_dopq_user_statistics")}
    seen = lines_by_key(rows(facts, View.USERS, moment(node)))
    assert seen.keys() == told.keys()
    for name, line in seen.items():
        user = told[str(name)]
        figures = [str(name), f"{user['weight']:g}", f"{user['usage_gpu_seconds'] / 3600:.1f}"]
        figures += [f"{user['penalty'] / 3600:.1f}", str(user["gpus_held"]), *map(str, counts(user["jobs"]))]
        assert [part for part in line.split() if not set(part) & set("·▏▎▍▌▋▊▉█")] == figures


def test_the_system_shows_every_fact_of_its_call(node: InMemoryNode, link: MemoryLink, facts: Facts) -> None:
    node.controller.dopq_system_lock(node.users.by_name("olga"), True, "a new disk")  # type: ignore[arg-type]
    facts = facts.with_answer(View.SYSTEM, link.call("get_dopq_system_status"))
    shown = "\n".join(line.plain for line in rows(facts, View.SYSTEM, moment(node)).lines)
    for fact in (
        "olga has locked the queue", "a new disk", "The disk is nearly full.", "node1", "2.0.0", "20.10",
        "GPU-1", "GPU-2", "A100", "12 %", "1.0 GiB / 40.0 GiB", "41 °C", "65.5 W", "no: gpu_foreign",
        "4711", "eve", "512.0 MiB", "stranger", "/srv/dopq", "1.0 TiB", "512.0 GiB", "0.25", "iris.zip.part",
    ):  # fmt: skip
        assert fact in shown


def test_of_others_jobs_a_user_sees_what_is_public_and_no_more(node: InMemoryNode) -> None:
    facts = gathered(node.link(node.tokens["bert"]))
    [line] = rows(facts, View.RUNNING, moment(node)).lines
    assert "3.9" not in line.plain
    assert "12.0 GiB" not in line.plain
    assert "97 %" in line.plain


def test_a_service_that_knows_no_live_figures_yet_is_shown_all_the_same(node: InMemoryNode, facts: Facts) -> None:
    assert facts.running
    for job in facts.running:
        del job["live"]  # type: ignore[misc] # an older service
    [line] = rows(facts, View.RUNNING, moment(node)).lines
    assert "training" in line.plain
    assert detail(facts, Choice(), 4, moment(node), 80)


# --- what is chosen ---


def test_nothing_to_show_is_said(node: InMemoryNode) -> None:
    nobody = Facts(running=[], enqueued=[], history=[], users=[], system={})
    said = {view: [line.plain for line in rows(nobody, view, moment(node)).lines] for view in VIEWS}
    assert said[View.RUNNING] == ["Nothing runs."]
    assert said[View.ENQUEUED] == ["Nothing waits."]
    assert said[View.HISTORY] == ["No job has ended yet."]
    assert [line.plain for line in rows(Facts(), View.RUNNING, moment(node)).lines] == ["…"]


def test_only_mine_and_only_what_has_a_text_in_it(node: InMemoryNode, facts: Facts) -> None:
    at = moment(node)
    assert rows(facts, View.HISTORY, at, mine=True).keys == [3, 1]
    assert rows(facts, View.HISTORY, at, wanted="RESN").keys == [2]
    assert not rows(facts, View.HISTORY, at, wanted="nothing like it").selectable


def test_sorting_goes_through_the_columns_and_ends_as_it_came(node: InMemoryNode, facts: Facts) -> None:
    at, choice, seen = moment(node), Choice(View.HISTORY), []
    columns = columns_of(facts, View.HISTORY, at)
    for _ in range(sum(column.by is not None for column in columns)):
        choice = choice.resorted(columns)
        seen.append(choice.sorted_by[View.HISTORY])
        assert sorted(map(str, picture(facts, choice, at, 200).keys)) == ["1", "2", "3"]
    assert seen == [column.heading for column in columns if column.by]
    assert picture(facts, choice.resorted(columns), at, 200).keys == [3, 2, 1]


def test_a_list_that_is_cut_says_so(node: InMemoryNode, facts: Facts) -> None:
    assert facts.enqueued
    many = facts.with_answer(View.ENQUEUED, [{**facts.enqueued[0], "id": number} for number in range(JOBS)])
    assert rows(many, View.ENQUEUED, moment(node)).note == f"the first {JOBS}"
    assert "enqueued 2" in tabs(many, Choice()).plain  # by the queue's own count


# --- whatever it is given ---


def poisoned(data: Any, text: str) -> Any:
    """The same shape with other texts; numbers are numbers still."""
    match data:
        case str():
            return text
        case list():
            return [poisoned(item, text) for item in data]
        case dict():
            return {key: poisoned(value, text) for key, value in data.items()}
        case _:
            return data


@pytest.mark.parametrize("text", list(HOSTILE.values()), ids=list(HOSTILE))
@pytest.mark.parametrize("width", [20, 80, 120])
def test_no_text_acts_or_makes_a_line_too_wide(node: InMemoryNode, facts: Facts, text: str, width: int) -> None:
    lies = Facts(me=text, asked=text)
    for view in VIEWS:
        lies = lies.with_answer(view, poisoned(getattr(facts, view), text))
    at = moment(node)
    for view in VIEWS:
        seen = picture(lies, Choice(view, wanted=""), at, width)
        said = [detail(lies, Choice(view), key, at, width) for key in seen.keys]
        for line in (*seen.lines, *([seen.heading] if seen.heading else []), *(it for lines in said for it in lines)):
            assert shows_only_itself(line.plain)
            assert "\n" not in line.plain
            assert line.cell_len <= width
        if view in {View.RUNNING, View.ENQUEUED, View.HISTORY}:
            assert len(seen.lines) == len(getattr(facts, view))
    [job] = lies.running or []
    assert all(map(shows_only_itself, (cancel_question(job), hold_question(job), title(lies, at).plain)))


def test_trends_are_noted_from_whatever_is_told(node: InMemoryNode, facts: Facts) -> None:
    trends = Trends()
    running.note(trends, facts.running or (), 0.0)
    system.note(trends, facts.system or {}, 0.0)
    assert trends.last(("cpu", 4), 0.0, 1) == [3.9]
    assert trends.last(("gpu", "GPU-7"), 0.0, 1) == [97.0]
    assert trends.last(("gpu", "GPU-1"), 0.0, 1) == [12.0]
    assert trends.last(("gpu", "GPU-2"), 0.0, 1) == [None]


def test_silence_is_told_with_its_age_and_anything_else_in_its_own_words() -> None:
    seen_at, now = (
        datetime.fromisoformat("2026-01-05T10:00:00+01:00"),
        datetime.fromisoformat("2026-01-05T10:00:42+01:00"),
    )
    gone = ServiceUnreachable("The service at gpu1:9090 cannot be reached.")
    assert no_answer(gone, seen_at, now).plain == (
        "No answer for 42 s, asking again; this is of 10:00:00. The service at gpu1:9090 cannot be reached."
    )
    assert no_answer(gone, None, now).plain.startswith("No answer, asking again. ")
    assert (
        no_answer(NotLoggedIn("Your token has ended.", "Log in."), seen_at, now).plain
        == "Your token has ended. Log in."
    )


def test_the_help_fits_a_small_terminal() -> None:
    assert len(help_lines(80)) <= 22
