"""The words around what can be done: questions, keys, help. Pure."""

from __future__ import annotations

from rich.text import Text

from dopq.clean import clean
from dopq.job import StateName
from dopq_client.shapes import JobInfo
from dopq_client.top.picture import rendered

_NAME = 40
"""The characters of a name that are shown in a question."""

KEYS = "enter log  w why  c cancel  h hold  / filter  m mine  s sort  ? help  q quit"

_HELP = """\
1 to 5, Tab, ← →    the views: running, enqueued, history, users, system
↑ ↓, j k            select; PgUp PgDn Home End go further
Enter, l            the job's log, as it grows (b: that of its build)
w                   why it waits, or all about it
c                   cancel it, after a question
h                   hold it, or release it when it is held, after a question
/                   show only what has a text in it; Escape shows all again
m                   show only what is mine, and everybody's again
s                   sort by the next column, and at the end as it came
q, Ctrl-C           quit; jobs go on

A bar is how full something is. A line of small columns is how it was in the last minutes, ten seconds each.
CPU is in cores. CPU and memory are told of your own jobs, to admins of all.
GPU is how busy the job's GPUs are, on average, and GPU MEM how full, together; both are of the whole GPU.
STARTS IN: eight of ten jobs start within these two times. PENALTY: the smallest goes first.
What is not known is "-"."""


def help_lines(width: int) -> list[Text]:
    """All keys, and what the figures are."""
    return rendered(_HELP, width)


def cancel_question(job: JobInfo) -> str:
    """What is asked before a job is cancelled."""
    kept = " It is stopped; its logs and outputs so far are kept." if job["started_at"] else ""
    return f"Cancel {_named(job)}?{kept}"


def hold_question(job: JobInfo) -> str:
    """What is asked before a job is held, or released when it is held."""
    if job["state"] == StateName.HELD:
        return f"Release {_named(job)}, so that it goes on?"
    return f"Hold {_named(job)}: keep it out of the queue until it is released?"


def _named(job: JobInfo) -> str:
    name = Text(clean(job["name"]))
    name.truncate(_NAME, overflow="ellipsis")
    return f"job {job['id']} ({name}) of {clean(job['user'])}"
