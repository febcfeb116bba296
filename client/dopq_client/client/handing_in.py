"""Handing in: what makes jobs."""

from __future__ import annotations

import uuid
from pathlib import Path
from typing import cast

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

    def rerun(self, reference: Reference) -> JobInfo:
        """Run one of your ended jobs again: a new job with the same settings and image, which is `queued` at once.

        Raises:
            NotFound: there is no such job, or its image is not kept any more.
            WrongState: it has not ended, has no image, or had input, which is gone.
        """
        return cast("JobInfo", self._link.call("rerun_job", self._number(reference), uuid.uuid4().hex))
