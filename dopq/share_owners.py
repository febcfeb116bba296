"""Whether the share keeps who owns a file: found out by giving one away and looking at it again.

Some shares show every file as one account's, whoever made it: CIFS as a rule, NFS with `all_squash`, the folders of a
virtual machine's host, disks with a file system of Windows. There the owner says nothing of who handed a file in.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Collection
from pathlib import Path

from dopq.utils.files import TEMPORARY_PREFIX
from dopq.utils.mounts import Mount, mount_of

ANOTHER = 1
"""An account that every Linux knows by name, since NFS with id mapping refuses those that it cannot name."""

_PRETENDING = frozenset({"forceuid", "dynperm"})
"""Of mount.cifs(8): all files are the mount's own; a change of owner is remembered by this machine alone."""


def flattening(inbox: Path) -> str:
    """Why the owners of files below `inbox` are not real, as part of a sentence; empty where they are.

    Raises:
        OSError: the share takes no files, or is away.
    """
    mount = mount_of(inbox)
    handle, name = tempfile.mkstemp(dir=inbox, prefix=TEMPORARY_PREFIX, suffix=".tmp")
    probe = Path(name)
    try:
        os.close(handle)
        ours = probe.stat().st_uid
        given_to = _give_away(probe)
    finally:
        probe.unlink()
    with os.scandir(inbox) as entries:
        seen = {ours, *(entry.stat(follow_symlinks=False).st_uid for entry in entries)}
    return judge(mount, given_to, seen)


def judge(mount: Mount, given_to: int | None, seen: Collection[int]) -> str:
    """As `flattening`, from what was found out. Pure.

    Args:
        given_to: who owned the file after it had been given to `ANOTHER`; None where that was not allowed.
        seen: the owners that inboxes have now; on a share that flattens owners there is one.
    """
    if pretending := sorted(_PRETENDING & mount.options):
        return f"{mount.kind} at {mount.point} is mounted with {', '.join(pretending)}"
    if given_to is not None:
        return "" if given_to == ANOTHER else f"{mount.kind} at {mount.point} shows all files as uid {given_to}'s"
    if mount.is_plain or len(set(seen)) > 1:
        return ""
    return f"{mount.kind} at {mount.point} does not let the service try it out, and shows one owner so far"


def _give_away(probe: Path) -> int | None:
    try:
        os.chown(probe, ANOTHER, -1)
    except OSError:
        return None
    return probe.stat().st_uid
