"""Python run with fewer rights than whoever runs the tests has, in a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

# In a user namespace of its own, in which more of them are allowed or not. The limit is that namespace's alone
# (namespaces(7), /proc/sys/user).
_AS_ORDINARY_USER = """
import ctypes, os, sys
from pathlib import Path

uid, gid = os.geteuid(), os.getegid()
if ctypes.CDLL(None, use_errno=True).unshare(0x10000000) != 0:
    sys.exit(os.strerror(ctypes.get_errno()))
Path("/proc/self/setgroups").write_text("deny")
Path("/proc/self/uid_map").write_text(f"1000 {uid} 1")
Path("/proc/self/gid_map").write_text(f"1000 {gid} 1")
Path("/proc/sys/user/max_user_namespaces").write_text("NAMESPACES")
"""

# What root's children get when they are executed, as all that a plain container starts (capabilities(7)).
_WITHOUT_SYS_ADMIN = """
import ctypes, os, sys

PR_CAPBSET_DROP, CAP_SYS_ADMIN = 24, 21
if ctypes.CDLL(None, use_errno=True).prctl(PR_CAPBSET_DROP, CAP_SYS_ADMIN, 0, 0, 0) != 0:
    sys.exit(os.strerror(ctypes.get_errno()))
"""


def as_ordinary_user(script: str, *, namespaces: int) -> Any:
    """What a script prints, as JSON, when an ordinary user runs it, who may make so many more user namespaces."""
    return _run(_AS_ORDINARY_USER.replace("NAMESPACES", str(namespaces)) + script)


def as_root_in_a_plain_container(script: str) -> Any:
    """What a script prints, as JSON, when root runs it and what it starts lacks CAP_SYS_ADMIN. Takes root."""
    return _run(_WITHOUT_SYS_ADMIN + script)


def _run(script: str) -> Any:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    command = [sys.executable, "-c", script]
    said = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=60, check=False)
    assert (said.returncode, said.stderr) == (0, "")
    return json.loads(said.stdout)
