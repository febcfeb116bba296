"""The state folder and the disks."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

from dopq.config import DiskSettings, Paths
from dopq.container_handler.docker_facts import engine_facts
from dopq.disk import DiskProbe, Floor
from dopq.doctor.engine import ANSWER_S
from dopq.doctor.finding import Finding, error, ok, warning
from dopq.errors import DopqError
from dopq.state_folder import too_open
from dopq.utils.mounts import mount_of

ROOMY = 5
"""So many floors should be free: an image and its outputs come in one go."""


def look_at_folder(name: str, path: Path) -> Finding:
    """Whether a folder is there, or can be made."""
    existing = next(parent for parent in (path, *path.parents) if parent.exists())
    if not os.access(existing, os.W_OK | os.X_OK):
        return error(name, f"{existing} cannot be written.", "Change its owner or mode, or choose another.")
    there = "is there" if path.exists() else "will be made"
    return ok(name, f"{path} {there}.")


def look_at_state(paths: Paths) -> Iterator[Finding]:
    """The state folder: writable, the service's alone, on a disk of this machine."""
    yield look_at_folder("state", paths.state)
    mount = mount_of(paths.state)
    if mount.is_network:
        found = f"The journal lies on {mount.kind} ({mount.point}), which may lose locks and what was written."
        yield error("journal", found, "Move node.state to a disk of this machine.")
    else:
        yield ok("journal", f"{mount.kind}, a disk of this machine.")
    if paths.state.is_dir():
        yield from _private(paths)


def look_at_disks(paths: Paths, settings: DiskSettings, engine_url: str | None, probe: DiskProbe) -> Iterator[Finding]:
    """Space on each disk that a node fills: of the state folder, of the share, of the engine."""
    floor = Floor(settings.floor_bytes, settings.floor_percent)
    folders = dict.fromkeys(_existing(path) for path in (paths.state, paths.share, *_engine_root(engine_url)))
    for folder in folders:
        disk = probe(folder)
        if disk.free_bytes is None:
            yield warning("disk", f"{folder}: {disk.reason}", "Look whether its disk is mounted.")
            continue
        found = f"{folder}: {disk.free_bytes / 2**30:.1f} GiB free, {floor.of(disk) / 2**30:.1f} GiB have to stay so."
        if disk.free_bytes < floor.of(disk):
            yield error("disk", found, "Builds are held until there is more: tidy up, or lower [disk] floor_bytes.")
        elif disk.free_bytes < ROOMY * floor.of(disk):
            yield warning("disk", found, "Images and outputs need space: tidy up soon.")
        else:
            yield ok("disk", found)


def _private(paths: Paths) -> Iterator[Finding]:
    owner = paths.state.stat().st_uid
    if owner != os.geteuid():
        found = f"{paths.state} belongs to uid {owner}; this check runs as uid {os.geteuid()}."
        yield error("private", found, "Run service and check as one account, or chown -R the folder to it.")
        return
    opened = too_open(paths)
    if opened:
        shown = ", ".join(f"{path} ({stat.S_IMODE(path.stat().st_mode):o})" for path in opened[:3])
        yield warning("private", f"Others can get at {shown}.", "`dopq serve` closes it; or: chmod -R go= on it.")
    else:
        yield ok("private", f"{paths.state} is open to uid {owner} alone.")


def _engine_root(url: str | None) -> list[Path]:
    try:
        return [engine_facts(url, ANSWER_S).root] if url and url.startswith("unix://") else []
    except DopqError:
        return []  # the look at the engine tells


def _existing(path: Path) -> Path:
    return next(parent for parent in (path, *path.parents) if parent.exists())
