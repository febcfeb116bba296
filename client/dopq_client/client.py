"""DopqClient: the service's verbs as Python methods.

    with DopqClient.connect("gpu1:9090", token) as dopq:
        job = dopq.submit("my-training")
        [job] = dopq.wait([job["id"]])
        dopq.fetch(job["id"], "results")

A job is meant by its number, by a name of which there is one, by `@` (my newest) or `@~N` (N before that). Every method
raises errors of `dopq.errors` only: `NotLoggedIn`, `NotAllowed`, `NotFound`, `WrongState`, `ServiceUnreachable`, …
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Self, cast

from dopq.errors import TryAgain
from dopq.job import StateName
from dopq.wire import Plain
from dopq_client import settings
from dopq_client.arrival import await_results
from dopq_client.link import Link, PyroLink
from dopq_client.patience import PatientLink
from dopq_client.results import write_result
from dopq_client.shapes import Explanation, FetchedFile, Hello, Issued, JobInfo, Myself, UserStatistics, has_ended
from dopq_client.upload import bundle_of, send
from dopq_client.ways import way_to

Reference = int | str
Progress = Callable[[int, int], None]
"""Is told how many bytes are through, and of how many."""

POLL_S = 5.0
"""How long the service may hold a question open until there is news; its own limit."""

READ_BYTES = 256 * 1024
"""What is read at a time; the service's own limit."""


class WaitTimedOut(TryAgain):
    """The jobs did not end in the time given. They go on; `details["all_held"]`: once what holds them is over."""

    code = "wait_timed_out"


