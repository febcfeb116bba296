"""Bringing a job's results for a verb: where to, with a bar, and words on what has come of it."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from dopq.clean import clean
from dopq_client.fetching import Tell
from dopq_client.progress import fetch_bar
from dopq_client.shapes import FetchedFile, JobInfo, has_ended
from dopq_client.words import counted, outcome, size

Fetch = Callable[[int, Path, Tell | None], list[FetchedFile]]
"""`DopqClient.fetch`, or `fetch_outputs`."""


def bring(say: Callable[[str], None], fetch: Fetch, job: JobInfo, folder: Path) -> list[FetchedFile]:
    """Bring results of a job into a folder, and say so. Whoever interrupts it is told how to go on."""
    what = "" if has_ended(job) else f" {outcome(job)} This is its log so far."
    try:
        with fetch_bar(f"Fetching job {job['id']}") as progress:
            files = fetch(job["id"], folder, progress)
    except KeyboardInterrupt:
        again = f"dopq-client fetch {job['id']} -o {clean(folder)}"
        say(f"\nInterrupted. What has come is in {clean(folder)}; go on with: {again}")
        raise
    total, kept = size(sum(file["size"] for file in files)), sum(file["kept"] for file in files)
    before = f", {kept} of them from before" if kept else ""
    say(f"{counted(len(files), 'file')} ({total}{before}) of job {job['id']} are in {clean(folder)}.{what}")
    return files


def folder_name(job: JobInfo) -> str:
    """Where a job's results go by default. The job's name takes part only if it is what a name has to be."""
    return f"{job['id']}-{job['name']}" if re.fullmatch(r"[a-z0-9][a-z0-9_.-]{0,62}", job["name"]) else str(job["id"])
