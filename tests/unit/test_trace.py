"""Traces are read as they are, or refused with the line that is wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from dopq.errors import BadTrace
from dopq.simulation.trace import BATCH_GAP_S, TracedJob, read_trace

HEAD = "job,user,submit_s,num_gpus,duration_s"


def trace(folder: Path, text: str | bytes, name: str = "trace.csv") -> Path:
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def test_a_csv_is_read_in_the_order_of_submission(tmp_path: Path) -> None:
    path = trace(tmp_path, f"{HEAD},limit_s\nb,bert,50,2,10.5,\na,anna,0,0,3,60\n")
    assert read_trace(path) == [
        TracedJob("a", "anna", 0.0, 0, 3.0, 60.0, "0 GPUs, batch 1"),
        TracedJob("b", "bert", 50.0, 2, 10.5, None, "2 GPUs, batch 1"),
    ]


def test_columns_may_stand_in_any_order_and_others_beside_them(tmp_path: Path) -> None:
    path = trace(tmp_path, "\ufeffduration_s,user,queue,job,num_gpus,submit_s\r\n3,anna,gpu,a,1,0\r\n\r\n")
    assert read_trace(path) == [TracedJob("a", "anna", 0.0, 1, 3.0, None, "1 GPUs, batch 1")]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "no column job, user, submit_s, num_gpus, duration_s"),
        ("job,user\na,anna\n", "no column submit_s, num_gpus, duration_s"),
        (f"{HEAD}\n", "has no jobs"),
        (f"{HEAD}\na,anna,0,1,3\na,bert,0,1,3\n", "names job a again in line 3"),
        (f"{HEAD}\na,anna,soon,1,3\n", "submit_s 'soon' in line 2"),
        (f"{HEAD}\na,anna,-1,1,3\n", "submit_s '-1' in line 2"),
        (f"{HEAD}\na,anna,0,1.5,3\n", "num_gpus '1.5' in line 2"),
        (f"{HEAD}\na,anna,0,1,nan\n", "duration_s 'nan' in line 2"),
        (f"{HEAD}\na,anna,0,1,inf\n", "duration_s 'inf' in line 2"),
        (f"{HEAD}\na,anna,0,1\n", "duration_s '' in line 2"),
        (f"{HEAD},limit_s\na,anna,0,1,3,-5\n", "limit_s '-5' in line 2"),
        (f"{HEAD}\n,anna,0,1,3\n", "has no job in line 2"),
        (f"{HEAD}\na,,0,1,3\n", "has no user in line 2"),
        ("job,submit_s,num_gpus,duration_s,user\na,0,1,3\n", "has no user in line 2"),
    ],
)
def test_a_csv_that_makes_no_sense_is_refused_with_the_line(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(BadTrace) as refused:
        read_trace(trace(tmp_path, text))
    assert words in str(refused.value)


def test_a_trace_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    for path in (tmp_path / "missing.csv", tmp_path, trace(tmp_path, b"job,\xff\xfe")):
        with pytest.raises(BadTrace, match="cannot be read"):
            read_trace(path)


# --- Standard Workload Format ---


def swf(
    job: str = "1", submit: str = "0", run: str = "10", used: str = "4", asked: str = "8", limit: str = "60"
) -> str:
    """One line: job, submit, wait, run, used, cpu, memory, asked, time limit, memory, status, user, and six more."""
    return f"{job} {submit} 5 {run} {used} -1 -1 {asked} {limit} -1 1 7 3 -1 1 -1 -1 -1"


def test_swf_is_read_as_its_definition_says(tmp_path: Path) -> None:
    text = f"; UnixStartTime: 0\n\n{swf('2', '30', asked='-1', limit='-1')}\n{swf()}\n{swf('3', '40', run='-1')}\n{swf('4', '-1')}\n"
    assert read_trace(trace(tmp_path, text, "log.SWF")) == [
        TracedJob("1", "7", 0.0, 8, 10.0, 60.0, "8 GPUs, batch 1"),
        TracedJob("2", "7", 30.0, 4, 10.0, None, "4 GPUs, batch 1"),
    ]


@pytest.mark.parametrize(
    "line",
    [
        "1 2 3",
        swf(submit="x"),
        swf(run="nan"),
        swf(submit="nan"),
        swf(asked="inf"),
        swf(limit="nan"),
        "job,user,submit_s,num_gpus,duration_s",
    ],
)
def test_a_line_that_is_not_in_swf_is_refused_with_its_number(tmp_path: Path, line: str) -> None:
    with pytest.raises(BadTrace, match="line 2 is not in the Standard Workload Format"):
        read_trace(trace(tmp_path, f"{swf()}\n{line}\n", "log.swf"))


def test_swf_jobs_of_one_number_are_refused(tmp_path: Path) -> None:
    with pytest.raises(BadTrace, match="names job 1 again in line 2"):
        read_trace(trace(tmp_path, f"{swf()}\n{swf()}\n", "log.swf"))


# --- batches ---


def test_what_a_user_hands_in_together_is_one_batch(tmp_path: Path) -> None:
    rows = [
        ("a", "anna", 0, 1),
        ("b", "anna", BATCH_GAP_S, 1),  # close behind
        ("c", "anna", BATCH_GAP_S, 2),  # another size
        ("d", "bert", BATCH_GAP_S, 1),  # another user
        ("e", "anna", 2 * BATCH_GAP_S + 1, 1),  # too late
    ]
    lines = "".join(f"{job},{user},{submit_s},{gpus},5\n" for job, user, submit_s, gpus in rows)
    names = {job.id: job.name for job in read_trace(trace(tmp_path, f"{HEAD}\n{lines}"))}
    assert names == {
        "a": "1 GPUs, batch 1",
        "b": "1 GPUs, batch 1",
        "c": "2 GPUs, batch 1",
        "d": "1 GPUs, batch 1",
        "e": "1 GPUs, batch 2",
    }
