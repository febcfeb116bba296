"""DopqController: what may be asked of a node from outside.

Thin: look up, check whose it is, ask the owner of the truth, answer with plain data. It knows nothing of the wire;
the boundary (boundary.py) calls exactly the methods marked with `@remote`, as the caller that it has authenticated.
The calls of DoPQ 1.0 keep their names. No call waits for a build or a job.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Annotated

from pydantic import Field

from dopq import __version__
from dopq.access import Access, Whose, remote
from dopq.accounts import Accounts
from dopq.caller import Caller
from dopq.container_handler.bundle_name import name_from_bundle
from dopq.data_platform import DataPlatform
from dopq.errors import NotAllowed, NotFound
from dopq.job import Ended, Job, JobId, is_to_be_built
from dopq.outbox import BUILD_LOG, JOB_LOG
from dopq.peers.table import Table, table_to_wire
from dopq.report import report
from dopq.results import Results
from dopq.tokens import Issued
from dopq.uploads import CHUNK_BYTES, Uploads, rerun_id, upload_id
from dopq.user_fields import LONGEST_KEY
from dopq.users import Role, User
from dopq.utils.log import logger
from dopq.wire import SCHEMA_VERSION, Plain, public, time_to_wire

log = logger(__name__)

LONGEST_WAIT_S = 5.0
"""How long a call may wait for news before it answers that there are none."""

Reference = Annotated[str, Field(min_length=1, max_length=100)]
Key = Annotated[str, Field(min_length=8, max_length=100)]
Wait = Annotated[float, Field(ge=0, le=LONGEST_WAIT_S)]
Offset = Annotated[int, Field(ge=0, le=2**48)]
Length = Annotated[int, Field(ge=1, le=CHUNK_BYTES)]
Text = Annotated[str, Field(max_length=254)]
Secret = Annotated[str, Field(max_length=200)]
BundleName = Annotated[str, Field(min_length=1, max_length=200, pattern=r"^[^./\x00-\x1f\x7f][^/\x00-\x1f\x7f]*$")]


@dataclass(frozen=True, slots=True)
class DopqController:
    """The remote face of one node; `system`, `nodes` and `request_shutdown` are what it asks of the node itself.

    `limits` are those by which it judges bundles (`container_handler.rules.rules_to_wire`).
    """

    platform: DataPlatform
    results: Results
    uploads: Uploads
    system: Callable[[], Plain]
    nodes: Callable[[], Table]
    request_shutdown: Callable[[], None]
    limits: Plain
    accounts: Accounts

    # --- anybody ------------------------------------------------------------------------------------------------------

    @remote(Access.ANYBODY)
    def hello(self, caller: Caller) -> Plain:
        """Version of the service and of its answers; also tells whether the token was good."""
        return {
            "service": "dopq",
            "version": __version__,
            "schema_version": SCHEMA_VERSION,
            "user": str(caller.user.name) if caller.user else None,
        }

    @remote(Access.ANYBODY)
    def get_limits(self, caller: Caller) -> Plain:  # noqa: ARG002 - nothing secret, and needed before a login
        """The limits and allow-lists by which bundles are judged here, for `dopq-client check`."""
        return self.limits

    # --- accounts -----------------------------------------------------------------------------------------------------

    @remote(Access.ANYBODY, changes=True)
    def login(self, caller: Caller, name: Text, password: Secret) -> Plain:
        """A token for whoever knows a user's password, and when it ends."""
        return _issued_to_wire(self.accounts.login(caller, name, password))

    @remote(Access.ANYBODY, changes=True)
    def logout(self, caller: Caller) -> None:
        """End the token that the caller came with: it is dead at once."""
        self.accounts.logout(caller)

    @remote(Access.ANYBODY, changes=True)
    def register(
        self,
        caller: Caller,
        name: Text,
        password: Secret,
        email: Text,
        uid: int | None = None,
        ssh_key: Annotated[str, Field(max_length=LONGEST_KEY)] | None = None,
        invite: Secret | None = None,
    ) -> Plain:
        """Ask to be registered: `active` at once with an invite, else `pending` until an admin approves."""
        user = self.accounts.register(caller, name, password, email, uid, ssh_key, invite)
        return {"state": "active" if user else "pending"}

    @remote(Access.ANYBODY, changes=True)
    def change_password(self, caller: Caller, old: Secret, new: Secret) -> Plain:
        """Set another password for oneself, which ends every token one has; the first new one, and when it ends."""
        return _issued_to_wire(self.accounts.change_password(caller, old, new))

    # --- the five views of DoPQ 1.0 -----------------------------------------------------------------------------------

    @remote(Access.USER, Whose.EVERYBODYS)
    def get_running_containers_info(self, caller: User) -> list[Plain]:
        """Jobs that occupy the node."""
        return _told(caller, self.platform.get_running_info())

    @remote(Access.USER, Whose.EVERYBODYS)
    def get_enqueued_containers_info(
        self, caller: User, limit: Annotated[int, Field(ge=1, le=10_000)] = 1000
    ) -> list[Plain]:
        """Jobs before their start, in queue order."""
        return _told(caller, self.platform.get_enqueued_container_list(limit))

    @remote(Access.USER, Whose.EVERYBODYS)
    def get_containers_history_info(
        self, caller: User, limit: Annotated[int, Field(ge=1, le=10_000)] = 100, mine: bool = False
    ) -> list[Plain]:
        """Ended jobs, the last to end first; `mine`: only the caller's."""
        return _told(caller, self.platform.get_completed_containers_info(limit, caller.name if mine else None))

    @remote(Access.USER)
    def get_dopq_system_status(self, caller: User) -> Plain:
        """The node: machine, GPUs, engine, queue, lock, disk, warnings; of the drops that wait, the caller's own."""
        system = self.system()
        deferred = [drop for drop in system.get("deferred", []) if _may_act_for(caller, drop["user"])]
        return system | {"deferred": deferred, "queue": self.platform.get_dopq_status()}

    @remote(Access.USER)
    def get_dopq_user_statistics(self, caller: User) -> list[Plain]:  # noqa: ARG002 - fairness needs to be seen
        """Usage, penalty and jobs of every user."""
        return self.platform.get_user_statistics()

    @remote(Access.USER)
    def get_nodes(self, caller: User) -> list[Plain]:  # noqa: ARG002 - all may see the neighbourhood
        """The node table: every node that this one knows, itself included."""
        return table_to_wire(self.nodes())

    # --- jobs ---------------------------------------------------------------------------------------------------------

    @remote(Access.USER)
    def whoami(self, caller: User) -> Plain:
        """The caller as the node knows them."""
        return {
            "user": str(caller.name),
            "role": str(caller.role),
            "weight": caller.weight,
            "email": caller.email,
            "uid": caller.uid,
            "expires_at": time_to_wire(caller.token_expires_at),
        }

    @remote(Access.USER, Whose.EVERYBODYS)
    def get_job(self, caller: User, reference: Reference) -> Plain:
        """One job, by number, name, `@` (my newest) or `@~N`; of somebody else's only what all may see."""
        return self._one(caller, self.platform.find(reference, caller.name))

    @remote(Access.USER, Whose.OWN)
    def get_explanation(self, caller: User, reference: Reference) -> Plain:
        """Why one of the caller's jobs waits, for whom and until when, and what the order of the users is made of."""
        return self.platform.explain(self._own(caller, reference).id)

    @remote(Access.USER, Whose.OWN)
    def get_job_story(self, caller: User, reference: Reference) -> list[Plain]:
        """Everything that happened to one of the caller's jobs: time, from, to, who, cause."""
        return [
            {
                "at": time_to_wire(event.at),
                "old": str(event.old) if event.old else None,
                "new": str(event.new),
                "actor": str(event.actor),
                "cause": event.cause,
            }
            for event in self.platform.story(self._own(caller, reference).id)
        ]

    @remote(Access.USER)
    def wait_for_change(self, caller: User, after_seq: int, wait_s: Wait) -> int:  # noqa: ARG002 - a number, no content
        """Wait until any job has changed since journal entry `after_seq`, at most `wait_s`; the newest entry."""
        return self.platform.wait_for_change(after_seq, wait_s)

    @remote(Access.USER, Whose.OWN, changes=True)
    def cancel_job(self, caller: User, reference: Reference) -> Plain:
        """Cancel one of the caller's jobs (an admin: anybody's); the job as it is then."""
        job = self._own(caller, reference)
        return self._one(caller, self.platform.cancel(job.id, by=caller.name))

    @remote(Access.USER, Whose.OWN, changes=True)
    def hold_job(self, caller: User, reference: Reference) -> Plain:
        """Keep one of the caller's jobs out of the queue (an admin: anybody's); the job as it is then."""
        job = self._own(caller, reference)
        return self._one(caller, self.platform.put_on_hold(job.id, caller))

    @remote(Access.USER, Whose.OWN, changes=True)
    def release_job(self, caller: User, reference: Reference) -> Plain:
        """Let one of the caller's jobs go on that is held. What an admin holds only an admin releases."""
        job = self._own(caller, reference)
        return self._one(caller, self.platform.release(job.id, caller))

    @remote(Access.USER, Whose.OWN, changes=True)
    def delete_req_enqueued_containers(
        self, caller: User, references: Annotated[list[Reference], Field(max_length=1000)]
    ) -> list[Plain]:
        """Take jobs out of the queue; those that have left it are not touched. All are checked before one is taken."""
        jobs = [self._own(caller, reference).id for reference in references]
        taken = self.platform.update_enqueued_container_list(jobs, by=caller.name)
        return _told(caller, self.platform.describe(taken))

    # --- handing in ---------------------------------------------------------------------------------------------------

    @remote(Access.USER, changes=True)
    def begin_upload(self, caller: User, key: Key, size: Offset) -> Plain:
        """Begin to send a bundle of `size` bytes, or go on: `received` bytes are here already."""
        _, received = self.uploads.begin(caller.name, key, size)
        return {"received": received, "chunk_bytes": CHUNK_BYTES}

    @remote(Access.USER)
    def send_chunk(  # changes nothing by the table: a line for each would push all others out of the audit log
        self, caller: User, key: Key, offset: Offset, data: Annotated[bytes, Field(max_length=CHUNK_BYTES)]
    ) -> int:
        """Send one chunk; how many bytes are here now. Sending one again is harmless."""
        return self.uploads.append(caller.name, key, offset, data)

    @remote(Access.USER, changes=True)
    def submit(
        self, caller: User, key: Key, bundle: BundleName, sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    ) -> Plain:
        """Make a job of a complete upload. The same `key` always answers with the same job."""
        spooled = upload_id(caller.name, key)
        if not self.platform.is_known(spooled):  # else its bundle may be gone: the job may have ended meanwhile
            self.uploads.finish(caller.name, key, sha256)
        job = self.platform.accept(caller.name, bundle, spooled, name_from_bundle(bundle))
        return self._one(caller, job)

    @remote(Access.USER, Whose.OWN_ALONE, changes=True)
    def rerun_job(self, caller: User, reference: Reference, key: Key) -> Plain:
        """Run one of the caller's ended jobs again, as a new job. The same `key` always answers with the same job."""
        return self._one(caller, self.platform.rerun(reference, caller.name, rerun_id(caller.name, key)))

    # --- results ------------------------------------------------------------------------------------------------------

    @remote(Access.USER, Whose.OWN)
    def read_log(
        self, caller: User, reference: Reference, build: bool, offset: Offset, length: Length, wait_s: Wait
    ) -> Plain:
        """Up to `length` bytes of a job's log (`build`: of its build) from byte `offset`.

        With nothing new yet, waits for at most `wait_s`. `complete` is true when no byte will ever follow these.
        """
        job = self._own(caller, reference)
        path = BUILD_LOG if build else JOB_LOG
        seq = job.seq
        deadline = wait_s
        while True:
            job = self.platform.job(job.id)
            finished = isinstance(job.state, Ended) or (build and not is_to_be_built(job.state))
            data = self._read_if_there(job, path, offset, length)
            if data or finished or deadline <= 0:
                return {"data": data, "complete": finished and len(data) < length, "state": str(job.state.name)}
            # Bytes of a log are no journal entries: look often, and at once when the job changes.
            seq = self.platform.wait_for_change(max(seq, job.seq), 0.1)
            deadline -= 0.1

    @remote(Access.USER, Whose.OWN)
    def list_results(self, caller: User, reference: Reference) -> list[Plain]:
        """The files that a job has left so far: path, size in bytes, executable."""
        results = self.results.list(self._own(caller, reference))
        return [{"path": result.path, "size": result.size, "executable": result.executable} for result in results]

    @remote(Access.USER, Whose.OWN)
    def read_result(
        self,
        caller: User,
        reference: Reference,
        path: Annotated[str, Field(max_length=4096)],
        offset: Offset,
        length: Length,
    ) -> bytes:
        """Up to `length` bytes of one result from byte `offset`; empty at its end."""
        return self.results.read(self._own(caller, reference), path, offset, length)

    @remote(Access.USER, Whose.OWN)
    def get_report(self, caller: User, reference: Reference) -> str:
        """The report on a job: how it ended and what it took."""
        return report(self._own(caller, reference))

    # --- admins -------------------------------------------------------------------------------------------------------

    @remote(Access.ADMIN, changes=True)
    def dopq_system_lock(
        self,
        caller: User,
        lock: bool,
        reason: Annotated[str, Field(max_length=200)] = "",
        minutes: Annotated[float, Field(gt=0, le=7 * 24 * 60)] = 60.0,
    ) -> Plain:
        """Lock the queue for so many minutes, or unlock it. Running jobs go on; nothing new starts."""
        lease = timedelta(minutes=minutes) if lock else None
        self.platform.exec_dopq_lock_state(caller.name, reason or "no reason given", lease)
        log.info("queue_locked" if lock else "queue_unlocked", user=caller.name, reason=reason)
        return self.platform.get_dopq_status()

    @remote(Access.ADMIN, changes=True)
    def dopq_system_drain(self, caller: User, drain: bool, reason: Annotated[str, Field(max_length=200)] = "") -> Plain:
        """Start nothing new until told otherwise, also after a restart; or start jobs again. Running jobs go on."""
        if drain:
            self.platform.drain(caller.name, reason or "no reason given")
        else:
            self.platform.undrain()
        log.info("node_drains" if drain else "node_drains_no_more", user=caller.name, reason=reason)
        return self.platform.get_dopq_status()

    @remote(Access.ADMIN, changes=True)
    def clear_dopq_history(self, caller: User) -> int:
        """Clear the history; how many jobs it held."""
        cleared = self.platform.clear_dopq_history_list()
        log.info("history_cleared", user=caller.name, jobs=cleared)
        return cleared

    @remote(Access.ADMIN, changes=True)
    def shutdown_queue(self, caller: User) -> Plain:
        """Stop the service. Running jobs go on in their containers and are found again at the next start."""
        log.info("shutdown_requested", user=caller.name)
        status = self.platform.get_dopq_status()
        self.request_shutdown()
        return status

    # --- inside -------------------------------------------------------------------------------------------------------

    def _own(self, caller: User, reference: str) -> Job:
        """The job that is meant, if the caller may act on it."""
        job = self.platform.find(reference, caller.name)
        if not _may_act_for(caller, job.user):
            raise NotAllowed(f"Job {JobId(job.id)} belongs to {job.user}.", "Ask them, or an admin.")
        return job

    def _one(self, caller: User, job: Job) -> Plain:
        return _told(caller, self.platform.describe([job]))[0]

    def _read_if_there(self, job: Job, path: str, offset: int, length: int) -> bytes:
        try:
            return self.results.read(job, path, offset, length)
        except NotFound:
            return b""


def _issued_to_wire(issued: Issued) -> Plain:
    return {"token": issued.token, "expires_at": time_to_wire(issued.expires_at)}


def _may_act_for(caller: User, owner: str) -> bool:
    """Whether the caller may see all that belongs to `owner`, and act on it."""
    return caller.name == owner or caller.role is Role.ADMIN


def _told(caller: User, jobs: list[Plain]) -> list[Plain]:
    """Jobs as the caller may see them. Every job that leaves the node goes through here."""
    return [job if _may_act_for(caller, job["user"]) else public(job) for job in jobs]
