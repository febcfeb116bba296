"""`dopq simulate`: its figures follow from the schedule that it writes, and it says what it left out."""

from __future__ import annotations

import csv
import json
import math
import random
import sys
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from click.testing import CliRunner, Result

from dopq.cli import main

Run = Callable[..., Result]

PHILLY = Path(__file__).parents[3] / "shared" / "data" / "philly_dev.csv"


class Row(NamedTuple):
    """One line of a schedule."""

    user: str
    submit_s: float
    start_s: float
    end_s: float
    gpus: int

    @property
    def wait_s(self) -> float:
        return self.start_s - self.submit_s


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.chdir(tmp_path)
    return lambda *words: CliRunner().invoke(main, ["simulate", *map(str, words)], catch_exceptions=False)


@pytest.fixture
def trace(tmp_path: Path) -> Path:
    """Three users who want more than there is, one with large jobs; and two jobs that never fit eight GPUs."""
    chance = random.Random(5)
    path = tmp_path / "trace.csv"
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["job", "user", "submit_s", "num_gpus", "duration_s"])
        for number in range(200):
            user = chance.choice(["ana", "ben", "[bold]cem"])
            gpus = chance.choice([4, 8] if user == "ben" else [0, 1, 1, 2])
            writer.writerow([number, user, round(chance.uniform(0, 9e4), 3), gpus, round(chance.expovariate(1 / 3000))])
        writer.writerow(["a", "ana", 10, 9, 60])
        writer.writerow(["b", "ana", 10, 16, 60])
    return path


def figures(result: Result) -> dict[str, Any]:
    assert result.exit_code == 0, result.stderr
    told: dict[str, Any] = json.loads(result.stdout)
    return told


def read_schedule(path: Path) -> list[Row]:
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["job", "user", "submit_s", "start_s", "end_s", "num_gpus"]
    return [
        Row(row["user"], *(float(row[name]) for name in ("submit_s", "start_s", "end_s")), int(row["num_gpus"]))
        for row in rows
    ]


def share_error_by_definition(rows: list[Row]) -> float:
    """As docs/simulate.md defines it, moment by moment: slow, and nothing like the code under test."""
    gpu_rows = [row for row in rows if row.gpus]
    moments = sorted({at for row in gpu_rows for at in (row.submit_s, row.start_s, row.end_s)})
    served = dict.fromkeys({row.user for row in gpu_rows}, 0.0)
    due = dict.fromkeys(served, 0.0)
    for begin, end in pairwise(moments):
        middle = (begin + end) / 2
        waiting = {row.user for row in gpu_rows if row.submit_s < middle < row.start_s}
        if len(waiting) < 2:
            continue
        running = [row for row in gpu_rows if row.start_s < middle < row.end_s]
        for row in running:
            served[row.user] += row.gpus * (end - begin)
        for user in waiting:
            due[user] += sum(row.gpus for row in running) * (end - begin) / len(waiting)
    return sum(abs(served[user] - due[user]) for user in served) / 2 / sum(served.values())


def assert_waits(told: dict[str, float], rows: list[Row]) -> None:
    waits = sorted(row.wait_s for row in rows)
    assert told == pytest.approx(
        {
            "mean": sum(waits) / len(waits),
            "p50": next(wait for place, wait in enumerate(waits, 1) if place >= 0.50 * len(waits)),
            "p99": next(wait for place, wait in enumerate(waits, 1) if place >= 0.99 * len(waits)),
            "max": waits[-1],
        }
    )


