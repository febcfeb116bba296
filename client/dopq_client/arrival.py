"""Waiting for what a job left: it ends as soon as its GPUs are free, and its results come into the share after that."""

from __future__ import annotations

import time
from contextlib import suppress

from dopq.errors import DopqError, TryAgain
from dopq_client.link import Link
from dopq_client.shapes import JobInfo, has_ended

PATIENCE_S = 10.0
"""How long results may take; with a share that is away they come when it is back."""

PAUSE_S = 0.05


def await_results(link: Link, jobs: list[JobInfo], deadline: float | None) -> None:
    """Return when the results of those jobs that have ended are in the share, or patience has an end.

    `deadline`: on the monotonic clock, when patience ends at the latest.
    """
    end = time.monotonic() + PATIENCE_S
    if deadline is not None:
        end = min(end, deadline)
    for job in jobs:
        if has_ended(job) and job["started_at"]:
            with suppress(DopqError):  # somebody else's, or a node that is away: who reads them is told
                _await(link, str(job["id"]), end)


def _await(link: Link, job: str, end: float) -> None:
    while True:
        try:
            link.call("list_results", job)
        except TryAgain:
            if time.monotonic() > end:
                return
            time.sleep(PAUSE_S)
        else:
            return
