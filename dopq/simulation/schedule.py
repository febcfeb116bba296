"""The schedule as a file: from it alone every figure can be recomputed."""

from __future__ import annotations

import csv
from collections.abc import Iterable
from pathlib import Path

from dopq.errors import UserError
from dopq.simulation.replay import Run

COLUMNS = ("job", "user", "submit_s", "start_s", "end_s", "num_gpus")


def write_schedule(path: Path, runs: Iterable[Run]) -> None:
    """Write when each job ran, as CSV; seconds on the trace's own clock, with all their digits.

    Raises:
        UserError: there is no writing there.
    """
    try:
        with path.open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(COLUMNS)
            for run in runs:
                job = run.job
                writer.writerow((job.id, job.user, job.submit_s, run.start_s, run.end_s, job.num_gpus))
    except OSError as error:
        raise UserError(f"The schedule cannot be written: {error}.", "Name a file in a folder of yours.") from error