class DopqClient:
    """One service, as one user. Use it in a `with` block, from as many threads as you like."""

    def __init__(self, link: Link) -> None:
        self._link = link

    @classmethod
    def connect(
        cls,
        address: str | None = None,
        token: str | None = None,
        fingerprint: str | None = None,
        ca: str | Path | None = None,
    ) -> Self:
        """A client of the service at `address` (`HOST:PORT`); by default that of `dopq-client`, with your login.

        Nothing is sent before the first call.

        Args:
            token: None leaves you anonymous at that address.
            fingerprint: SHA-256 that the certificate there must have.
            ca: file with the certificate of the CA that must have signed it. With neither of the two it is what a login
                from here has confirmed; an address on this machine needs none, if the service there does without TLS.

        Raises:
            NotLoggedIn: no address is given and none is stored.
            UserError: the address or the fingerprint is malformed.
            BadConfig: the stored account is, or others may read it.
        """
        account = settings.at(address, token, fingerprint, Path(ca) if ca else None) if address else settings.load()
        return cls(PyroLink(way_to(account), account.token))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Hang up."""
        self._link.close()

    # --- who ----------------------------------------------------------------------------------------------------------

    def hello(self) -> Hello:
        """Who answers, and as whom they know you. Works without a token."""
        return cast("Hello", self._link.call("hello"))

    def whoami(self) -> Myself:
        """Your name, role and share weight, and when your token ends."""
        return cast("Myself", self._link.call("whoami"))

    def login(self, name: str, password: str) -> Issued:
        """A token for a user, to `connect` with. Raises `LoginRefused`, or `SlowDown` after too many tries."""
        return cast("Issued", self._link.call("login", name, password))

    def logout(self) -> None:
        """End the token with which you are connected."""
        self._link.call("logout")

    def register(
        self, name: str, password: str, email: str, *, ssh_key: str | None = None, invite: str | None = None
    ) -> str:
        """Ask to become a user: `active` at once with an invite, else `pending` until an admin approves.

        Raises:
            UserError: the name, the password, the address or the key will not do.
            NotAllowed: the invite is no good, or too many wait for an admin.
            SlowDown: after too many tries.
        """
        return str(self._link.call("register", name, password, email, None, ssh_key, invite)["state"])

    def change_password(self, old: str, new: str) -> Issued:
        """Change your password. All your tokens end; the one that is returned is new. Raises as `login` does."""
        return cast("Issued", self._link.call("change_password", old, new))

    def limits(self) -> Plain:
        """The limits and allow-lists by which the node judges bundles. Works without a token."""
        return cast("Plain", self._link.call("get_limits"))

    # --- jobs ---------------------------------------------------------------------------------------------------------

    def submit(self, bundle: str | Path, progress: Progress | None = None) -> JobInfo:
        """Hand in a bundle (a zip or tar as it is, a folder as a zip of it) and return its job, which is `building`.

        Raises:
            UserError: there is no such bundle, it holds links, or it is larger than the service takes.
        """
        with bundle_of(Path(bundle)) as (file, name):
            # The key makes every step safe to repeat, so a cut connection neither loses nor doubles the job.
            return send(self._link, file, name, key=uuid.uuid4().hex, progress=progress)

    def jobs(self) -> list[JobInfo]:
        """Everybody's jobs that have not ended: those that run first, then the queue in its order."""
        running = cast("list[JobInfo]", self._link.call("get_running_containers_info"))
        return running + cast("list[JobInfo]", self._link.call("get_enqueued_containers_info"))

    def job(self, reference: Reference) -> JobInfo:
        """One job as it is now. Raises `NotFound`."""
        return _job(self._link, reference)

    def explain(self, reference: Reference) -> Explanation:
        """Why a job waits, for whom and until when, and what the order of the users is made of. Raises `NotFound`."""
        return cast("Explanation", self._link.call("get_explanation", str(reference)))

    def history(self, *, mine: bool = False, limit: int = 100) -> list[JobInfo]:
        """Ended jobs, the last to end first: at most `limit` (1 to 10,000)."""
        return cast("list[JobInfo]", self._link.call("get_containers_history_info", limit, mine))

    def cancel(self, reference: Reference) -> JobInfo:
        """Cancel one of your jobs. One that runs is `stopping` first. Raises `NotFound`, `NotAllowed`, `WrongState`."""
        return cast("JobInfo", self._link.call("cancel_job", self._number(reference)))

    def hold(self, reference: Reference) -> JobInfo:
        """Keep one of your jobs out of the queue until you release it. Raises as `cancel` does."""
        return cast("JobInfo", self._link.call("hold_job", self._number(reference)))

    def release(self, reference: Reference) -> JobInfo:
        """Let a held job go on. One that an admin holds takes an admin: `NotAllowed`. Else raises as `cancel` does."""
        return cast("JobInfo", self._link.call("release_job", self._number(reference)))

    def rerun(self, reference: Reference) -> JobInfo:
        """Run one of your ended jobs again: a new job with the same settings and image, which is `queued` at once.

        Raises:
            NotFound: there is no such job, or its image is not kept any more.
            WrongState: it has not ended, has no image, or had input, which is gone.
        """
        return cast("JobInfo", self._link.call("rerun_job", self._number(reference), uuid.uuid4().hex))

    def wait(
        self,
        references: Iterable[Reference],
        timeout_s: float | None = None,
        *,
        any_of: bool = False,
        on_change: Callable[[JobInfo], None] | None = None,
    ) -> list[JobInfo]:
        """Wait until all of the jobs (`any_of`: one of them) have ended, and return all of them as they are then.

        What those have left can be read then, unless the share is away.
        A restart of the node in between is waited for, up to a minute.

        Args:
            timeout_s: give up after so many seconds; None waits for as long as it takes.
            on_change: is told of every job at first, and again whenever its state is another one.

        Raises:
            WaitTimedOut: the time ran out. The jobs go on.
        """
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        seq = _newest(self._link, 0, 0.0)  # before the first look, so that no change falls between the two
        jobs = [self.job(reference) for reference in references]
        link = PatientLink(self._link, deadline)
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

    # --- results ------------------------------------------------------------------------------------------------------

    def logs(self, reference: Reference, *, build: bool = False, follow: bool = False) -> Iterator[bytes]:
        """A job's log (`build`: of its build) in pieces, as the job wrote it.

        `follow`: goes on as the log grows, until no byte will ever follow; a restart of the node in between is waited
        for, up to a minute.
        """
        job = str(self.job(reference)["id"])  # `@` may mean another job by the time of the next piece
        link: Link = PatientLink(self._link) if follow else self._link
        offset = 0
        while True:
            answer = link.call("read_log", job, build, offset, READ_BYTES, POLL_S if follow else 0.0)
            data: bytes = answer["data"]
            if data:
                yield data
            offset += len(data)
            if answer["complete"] or not (data or follow):
                return

    def last_lines(self, reference: Reference, count: int = 10, *, build: bool = False) -> list[str]:
        """The last `count` lines of a job's log, as far as they lie in its last 16 KiB; none if it has no log."""
        wanted = "build.log" if build else "job.log"
        sizes = {result["path"]: int(result["size"]) for result in self._results(reference)}
        if wanted not in sizes:
            return []
        offset = max(0, sizes[wanted] - 16 * 1024)
        data: bytes = self._link.call("read_result", str(reference), wanted, offset, 16 * 1024)
        return data.decode("utf-8", "replace").splitlines()[-count:]

    def fetch(self, reference: Reference, into: str | Path, progress: Progress | None = None) -> list[FetchedFile]:
        """Write a job's logs, outputs and report below `into`, replacing older copies; what was written.

        Each file is whole or absent. Nothing is written outside `into`, whatever the service says.

        Raises:
            UserError: `into` cannot be written to, or the service named a file in an unsafe way (`UnsafePath`).
            TryAgain: a file got shorter while it was read.
        """
        target, job = Path(into), str(self.job(reference)["id"])
        listed = self._results(job)
        total = sum(int(result["size"]) for result in listed)
        done = 0
        for result in listed:
            path, size = str(result["path"]), int(result["size"])
            read = self._reader(job, path, done, total, progress)
            write_result(target, path, size, bool(result["executable"]), read)
            done += size
        report = str(self._link.call("get_report", job)).encode()
        write_result(target, "report.txt", len(report), False, lambda offset: report[offset:])
        files = [FetchedFile(path=str(result["path"]), size=int(result["size"])) for result in listed]
        return [*files, FetchedFile(path="report.txt", size=len(report))]

    def _reader(
        self, job: str, path: str, before: int, total: int, progress: Progress | None
    ) -> Callable[[int], bytes]:
        def read(offset: int) -> bytes:
            data: bytes = self._link.call("read_result", job, path, offset, READ_BYTES)
            if progress:
                progress(min(before + offset + len(data), total), total)
            return data

        return read

    def _number(self, reference: Reference) -> str:
        """The job's number: a change that is repeated must not meet another job that `@` or a name means by then."""
        return str(reference) if str(reference).isdecimal() else str(self.job(reference)["id"])

    def _results(self, reference: Reference) -> list[Plain]:
        return cast("list[Plain]", self._link.call("list_results", str(reference)))

    # --- the node -----------------------------------------------------------------------------------------------------

    def users(self) -> list[UserStatistics]:
        """Usage, penalty and jobs of every user."""
        return cast("list[UserStatistics]", self._link.call("get_dopq_user_statistics"))

    def system(self) -> Plain:
        """The node: machine, GPUs, engine, queue, lock, disk, warnings."""
        return cast("Plain", self._link.call("get_dopq_system_status"))

    def nodes(self) -> list[Plain]:
        """The nodes that the service knows, itself first, then the nearest (docs/json.md)."""
        return cast("list[Plain]", self._link.call("get_nodes"))

    def refresh_nodes(self, hops: int = 1) -> Plain:
        """Have it ask all of them, and those whom they know; how many were asked and answered. Takes 4 s at most."""
        return cast("Plain", self._link.call("refresh_nodes", hops))

    def measure_node_speed(self, node: str) -> Plain:
        """Have it begin to measure the speed to a node that it trusts; the node. `nodes` has the result within 15 s."""
        return cast("Plain", self._link.call("measure_node_speed", node))

    # --- admins -------------------------------------------------------------------------------------------------------

    def lock(self, reason: str = "", minutes: float = 60.0) -> Plain:
        """Start nothing new for so many minutes; running jobs go on. The queue's status."""
        return cast("Plain", self._link.call("dopq_system_lock", True, reason, minutes))

    def unlock(self) -> Plain:
        """Start jobs again. The queue's status."""
        return cast("Plain", self._link.call("dopq_system_lock", False))

    def drain(self, reason: str = "") -> Plain:
        """Start nothing new until `undrain`, also after a restart; running jobs go on. The queue's status."""
        return cast("Plain", self._link.call("dopq_system_drain", True, reason))

    def undrain(self) -> Plain:
        """Start jobs again. The queue's status."""
        return cast("Plain", self._link.call("dopq_system_drain", False))

    def clear_history(self) -> int:
        """Clear the history; how many jobs it held."""
        return int(self._link.call("clear_dopq_history"))

    def shutdown_queue(self) -> Plain:
        """Stop the service; containers go on and are found again at its next start. The queue's status before."""
        return cast("Plain", self._link.call("shutdown_queue"))


def _job(link: Link, reference: Reference) -> JobInfo:
    return cast("JobInfo", link.call("get_job", str(reference)))


def _newest(link: Link, after_seq: int, wait_s: float) -> int:
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
        newest = _newest(link, seq, min(left, POLL_S))
        if newest != seq:  # smaller after a restart of the node: that is news too
            return newest
