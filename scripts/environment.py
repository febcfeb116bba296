"""What the two scripts need on a fresh Debian or Ubuntu machine: packages, and a virtual environment in `.venv`.

    python3 scripts/environment.py [--for-tests | --for-fast-tests]

Run by the system's Python before anything is installed, so only the standard library is used.
"""

from __future__ import annotations

import argparse
import fcntl
import hashlib
import importlib.util
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[1]
STATE = CHECKOUT / ".dopq"
VENV = CHECKOUT / ".venv"

# Package, and the program or file that shows that what we want of it is there, wherever it came from.
ENGINE = {"docker.io": "dockerd", "slirp4netns": "slirp4netns"}
BASE_IMAGE = {"debootstrap": "debootstrap"}
FAST_TESTS = {
    "busybox-static": "/usr/share/doc/busybox-static/copyright",  # /bin/busybox may also be one that needs libraries
    "gcc": "gcc",
    "libc6-dev": "/usr/include/stdlib.h",
    "openssl": "openssl",
}
TESTS = {**FAST_TESTS, **ENGINE, **BASE_IMAGE}

POLICY = Path("/usr/sbin/policy-rc.d")


class SetupError(Exception):
    """Something is missing that cannot be had from here; the message says what to do."""


def install(wanted: Mapping[str, str]) -> None:
    """Install those of the packages whose contents are missing.

    Raises:
        SetupError: not root, not Debian or Ubuntu, or apt failed.
    """
    missing = [package for package, shown_by in wanted.items() if not _is_there(shown_by)]
    if not missing:
        return
    command = ["apt-get", "install", "--yes", "--no-install-recommends", *missing]
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        raise SetupError(f"Missing on this machine: {', '.join(missing)}. Install with: sudo {' '.join(command)}")
    say(f"installing {', '.join(missing)}")
    waiting = ["-o", "DPkg::Lock::Timeout=300"]
    with _no_service_starts():
        run_logged(["apt-get", "update", *waiting], STATE / "apt.log")
        run_logged([*command, *waiting], STATE / "apt.log")


def _is_there(shown_by: str) -> bool:
    return Path(shown_by).is_file() if shown_by.startswith("/") else shutil.which(shown_by) is not None


@contextmanager
def _no_service_starts() -> Iterator[None]:
    """Keep packages from starting their services, above all the system's own dockerd (invoke-rc.d(8)).

    Should we be killed meanwhile, the policy that stays behind allows everything.
    """
    if POLICY.exists():
        yield
        return
    POLICY.write_text(f"#!/bin/sh\nkill -0 {os.getpid()} 2>/dev/null && exit 101\nexit 0\n")
    POLICY.chmod(0o755)
    try:
        yield
    finally:
        POLICY.unlink()


def make_venv() -> None:
    """Make `.venv` with the project and its tools in it; nothing to do while pyproject.toml stays as it is.

    Raises:
        SetupError: Python has no venv and it cannot be installed, or pip failed.
    """
    stamp = VENV / "made-from"
    python = os.path.realpath(sys.executable)  # not the link in .venv, which may be active when we are called again
    base = f"{CHECKOUT} {python} {platform.python_version()}"
    project = hashlib.sha256((CHECKOUT / "pyproject.toml").read_bytes()).hexdigest()
    made_from = stamp.read_text().splitlines() if stamp.exists() else []
    if made_from == [base, project]:
        return
    if importlib.util.find_spec("ensurepip") is None:
        version = f"python{sys.version_info.major}.{sys.version_info.minor}"
        install({f"{version}-venv": f"/usr/lib/{version}/ensurepip/__init__.py"})
    say("making the virtual environment (a minute or so the first time)")
    if made_from[:1] != [base]:  # of another Python, or left half-made
        run_logged([python, "-m", "venv", "--clear", str(VENV)], STATE / "venv.log")
    pip = [str(VENV / "bin" / "python"), "-m", "pip", "install", "--disable-pip-version-check"]
    run_logged([*pip, "--editable", f"{CHECKOUT}[dev]"], STATE / "venv.log")
    stamp.write_text(f"{base}\n{project}\n")


def run_logged(command: Sequence[str], log: Path) -> None:
    """Run a command with its output in a file. Raises `SetupError` with the last lines of it when it fails."""
    with log.open("wb") as output:
        environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        code = subprocess.run(
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, env=environment, check=False
        ).returncode
    if code != 0:
        last = "\n".join(log.read_text(errors="replace").splitlines()[-12:])
        raise SetupError(f"{' '.join(command)} failed with exit code {code}; {log} ends with:\n{last}")


def say(line: str) -> None:
    """Tell people what is going on; standard output is for results."""
    print(f"setup: {line}", file=sys.stderr, flush=True)


def main(arguments: list[str]) -> int:
    """Set up; exit code 2 when that cannot be done from here."""
    parser = argparse.ArgumentParser(description="Set up what the project's scripts need.")
    parser.add_argument("--for-tests", action="store_true", help="with a Docker engine")
    parser.add_argument("--for-fast-tests", action="store_true")
    options = parser.parse_args(arguments)
    STATE.mkdir(exist_ok=True)
    try:
        with (STATE / "setup.lock").open("wb") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)  # two runs at once would spoil each other's .venv
            install(TESTS if options.for_tests else FAST_TESTS if options.for_fast_tests else {})
            make_venv()
    except SetupError as problem:
        print(f"setup: {problem}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
