"""On which file system a folder lies, as the kernel says."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

_NETWORK = frozenset({"nfs", "nfs4", "cifs", "smb3", "smbfs", "ncpfs", "afs", "9p", "ceph", "lustre", "gpfs", "beegfs"})
_PLAIN = frozenset({"ext2", "ext3", "ext4", "xfs", "btrfs", "zfs", "tmpfs", "overlay", "f2fs", "bcachefs", "jfs"})


@dataclass(frozen=True, slots=True)
class Mount:
    """A mounted file system: where, of which kind, with which options."""

    point: Path
    kind: str
    options: frozenset[str]

    @property
    def is_network(self) -> bool:
        """Whether others serve it, or a program does: locks, syncs and caches are theirs, not the kernel's."""
        return self.kind in _NETWORK or self.kind.startswith("fuse.")

    @property
    def is_plain(self) -> bool:
        """Whether it is one of this machine's own, of a kind that keeps owners and modes."""
        return self.kind in _PLAIN


def mount_of(path: Path) -> Mount:
    """The mount that a path, or what there is of it, lies on. Raises `OSError` where the kernel does not tell."""
    lines = Path("/proc/self/mountinfo").read_text(encoding="utf-8", errors="surrogateescape").split("\n")
    return choose(path.resolve(), parse(lines))


def choose(path: Path, mounts: Iterable[Mount]) -> Mount:
    """The deepest mount above an absolute path; of several at one point the last, which covers the others."""
    best = Mount(Path("/"), "unknown", frozenset())
    for mount in mounts:
        if path.is_relative_to(mount.point) and len(mount.point.parts) >= len(best.point.parts):
            best = mount
    return best


def parse(lines: Iterable[str]) -> list[Mount]:
    """The lines of /proc/self/mountinfo (proc_pid_mountinfo(5)), those of the mount and of its super block together."""
    found = []
    for line in lines:
        here, dash, there = line.partition(" - ")
        fields, source = here.split(" "), there.split(" ")
        if dash and len(fields) > 5 and len(source) > 2:
            options = frozenset(fields[5].split(",")) | frozenset(source[2].split(","))
            found.append(Mount(Path(_unescaped(fields[4])), source[0], options))
    return found


def _unescaped(text: str) -> str:
    """The kernel writes space, tab, newline and backslash as three octal digits."""
    for code in ("\\040", "\\011", "\\012", "\\134"):
        text = text.replace(code, chr(int(code[1:], 8)))
    return text
