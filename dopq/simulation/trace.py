"""Traces: jobs that somebody once ran, as CSV or in the Standard Workload Format."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from dopq.errors import BadTrace

COLUMNS = ("job", "user", "submit_s", "num_gpus", "duration_s")

BATCH_GAP_S = 600.0
"""Jobs of one user and size that follow each other this closely are taken for one batch, which runs alike."""


@dataclass(frozen=True, slots=True)
class TracedJob:
    """One job of a trace.

    Attributes:
        submit_s: seconds since any moment, the same for the whole trace.
        duration_s: seconds that it ran.
        limit_s: its time limit; None where the trace has none.
        name: jobs of one user and name are alike.
    """

    id: str
    user: str
    submit_s: float
    num_gpus: int
    duration_s: float
    limit_s: float | None = None
    name: str = ""


def read_trace(path: Path) -> list[TracedJob]:
    """The jobs of a trace in the order of their submission; `*.swf` is in the Standard Workload Format, others CSV.

    Raises:
        BadTrace: it cannot be read, or a line of it makes no sense; says which.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as lines:
            jobs = list(_swf(lines) if path.suffix.lower() == ".swf" else _csv(lines))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise BadTrace(f"The trace {path} cannot be read: {error}.", "Give a CSV or SWF file.") from error
    if not jobs:
        raise BadTrace(f"The trace {path} has no jobs.", f"A CSV has the columns {', '.join(COLUMNS)}.")
    return list(_batched(sorted(jobs, key=lambda job: job.submit_s)))


def _csv(lines: Iterable[str]) -> Iterator[TracedJob]:
    reader = csv.DictReader(lines)
    missing = [name for name in COLUMNS if name not in (reader.fieldnames or ())]
    if missing:
        raise BadTrace(
            f"The trace has no column {', '.join(missing)}.",
            f"Its first line has to be {','.join(COLUMNS)}, perhaps with limit_s.",
        )
    ids: set[str] = set()
    for row in reader:
        where = f"line {reader.line_num}"
        limit = row.get("limit_s")
        yield TracedJob(
            _new(_name(row, "job", where), ids, where),
            _name(row, "user", where),
            _number(row, "submit_s", where),
            int(_number(row, "num_gpus", where, whole=True)),
            _number(row, "duration_s", where),
            _number(row, "limit_s", where) if limit else None,
        )


def _new(job: str, ids: set[str], where: str) -> str:
    if job in ids:
        raise BadTrace(f"The trace names job {job} again in {where}.", "Give each job a number of its own.")
    ids.add(job)
    return job


def _name(row: Mapping[str, str | None], column: str, where: str) -> str:
    if not (text := row[column]):
        raise BadTrace(f"The trace has no {column} in {where}.", f"Write one into the column {column}.")
    return text


def _number(row: Mapping[str, str | None], column: str, where: str, *, whole: bool = False) -> float:
    text = row[column] or ""
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not math.isfinite(number) or number < 0 or (whole and number != int(number)):
        kind = "a whole number" if whole else "a number"
        raise BadTrace(f"The trace has {column} {text!r} in {where}.", f"Write {kind} that is 0 or more.")
    return number


def _swf(lines: Iterable[str]) -> Iterator[TracedJob]:
    """https://www.cs.huji.ac.il/labs/parallel/workload/swf.html: 18 fields, -1 for unknown; processors are our GPUs."""
    ids: set[str] = set()
    for number, line in enumerate(lines, start=1):
        fields = line.split()
        if not fields or fields[0].startswith(";"):
            continue
        try:
            job, user = fields[0], fields[11]
            submit_s, run_s, used, asked, limit_s = (_finite(fields[place]) for place in (1, 3, 4, 7, 8))
        except (IndexError, ValueError):
            raise BadTrace(
                f"The trace's line {number} is not in the Standard Workload Format.", "It has 18 numbers in each line."
            ) from None
        if submit_s >= 0 and run_s >= 0:  # what was cancelled before it ran, or has no time, cannot be replayed
            processors = int(asked if asked > 0 else max(used, 0))
            job = _new(job, ids, f"line {number}")
            yield TracedJob(job, user, submit_s, processors, run_s, limit_s if limit_s > 0 else None)


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(text)
    return number


def _batched(jobs: Iterable[TracedJob]) -> Iterator[TracedJob]:
    """Name jobs after their batch: traces keep no names, but what is handed in together is mostly one experiment."""
    batches: dict[tuple[str, int], tuple[int, float]] = {}
    for job in jobs:
        number, last_s = batches.get((job.user, job.num_gpus), (0, -math.inf))
        number += job.submit_s - last_s > BATCH_GAP_S
        batches[job.user, job.num_gpus] = number, job.submit_s
        yield TracedJob(
            job.id,
            job.user,
            job.submit_s,
            job.num_gpus,
            job.duration_s,
            job.limit_s,
            f"{job.num_gpus} GPUs, batch {number}",
        )