@pytest.mark.parametrize("policy", ["fairshare", "recency", "fifo"])
@pytest.mark.parametrize("limits", ["true", "none", "history"])
def test_every_figure_follows_from_the_schedule(run: Run, trace: Path, policy: str, limits: str) -> None:
    words = ["--gpus", 8, "--policy", policy, "--limits", limits, "--json", "--schedule", "schedule.csv"]
    told = figures(run(trace, *words))
    rows = read_schedule(Path("schedule.csv"))
    [policy_told] = told["policies"]
    assert (told["schema_version"], told["jobs"], len(rows)) == (1, 200, 200)
    assert policy_told["policy"] == policy
    assert_waits(policy_told["wait_s"], rows)
    assert policy_told["mean_bounded_slowdown"] == pytest.approx(
        sum(max(1, (row.end_s - row.submit_s) / max(10, row.end_s - row.start_s)) for row in rows) / len(rows)
    )
    span_s = max(row.end_s for row in rows) - min(row.submit_s for row in rows)
    used = sum(row.gpus * (row.end_s - row.start_s) for row in rows)
    assert policy_told["utilisation"] == pytest.approx(used / span_s / 8)
    assert policy_told["share_error"] == pytest.approx(share_error_by_definition(rows))
    assert [each["user"] for each in policy_told["users"]] == ["[bold]cem", "ana", "ben"]
    for each in policy_told["users"]:
        own = [row for row in rows if row.user == each["user"]]
        assert each["jobs"] == len(own)
        assert each["gpu_seconds"] == pytest.approx(sum(row.gpus * (row.end_s - row.start_s) for row in own))
        assert_waits(each["wait_s"], own)


@pytest.mark.parametrize("policy", ["fairshare", "recency", "fifo"])
def test_the_schedule_never_holds_more_gpus_than_there_are(run: Run, trace: Path, policy: str) -> None:
    figures(run(trace, "--gpus", 8, "--policy", policy, "--json", "--schedule", "schedule.csv"))
    rows = read_schedule(Path("schedule.csv"))
    for at in (row.start_s for row in rows):
        assert sum(row.gpus for row in rows if row.start_s <= at < row.end_s) <= 8
    assert all(row.wait_s >= 0 for row in rows)


def test_it_says_how_many_jobs_were_left_out_and_cut(run: Run, trace: Path) -> None:
    told = figures(run(trace, "--gpus", 8, "--max-limit", "30m", "--json", "--schedule", "schedule.csv"))
    lengths = [row.end_s - row.start_s for row in read_schedule(Path("schedule.csv"))]
    assert told["left_out"] == 2
    assert told["max_limit_s"] == 1800
    assert max(lengths) == pytest.approx(1800)
    assert 0 < told["cut"] == sum(math.isclose(length, 1800, abs_tol=1e-6) for length in lengths)
    words = run(trace, "--gpus", 8, "--max-limit", "30m").stdout
    assert "Left out: 2," in words
    assert f"Cut: {told['cut']}," in words


def test_several_policies_stand_side_by_side(run: Run, trace: Path) -> None:
    result = run(trace, "--gpus", 8, "--policy", "fifo,recency", "--policy", "all")
    first_table = result.stdout.split("\n\n")[1].splitlines()
    assert [line.split()[0] for line in first_table] == ["POLICY", "fifo", "recency", "fairshare"]
    assert "[bold]cem" in result.stdout
    assert result.stderr == ""
    told = figures(run(trace, "--gpus", 8, "--policy", "all", "--json"))
    assert [each["policy"] for each in told["policies"]] == ["fairshare", "recency", "fifo"]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--policy", "lottery"], "no policy 'lottery'"),
        (["--half-life", "7"], "no duration"),
        (["--half-life", "0s"], "no duration"),
        (["--policy", "all", "--schedule", "schedule.csv"], "name one --policy"),
        (["--gpus", "0"], "--gpus"),
        (["--schedule", "no/such/folder.csv"], "The schedule cannot be written"),
    ],
)
def test_wrong_use_is_told_and_ends_with_2(run: Run, trace: Path, words: list[str], told: str) -> None:
    result = run(trace, "--gpus", "8", *words)
    assert result.exit_code == 2
    assert told in " ".join(result.stderr.split())
    assert result.stdout == ""


