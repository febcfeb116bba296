"""Jobs for spreadsheets: CSV (RFC 4180), with the fields of docs/json.md that fit into a cell."""

from __future__ import annotations

import csv
import sys
from collections.abc import Iterable

from dopq.clean import clean
from dopq_client.shapes import JobInfo

FIELDS = (
    *("id", "name", "user", "state", "node", "num_gpus", "num_slots", "memory_bytes"),
    *("submitted_at", "queued_at", "started_at", "finished_at", "exit_code", "gpu_seconds", "reason"),
)


def write(jobs: Iterable[JobInfo]) -> None:
    """A heading, then a line a job. What is absent is empty; of a reason it is the code."""
    rows = csv.writer(sys.stdout, lineterminator="\n")
    rows.writerow(FIELDS)
    for job in jobs:
        rows.writerow([_cell(field, job) for field in FIELDS])


def _cell(field: str, job: JobInfo) -> object:
    value = job.get(field)
    if field == "reason" and job["reason"]:
        value = job["reason"]["code"]
    if isinstance(value, str):
        value = clean(value)
        # A spreadsheet runs what begins so (OWASP, "CSV Injection"); such a name is none of ours.
        return f"'{value}" if value.startswith(("=", "+", "-", "@")) else value
    return "" if value is None else value
