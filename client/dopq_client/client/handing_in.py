"""Handing in: what makes jobs."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import cast

from dopq.wire import Plain
from dopq_client.client.desk import Desk, Progress, Reference
from dopq_client.shapes import JobInfo
from dopq_client.upload import bundle_of, send


class HandingIn(Desk):
    """From a bundle, or an ended job, to a new job."""

    def submit(self, bundle: str | Path, progress: Progress | None = None) -> JobInfo:
        """Hand in a bundle (a zip or tar as it is, a folder as a zip of it) and return its job, which is `building`.

        Raises:
            UserError: there is no such bundle, it holds links, or it is larger than the service takes.
        """
        with bundle_of(Path(bundle)) as (file, name):
            # The key makes every step safe to repeat, so a cut connection neither loses nor doubles the job.
            return send(self._link, file, name, key=uuid.uuid4().hex, progress=progress)

    def job_settings(self, reference: Reference) -> Plain:
        """The settings of one of your jobs, as in job.toml; those that can be another when it is run again.

        Raises:
            NotFound: there is no such job.
            WrongState: it never had any: it is building, or its bundle was refused.
        """
        return cast("Plain", self._link.call("get_job_settings", str(reference)))

    def rerun(self, reference: Reference, changes: Mapping[str, object] | None = None) -> JobInfo:
        """Run one of your ended jobs again: a new job with the same settings and image, which is `queued` at once.

        Args:
            changes: settings that are to be others, as in job.toml; None for one that is to be the node's own again.

        Raises:
            NotFound: there is no such job, or its image is not kept any more.
            WrongState: it has not ended, has no image, or had input, which is gone.
            BundleRejected: the settings will not do; nothing was made.
        """
        number, key = self._number(reference), uuid.uuid4().hex
        return cast("JobInfo", self._link.call("rerun_job", number, key, dict(changes or {})))
