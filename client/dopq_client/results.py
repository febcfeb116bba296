"""How the service may name a job's results.

It names the files, and a job named most of them: every path is checked before anything is written.
"""

from __future__ import annotations

import ntpath

from dopq.errors import UserError


class UnsafePath(UserError):
    """The service named a result in a way that could lead out of the target folder."""

    code = "unsafe_path"


def safe_parts(path: str) -> list[str]:
    """The components of a result's path.

    Raises:
        UnsafePath: absolute, with a drive, a backslash, a control character, or an empty, `.` or `..` component.
    """
    parts = path.split("/")
    drive, _ = ntpath.splitdrive(path)
    if drive or "\\" in path or any(ord(c) < 32 for c in path) or any(part in {"", ".", ".."} for part in parts):
        raise UnsafePath(
            f"The service sent a file called {path!r}, which is no safe name.",
            "Nothing was written for it. Tell the admin of the service: a job may have tried to mislead you.",
        )
    return parts
