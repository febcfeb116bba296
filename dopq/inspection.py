"""Gathers what the invariants of a node are held against, whether the node runs or not. Changes nothing."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from dopq.config import Paths, QueueSettings
from dopq.container_handler.container import NODE_LABEL, run_of
from dopq.container_handler.engine import ContainerEngine
from dopq.database import Database
from dopq.errors import EngineUnavailable, NotFound, OperatorError, UserError
from dopq.invariants.evidence import Evidence, Run
from dopq.job import JobId
from dopq.ledger import Ledger
from dopq.store import Journal
from dopq.utils.clock import Clock


def gather(
    paths: Paths, queue: QueueSettings, engine: ContainerEngine, clock: Clock, witnesses: Path | None = None
) -> Evidence:
    """Look at the journal, the engine and the share.

    Args:
        witnesses: a folder of files in which jobs have written `$DOPQ_JOB $DOPQ_ATTEMPT PID`, a line as each started.

    Raises:
        NotFound: there is no journal.
        OperatorError: it cannot be read.
        UserError: a line of a witness makes no sense.
    """
    if not paths.journal.exists():
        raise NotFound(f"There is no journal at {paths.journal}.", "`dopq serve` makes it; look at node.state.")
    with closing(Database(paths.journal)) as database:
        journal = Journal(database)
        containers = _containers(engine, journal.noted("node_id") or "")
        told = dict(_told(paths))
        with database.snapshot():
            accounts, now = journal.accounts(), clock.now()
            jobs, events = journal.changed_since(0), journal.events()
    return Evidence(
        jobs,
        events,
        accounts,
        Ledger(accounts, queue.half_life_s, queue.cpu_job_rate),
        now,
        containers,
        told,
        None if witnesses is None else list(_witnessed(witnesses)),
    )


def _containers(engine: ContainerEngine, node_id: str) -> set[Run] | None:
    try:
        names = engine.containers({NODE_LABEL: node_id})
    except EngineUnavailable:
        return None
    return {Run(*run) for name in names if (run := run_of(node_id, name))}


def _told(paths: Paths) -> Iterator[tuple[JobId, str]]:
    """Jobs that have a folder of ours, in the outbox or on our own disk; users' own folders there tell nothing."""
    for folder in (*paths.outbox.glob("*/*"), *paths.jobs.glob("*")):
        number = folder.name.partition("-")[0]
        if number.isascii() and number.isdigit() and folder.lstat().st_uid == os.geteuid():
            yield JobId(int(number)), str(folder)


def _witnessed(folder: Path) -> Iterator[Run]:
    try:
        lines = [line for file in sorted(folder.iterdir()) for line in file.read_text(encoding="ascii").splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        raise OperatorError(
            f"The witnesses in {folder} cannot be read: {error}.", "Name the folder they are in."
        ) from error
    for line in lines:
        try:
            job, attempt, _pid = line.split()
            yield Run(JobId(int(job)), int(attempt))
        except ValueError as error:
            raise UserError(
                f"A witness says {line!r}.", "Have jobs write lines of three numbers: $DOPQ_JOB $DOPQ_ATTEMPT PID."
            ) from error
