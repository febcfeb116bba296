"""What the three lists of jobs have in common. Pure."""

from __future__ import annotations

from dopq.clean import clean
from dopq_client.shapes import JobInfo
from dopq_client.top.table import Column
from dopq_client.views import state_text
from dopq_client.words import NOTHING

JOB: Column[JobInfo] = Column("JOB", lambda job: str(job["id"]), by=lambda job: -job["id"], right=True)
NAME: Column[JobInfo] = Column("NAME", lambda job: clean(job["name"]), by=lambda job: job["name"], most=24, least=8)
USER: Column[JobInfo] = Column("USER", lambda job: clean(job["user"]), by=lambda job: job["user"], most=10)
STATE: Column[JobInfo] = Column("STATE", lambda job: state_text(job["state"]), by=lambda job: job["state"], most=12)
GPUS: Column[JobInfo] = Column(
    "GPUS",
    lambda job: NOTHING if job["num_gpus"] is None else str(job["num_gpus"]),
    by=lambda job: -(job["num_gpus"] or 0),
    right=True,
)


def one_line(text: str) -> str:
    """A text of several lines as one."""
    return " ".join(text.split())
