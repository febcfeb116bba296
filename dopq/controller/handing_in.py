"""Handing in: a bundle comes in pieces, and becomes a job once, however often that is asked for."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from dopq.access import Access, Whose, remote
from dopq.container_handler.bundle_name import name_from_bundle
from dopq.container_handler.rerun_settings import changed, settings_to_wire
from dopq.controller.arguments import BundleName, Changes, Key, Offset, Reference
from dopq.controller.desk import Desk
from dopq.errors import StateUnwritable, WrongState
from dopq.job import JobSpec, work_of
from dopq.uploads import CHUNK_BYTES, rerun_id, upload_id
from dopq.users import User
from dopq.wire import Plain


class HandingIn(Desk):
    """Calls that make jobs."""

    __slots__ = ()

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
        try:
            job = self.platform.accept(caller.name, bundle, spooled, name_from_bundle(bundle))
        except StateUnwritable:
            if not self.platform.is_known(spooled):
                self.uploads.take_back(caller.name, key)  # else it would lie in the spool, and be nobody's
            raise
        return self.one(caller, job)

    @remote(Access.USER, Whose.OWN_ALONE, changes=True)
    def rerun_job(self, caller: User, reference: Reference, key: Key, changes: Changes | None = None) -> Plain:
        """Run one of the caller's ended jobs again, as a new job, with other settings where there are `changes`.

        The same `key` always answers with the same job.
        """

        def settings(spec: JobSpec) -> JobSpec:
            return changed(spec, changes, self.rules.defaults) if changes else spec

        return self.one(caller, self.platform.rerun(reference, caller.name, rerun_id(caller.name, key), settings))

    @remote(Access.USER, Whose.OWN)
    def get_job_settings(self, caller: User, reference: Reference) -> Plain:
        """The settings of one of the caller's jobs that may be others when it is run again, as in job.toml."""
        job = self.own(caller, reference)
        work = work_of(job.state)
        if work is None:
            raise WrongState(f"Job {job.id} has no settings: its bundle has not been read, or was refused.")
        return settings_to_wire(work.spec)
