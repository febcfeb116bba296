"""Whose a process is, as far as the kernel tells."""

from __future__ import annotations

import pwd
import re
from dataclasses import dataclass
from pathlib import Path

_CONTAINER_ID = re.compile(r"(?<![0-9a-f])[0-9a-f]{64}(?![0-9a-f])")

PROC = Path("/proc")


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a process comes from.

    Attributes:
        containers: ids of the containers in which it runs, mostly one or none; None where that cannot be read: it has
            ended, or its number is of another PID namespace than ours.
        user: whom it runs as; a number where that has no name here. None as above.
    """

    containers: frozenset[str] | None = None
    user: str | None = None


def origin(pid: int) -> Origin:
    """Where a process comes from; asks files of /proc only."""
    folder = PROC / str(pid)
    try:
        cgroups = (folder / "cgroup").read_text(encoding="utf-8", errors="replace")
        uid = folder.stat().st_uid
    except OSError:
        return Origin()
    return Origin(container_ids(cgroups), _name(uid))


def container_ids(cgroups: str) -> frozenset[str]:
    """The ids of Docker's containers in the text of /proc/PID/cgroup, version 1 or 2 (cgroups(7)).

    Docker names the group of a container after it: `/docker/<id>`, or `/system.slice/docker-<id>.scope` where systemd
    makes the groups.
    """
    return frozenset(_CONTAINER_ID.findall(cgroups))


def _name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)
