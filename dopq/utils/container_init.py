"""The first process of a container, by whose end the kernel says that nothing of the container runs any more."""

from __future__ import annotations

import os
import select

from dopq.utils import processes


def hold(pid: int, container: str) -> int | None:
    """A pidfd (pidfd_open(2)) that becomes readable when no process of a container is left; None where none can tell.

    `pid` is what the engine calls the container's first process. The engine may count in another PID namespace, or run
    on another machine, and numbers are given anew; so it is believed only of a process that

    * is the first of a PID namespace of its own. The kernel ends such a namespace with its first process, and lets
      this one end only after it has ended and reaped all others, those that were sent in from outside included
      (pid_namespaces(7); `zap_pid_ns_processes` in the kernel's pid_namespace.c);
    * is in the cgroup of the container, whose id has 64 hexadecimal digits;
    * still runs after both were looked at: so they were looked at in the very process that is held.
    """
    try:
        held = os.pidfd_open(pid)
    except OSError:  # no such process here, or the kernel (before 5.3) or a sandbox has no pidfds
        return None
    if _is_first_of(pid, container) and not has_ended(held):
        return held
    os.close(held)
    return None


def has_ended(held: int) -> bool:
    """Whether the process of a pidfd has ended."""
    poll = select.poll()
    poll.register(held, select.POLLIN)
    return bool(poll.poll(0))


def _is_first_of(pid: int, container: str) -> bool:
    return container in (processes.origin(pid).containers or ()) and _numbers(pid)[1:][-1:] == [1]


def _numbers(pid: int) -> list[int]:
    """A process's numbers in our PID namespace and in each that it is in below that, the innermost last (proc(5))."""
    try:
        lines = (processes.PROC / str(pid) / "status").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []
    return [int(number) for line in lines if line.startswith("NSpid:") for number in line.split()[1:]]
