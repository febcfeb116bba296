"""The name of a bundle's file: which kind of archive it says that it is, and what the job is called after it. Pure."""

from __future__ import annotations

import re

GZIPPED = (".tar.gz", ".tgz")
ENDINGS = (".zip", ".tar", *GZIPPED)


def split_ending(name: str) -> tuple[str, str]:
    """A file name and the ending that says what archive it is, all of `.tar.gz`; empty where it is none of ours."""
    length = next((len(ending) for ending in ENDINGS if name.lower().endswith(ending)), 0)
    return name[: len(name) - length], name[len(name) - length :]


def name_from_bundle(bundle: str) -> str:
    """The name of a job until its spec has been read, and after that if the spec gives none."""
    return slug(split_ending(bundle)[0])


def slug(text: str) -> str:
    """The nearest valid job name: `My Job (2)` becomes `my-job-2`; `job` when nothing is left."""
    plain = re.sub(r"[^a-z0-9_.-]+", "-", text.lower())
    return re.sub(r"-{2,}", "-", plain).lstrip("_.-")[:63].rstrip("_.-") or "job"
