"""The thread that tells users, through the share, how their jobs stand.

Everything it writes follows from the journal: `status.json`, `status.txt` and `report.txt` in the job's outbox, and the
bundle of a job that did not succeed back in `invalid/` or `failed/` beside its reason. So it may fail, be killed and
begin again anywhere. A share that is away holds up nobody but its readers.
"""

from __future__ import annotations

import json
import shutil
import threading
from pathlib import Path

from dopq.config import Paths
from dopq.data_platform import DataPlatform
from dopq.job import Ended, Job, JobId, StateName, UserName
from dopq.outbox import REPORT, STATUS_JSON, STATUS_TEXT, Outbox
from dopq.report import report, status_text
from dopq.share import require_share
from dopq.utils.files import write_atomic
from dopq.utils.log import logger
from dopq.wire import SCHEMA_VERSION, problem_to_wire, reason_to_wire

log = logger(__name__)

LONGEST_NAME = 200
"""Bytes of a returned bundle's name; file systems take 255, and shelves need names that are longer by some."""

RETRY_S = 1.0
"""How long to leave a share alone that did not take a file."""


class Publisher:
    """Writes what changed to the share, in the order in which it changed."""

    def __init__(self, platform: DataPlatform, outbox: Outbox, paths: Paths) -> None:
        self._platform = platform
        self._outbox = outbox
        self._paths = paths
        self._doorbell = threading.Condition()
        self._pending: dict[JobId, Job] = {job.id: job for job in platform.unpublished()}
        self._told_seq = 0  # the newest journal entry that the share tells of
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="publisher", daemon=True)
        self.trouble: str | None = None  # why the share does not take files at present, for `system`

    def start(self) -> None:
        """Begin with whatever was not told before the last stop."""
        self._platform.subscribe(self._note)
        self._thread.start()

    def stop(self, timeout_s: float) -> None:
        """Tell what is still to be told, unless the share refuses; what remains is told at the next start."""
        with self._doorbell:
            self._stopping = True
            self._doorbell.notify()
        self._thread.join(timeout_s)

    def _note(self, job: Job) -> None:
        with self._doorbell:
            self._pending.pop(job.id, None)  # to the end of the line: published in the order of the last change
            self._pending[job.id] = job
            self._doorbell.notify()

    def _run(self) -> None:
        while True:
            with self._doorbell:
                self._doorbell.wait_for(lambda: self._pending or self._stopping)
                if not self._pending:
                    return
                line = list(self._pending.values())
            troubles = {job.id: trouble for job in line if (trouble := self._tell(job))}
            if troubles and self.trouble is None:
                log.warning("share_refuses", jobs=len(troubles), cause=next(iter(troubles.values())))
            self.trouble = next(iter(troubles.values()), None)
            with self._doorbell:
                for job in line:
                    if job.id not in troubles and self._pending.get(job.id) is job:
                        del self._pending[job.id]
                open_seqs = [job.seq for job in self._pending.values()]
            self._told_seq = max(self._told_seq, line[-1].seq)
            self._platform.mark_published(min(open_seqs) - 1 if open_seqs else self._told_seq)
            if troubles:
                with self._doorbell:
                    if self._doorbell.wait_for(lambda: self._stopping, RETRY_S):
                        return

    def _tell(self, job: Job) -> str | None:
        """Have the share say how a job stands; why it does not, for an admin."""
        try:
            self._write(job)
        except OSError as error:
            return f"The share does not take files: {error.strerror} ({error.filename})."
        except Exception:
            log.exception("publisher_defect", job=job.id)  # the same again would not help
        return None

    def _write(self, job: Job) -> None:
        folder = self._outbox.folder(job)
        if isinstance(job.state, Ended):
            write_atomic(folder / REPORT, report(job))
            self._give_back(job, job.state)
        write_atomic(folder / STATUS_TEXT, status_text(job))
        facts = {"schema_version": SCHEMA_VERSION, "job": self._platform.describe([job])[0]}
        write_atomic(folder / STATUS_JSON, json.dumps(facts, indent=2) + "\n")

    def _give_back(self, job: Job, end: Ended) -> None:
        """Return the bundle of a job that did not succeed, and forget our own copy and working files."""
        bundle = self._paths.spool / job.key
        if end.outcome is not StateName.SUCCEEDED:
            shelf = self._paths.invalid if end.outcome is StateName.INVALID else self._paths.failed
            return_bundle(bundle, shelf, job, end)
        bundle.unlink(missing_ok=True)
        shutil.rmtree(self._paths.jobs / str(job.id), ignore_errors=True)


def return_bundle(bundle: Path, shelf: Path, job: Job, end: Ended) -> None:
    """Put a bundle on a shelf of the share, beside `<bundle>.reason.txt` and `.json`.

    A bundle of that name which lies there already, from another job, stays: this one gets its job's number in its name.
    Safe to repeat; `bundle` may be gone when an earlier call came as far as that.
    """
    folder = shelf / job.user
    folder.mkdir(mode=0o755, parents=True, exist_ok=True)
    target = _place(folder, job)
    if bundle.exists():
        partial = target.with_name(f".{target.name}.part")
        shutil.copyfile(bundle, partial)
        partial.replace(target)
    reason = {
        "schema_version": SCHEMA_VERSION,
        "job": int(job.id),
        "user": str(job.user),
        "bundle": job.bundle,
        "state": str(end.outcome),
        "exit_code": end.exit_code,
        "reason": reason_to_wire(end.reason),
        "problems": [problem_to_wire(problem) for problem in end.problems],
    }
    write_atomic(target.with_name(f"{target.name}.reason.txt"), status_text(job))
    write_atomic(target.with_name(f"{target.name}.reason.json"), json.dumps(reason, indent=2) + "\n")


def _place(folder: Path, job: Job) -> Path:
    plain = folder / _fitting(job.bundle)
    numbered = plain.with_name(f"{plain.stem}-{job.id}{plain.suffix}")
    if _reason_of(plain) in {None, int(job.id)} and (not plain.exists() or _reason_of(plain) == int(job.id)):
        return plain
    return numbered


def _fitting(name: str) -> str:
    """A bundle's name, cut where a longer one beside it (`.<name>.part`, `<name>.reason.json`) would not fit."""
    if len(name.encode()) <= LONGEST_NAME:
        return name
    suffix = Path(name).suffix[:20]
    return name.encode()[: LONGEST_NAME - len(suffix.encode())].decode("utf-8", "ignore") + suffix


def _reason_of(target: Path) -> int | None:
    """The job whose reason lies beside a bundle; None where there is none, or none that can be read."""
    try:
        number = json.loads(target.with_name(f"{target.name}.reason.json").read_text(encoding="utf-8"))["job"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return number if isinstance(number, int) else None


def make_user_folders(paths: Paths, user: UserName, uid: int | None) -> Path:
    """The user's folders in the share; returns the inbox. With a `uid` the inbox belongs to that user.

    Raises:
        OperatorError: the share is away; once it is there this makes what is missing.
    """
    require_share(paths)
    inbox = paths.inbox / user
    for folder in (inbox, paths.outbox / user, paths.invalid / user, paths.failed / user):
        folder.mkdir(mode=0o755, parents=True, exist_ok=True)
    if uid is not None:
        shutil.chown(inbox, uid)
    return inbox
