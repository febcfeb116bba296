"""Waiting for jobs to end: asking for news, not for the time."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import cast

from dopq.errors import TryAgain
from dopq.job import StateName
from dopq_client.arrival import await_results
from dopq_client.link import Link
from dopq_client.patience import PatientLink
from dopq_client.shapes import JobInfo, has_ended

POLL_S = 5.0
"""How long the service may hold a question open until there is news; its own limit."""


class WaitTimedOut(TryAgain):
    """The jobs did not end in the time given. They go on; `details["all_held"]`: once what holds them is over."""

    code = "wait_timed_out"


def wait(
    direct: Link,
    references: Iterable[int | str],
    timeout_s: float | None,
    *,
    any_of: bool,
    on_change: Callable[[JobInfo], None] | None,
) -> list[JobInfo]:
    """See `DopqClient.wait`."""
    deadline = None if timeout_s is None else time.monotonic() + timeout_s
    seq = newest(direct, 0, 0.0)  # before the first look, so that no change falls between the two
    jobs = [_job(direct, reference) for reference in references]
    link = PatientLink(direct, deadline)
    told = dict[int, str]()
    while True:
        for job in jobs:
            if on_change and told.get(job["id"]) != job["state"]:
                told[job["id"]] = job["state"]
                on_change(job)
        ended = [has_ended(job) for job in jobs]
        if all(ended) or (any_of and any(ended)):
            await_results(link, jobs, deadline)
            return jobs
        seq = _next_change(link, seq, deadline, jobs)
        jobs = [job if has_ended(job) else _job(link, job["id"]) for job in jobs]


def _job(link: Link, reference: int | str) -> JobInfo:
    return cast("JobInfo", link.call("get_job", str(reference)))


def newest(link: Link, after_seq: int, wait_s: float) -> int:
    """The newest entry of the node's journal, as soon as it is another than `after_seq`, or after `wait_s`."""
    return int(link.call("wait_for_change", after_seq, wait_s))


def _next_change(link: Link, seq: int, deadline: float | None, jobs: list[JobInfo]) -> int:
    """Block until something has changed on the node."""
    while True:
        left = POLL_S if deadline is None else deadline - time.monotonic()
        if left <= 0:
            open_jobs = [job for job in jobs if not has_ended(job)]
            raise WaitTimedOut(
                f"The time ran out; these jobs go on: {', '.join(str(job['id']) for job in open_jobs)}.",
                "Wait again, or longer.",
                all_held=all(job["state"] == StateName.HELD for job in open_jobs),
            )
        now = newest(link, seq, min(left, POLL_S))
        if now != seq:  # smaller after a restart of the node: that is news too
            return now
