"""Taking a process's rights away for good, before it looks at what strangers wrote.

What is left to it: the descriptors that it was handed, and one folder, which is its whole file system. No socket of the
container engine is in there, no state of ours, and no network is around it.
"""

from __future__ import annotations

import ctypes
import os
import resource
import signal

_FIRST_UID = 0x60000000
"""User ids that nobody has; one for each process, so that two cannot signal or trace each other."""

_OPEN_FILES = 64
_PR_SET_PDEATHSIG = 1  # prctl(2)
_PR_SET_DUMPABLE = 4
_PR_SET_NO_NEW_PRIVS = 38
_CLONE_NEWUSER = 0x10000000  # unshare(2)
_CLONE_NEWNET = 0x40000000
_CAPABILITY_VERSION_3 = 0x20080522  # capset(2)

_libc = ctypes.CDLL(None, use_errno=True)


def leave_network() -> None:
    """Move this process, which must have one thread, to a network without connections; its children inherit that.

    Raises:
        OSError: the kernel does not allow it. Without root it takes user namespaces (user_namespaces(7)).
    """
    _checked(_libc.unshare(_CLONE_NEWNET | (0 if os.geteuid() == 0 else _CLONE_NEWUSER)))


def confine(folder: int, *, memory_bytes: int, cpu_s: int, file_bytes: int, parent: int) -> None:
    """Give up every right, for good; from here on `/` is the folder behind that descriptor.

    The process is killed when its `parent` dies, cannot start others, and gets SIGXCPU after `cpu_s` seconds of
    computing. What Python has not imported by now it never will.

    Raises:
        OSError: the kernel does not allow it; the process has to end.
    """
    os.setsid()
    uid = _FIRST_UID + os.getpid() if os.geteuid() == 0 else None
    if uid is not None:
        os.fchown(folder, uid, uid)
    os.fchdir(folder)
    os.chroot(".")
    if uid is not None:
        os.setgroups([])
        os.setresgid(uid, uid, uid)
        os.setresuid(uid, uid, uid)
    _drop_capabilities()
    _prctl(_PR_SET_NO_NEW_PRIVS, 1)
    _prctl(_PR_SET_DUMPABLE, 0)
    _set_limits(memory_bytes, cpu_s, file_bytes)
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)  # last: a change of user takes it back
    if os.getppid() != parent:
        os._exit(1)  # it died before we could hear of it


def _set_limits(memory_bytes: int, cpu_s: int, file_bytes: int) -> None:
    resource.setrlimit(resource.RLIMIT_AS, (memory_bytes, memory_bytes))
    resource.setrlimit(resource.RLIMIT_CPU, (cpu_s, cpu_s + 5))  # SIGXCPU, and SIGKILL for whoever does not listen
    resource.setrlimit(resource.RLIMIT_FSIZE, (file_bytes, file_bytes))
    resource.setrlimit(resource.RLIMIT_NOFILE, (_OPEN_FILES, _OPEN_FILES))
    resource.setrlimit(resource.RLIMIT_NPROC, (0, 0))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _drop_capabilities() -> None:
    """All of them: in a user namespace of its own a process has them without being root."""
    header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION_3, 0)
    _checked(_libc.capset(header, (ctypes.c_uint32 * 6)()))


def _prctl(option: int, value: int) -> None:
    _checked(_libc.prctl(option, value, 0, 0, 0))


def _checked(result: int) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
