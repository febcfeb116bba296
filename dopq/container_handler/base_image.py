"""A base image made on the spot, for machines that reach their package mirror but no container registry.

debootstrap(8) puts a minimal system of the machine's own distribution into a folder; Python, pip and what was asked
for are added, caches and manuals taken away; the rest is kept as one tar file, so that the next time takes seconds.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import tempfile
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from filelock import FileLock

from dopq.container_handler.apt_sources import (
    AptSource,
    codename,
    main_source,
    parse_deb822,
    parse_list,
    parse_os_release,
)
from dopq.container_handler.engine import ContainerEngine
from dopq.errors import OperatorError
from dopq.job import ImageId

Log = Callable[[str], None]

PACKAGES = ("ca-certificates", "python3", "python3-pip", "python3-venv")
CHANGES = (
    "ENV LANG=C.UTF-8 PYTHONUNBUFFERED=1",
    # The container is the environment: pip may install beside the distribution's packages (PEP 668).
    "ENV PIP_BREAK_SYSTEM_PACKAGES=1 PIP_ROOT_USER_ACTION=ignore PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1",
    'CMD ["python3"]',
)
# Runs inside the new system. Machine-wide files that the engine or the next machine provides go as well.
FINISH = """
set -e
ln -sf python3 /usr/bin/python
[ -e /usr/bin/pip ] || ln -s pip3 /usr/bin/pip
update-ca-certificates
rm -rf /var/cache/apt/* /var/cache/debconf/*-old /var/lib/apt/lists/* /var/log/* /tmp/*
rm -rf /usr/share/man/* /usr/share/info/* /usr/share/locale/*
find /usr/share/doc -type f ! -name copyright -exec rm {} +
rm -f /etc/resolv.conf /etc/hostname /etc/machine-id
"""
LOCAL_CERTIFICATES = Path("usr/local/share/ca-certificates")
TIME_LIMIT_S = 1800.0
PROGRESS_EVERY_S = 2.0


@dataclass(frozen=True, slots=True)
class Recipe:
    """All that decides what the image holds, but for the certificates that the machine itself trusts."""

    suite: str
    architecture: str
    source: AptSource | None  # None leaves the choice of the mirror to debootstrap
    packages: tuple[str, ...]

    @property
    def key(self) -> str:
        """Name of the cached file: the same for the same contents, whichever mirror they come from."""
        what = "\n".join((*sorted(set(self.packages)), *CHANGES, FINISH))
        return f"{self.suite}-{self.architecture}-{hashlib.sha256(what.encode()).hexdigest()[:12]}"

    def command(self, root: Path) -> list[str]:
        """The call of debootstrap that fills the folder `root`."""
        where, how = [], []
        if self.source is not None:
            where = [self.source.uri]
            how = [f"--components={','.join(self.source.components)}"]
            how += [f"--keyring={self.source.keyring}"] if self.source.keyring else []
        include = f"--include={','.join(sorted(set(self.packages)))}"
        base = ["debootstrap", "--variant=minbase", f"--arch={self.architecture}", include]
        return [*base, *how, self.suite, str(root), *where]


def bootstrap(engine: ContainerEngine, reference: str, cache: Path, log: Log, packages: Sequence[str] = ()) -> ImageId:
    """Make the base image, or take it from the cache, and tag it in the engine as `reference`.

    Args:
        cache: folder that keeps one tar file for each recipe.
        log: gets a line every few seconds while something is under way.
        packages: Debian packages to have in the image beside Python and pip.

    Raises:
        OperatorError: not root, not Debian or Ubuntu, no debootstrap, or the mirror did not deliver.
    """
    return from_recipe(engine, reference, cache, log, machine_recipe(packages))


def from_recipe(engine: ContainerEngine, reference: str, cache: Path, log: Log, recipe: Recipe) -> ImageId:
    """As `bootstrap`, of a system that may be another than the machine's own."""
    cache.mkdir(parents=True, exist_ok=True)
    archive = cache / f"{recipe.key}.tar"
    with FileLock(cache / "lock"):
        if archive.exists():
            log(f"taking {recipe.suite} with Python from {archive}")
        else:
            _check_tools()
            _make(recipe, archive, log)
    log(f"handing {archive.stat().st_size // 2**20} MiB to the engine as {reference}")
    with archive.open("rb") as root:
        return engine.import_image(root, reference=reference, changes=CHANGES)


def machine_recipe(packages: Sequence[str] = (), root: Path = Path("/")) -> Recipe:
    """The recipe for a system like the one below `root`.

    Raises:
        OperatorError: it is not Debian, Ubuntu or kin of theirs.
    """
    release = root / "etc/os-release"
    suite = codename(parse_os_release(release.read_text())) if release.exists() else None
    if suite is None:
        raise OperatorError(
            "A base image can be made here from Debian's or Ubuntu's packages only, and this machine is neither.",
            "Load one made elsewhere: `docker save NAME` there, `docker load` here.",
        )
    folder = root / "etc/apt"
    one_line = [folder / "sources.list", *sorted(folder.glob("sources.list.d/*.list"))]
    sources = chain(
        *(parse_list(path.read_text()) for path in one_line if path.exists()),
        *(parse_deb822(path.read_text()) for path in sorted(folder.glob("sources.list.d/*.sources"))),
    )
    asked = ["dpkg", "--print-architecture"]
    architecture = subprocess.run(asked, check=True, capture_output=True, text=True, timeout=30).stdout.strip()
    return Recipe(suite, architecture, main_source(sources, suite), (*PACKAGES, *packages))


def _check_tools() -> None:
    if os.geteuid() != 0:
        raise OperatorError("Making a base image needs root.", "Run this once with sudo; the image then stays.")
    if shutil.which("debootstrap") is None:
        raise OperatorError(
            "Making a base image needs debootstrap, which is not installed.",
            "Install it: apt-get install debootstrap",
        )


def _make(recipe: Recipe, archive: Path, log: Log) -> None:
    """Build the system below the cache folder and put its tar in place, whole or not at all."""
    with _work_folder(archive.parent) as work:
        root, unfinished = work / "root", work / "tar"
        log(f"getting {recipe.suite} ({recipe.architecture}) with {', '.join(recipe.packages)}")
        _run(recipe.command(root), log)
        # Labs behind a proxy that opens TLS put its certificate there; without it pip could reach nothing.
        shutil.copytree("/" / LOCAL_CERTIFICATES, root / LOCAL_CERTIFICATES, dirs_exist_ok=True)
        _run(["chroot", str(root), "sh", "-c", FINISH], log)
        own = [f"--exclude=./{folder}/*" for folder in ("dev", "proc", "sys", "run")]
        _run(["tar", "--create", "--numeric-owner", f"--file={unfinished}", f"--directory={root}", *own, "."], log)
        with unfinished.open("rb") as file:
            os.fsync(file.fileno())
        unfinished.replace(archive)


@contextmanager
def _work_folder(cache: Path) -> Iterator[Path]:
    """A folder for the time of the work. What a killed run left goes first: we hold the lock, so it is nobody's."""
    for left in cache.glob("work-*"):
        shutil.rmtree(left)
    with tempfile.TemporaryDirectory(prefix="work-", dir=cache) as work:
        yield Path(work)


def _run(command: Sequence[str], log: Log) -> None:
    """Run a command in namespaces of its own, so that with its end no process and no mount of it is left.

    It ends with the calling thread too (setpriv(1), --pdeathsig), even when that is killed.

    Raises:
        OperatorError: it failed, with the last lines of what it said.
    """
    alone = ["setpriv", "--pdeathsig=KILL", "unshare", "--pid", "--fork", "--kill-child", "--mount", "--mount-proc"]
    last = deque[str](maxlen=8)
    process = subprocess.Popen(
        [*alone, *command],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env={**os.environ, "DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C.UTF-8"},
        text=True,
        errors="replace",
    )
    limit = threading.Timer(TIME_LIMIT_S, process.kill)
    limit.start()
    with process:
        assert process.stdout is not None
        try:
            told_at = time.monotonic()
            for line in process.stdout:
                last.append(line.rstrip())
                if time.monotonic() - told_at >= PROGRESS_EVERY_S:
                    log(last[-1].removeprefix("I: "))
                    told_at = time.monotonic()
        except BaseException:
            process.kill()
            raise
        finally:
            limit.cancel()
    if process.returncode != 0:
        raise OperatorError(
            f"{command[0]} failed with exit code {process.returncode}:\n" + "\n".join(last),
            "Is the package mirror reachable (apt-get update)? Are the packages' names right?",
        )