HEAD = "job,user,submit_s,num_gpus,duration_s,limit_s\n"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "no column job, user, submit_s, num_gpus, duration_s"),
        (HEAD, "has no jobs"),
        (f"{HEAD}1,ana,0,1,60,\n2,ana,soon,1,60,\n", "submit_s 'soon' in line 3"),
        (f"{HEAD}1,ana,0,1,60,\n\n1,ana,5,1,60,\n", "names job 1 again in line 4"),
        (f"{HEAD}1,ana,0,1.5,60,\n", "num_gpus '1.5' in line 2"),
        (f"{HEAD}1,ana,0,1,-60,\n", "duration_s '-60' in line 2"),
        (f"{HEAD}1,ana,0,1,nan,\n", "duration_s 'nan' in line 2"),
        (f"{HEAD}1,ana,0,1,60,inf\n", "limit_s 'inf' in line 2"),
        (f"{HEAD}1,ana,0,1,60,,7\n", "too many values in line 2"),
        (f"{HEAD}1\n", "no user in line 2"),
        (f"{HEAD}1,ana,0,16,60,\n", "asks for more than 8 GPUs"),
    ],
)
def test_a_bad_trace_names_the_line_and_ends_with_2(run: Run, tmp_path: Path, text: str, told: str) -> None:
    bad = tmp_path / "bad.csv"
    bad.write_text(text)
    result = run(bad, "--gpus", 8)
    assert (result.exit_code, result.stdout) == (2, "")
    assert told in result.stderr


@pytest.mark.parametrize("line", ["1 0 -1 60", "1 0 -1 60 nan -1 -1 1 -1 -1 1 7 -1 -1 -1 -1 -1 -1"])
def test_a_bad_line_of_an_swf_is_named(run: Run, tmp_path: Path, line: str) -> None:
    bad = tmp_path / "bad.swf"
    bad.write_text(f"; a comment\n{line}\n")
    result = run(bad, "--gpus", 8)
    assert result.exit_code == 2
    assert "line 2 is not in the Standard Workload Format" in result.stderr


def test_an_swf_is_read_with_its_limits(run: Run, tmp_path: Path) -> None:
    swf = tmp_path / "trace.swf"
    swf.write_text(
        "; job submit wait run used cpu mem asked limit mem status user group app queue part prev think\n"
        "1 0 -1 100 2 -1 -1 -1 200 -1 1 7 -1 -1 -1 -1 -1 -1\n"
        "2 5 -1 100 1 -1 -1 4 50 -1 1 8 -1 -1 -1 -1 -1 -1\n"
        "3 6 -1 -1 1 -1 -1 4 50 -1 5 8 -1 -1 -1 -1 -1 -1\n"
    )
    figures(run(swf, "--gpus", 4, "--json", "--schedule", "schedule.csv"))
    assert read_schedule(Path("schedule.csv")) == [Row("7", 0, 0, 100, 2), Row("8", 5, 100, 150, 4)]


def test_a_plot_without_matplotlib_names_what_to_install(
    run: Run, trace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    result = run(trace, "--gpus", 8, "--plot", "plot.png")
    assert result.exit_code == 2
    assert "dopq[plot]" in result.stderr
    assert not Path("plot.png").exists()


def test_a_plot_is_a_picture(run: Run, trace: Path) -> None:
    assert run(trace, "--gpus", 8, "--policy", "all", "--plot", "plot.png").exit_code == 0
    assert Path("plot.png").read_bytes().startswith(b"\x89PNG\r\n")


def test_on_a_real_trace_fairshare_splits_far_more_evenly_than_the_others(run: Run) -> None:
    if not PHILLY.exists():
        pytest.skip(f"needs {PHILLY.name} (18,811 real jobs), which is not part of the repository")
    lines = PHILLY.read_text().splitlines(keepends=True)
    Path("slice.csv").write_text("".join(lines[:1501]))
    told = figures(run("slice.csv", "--gpus", 60, "--policy", "all", "--json"))
    error = {each["policy"]: each["share_error"] for each in told["policies"]}
    assert error["fairshare"] < 0.75 * min(error["recency"], error["fifo"])
