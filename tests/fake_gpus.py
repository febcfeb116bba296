"""GPUs without GPUs: a driver library for pynvml and a hook for dockerd (tests/nvml/README.md)."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

SOURCES = Path(__file__).parent / "nvml"
HOOK = "nvidia-container-runtime-hook"

# Error codes of NVML (nvml.h, nvmlReturn_t).
NOT_SUPPORTED = 3
NO_PERMISSION = 4
DRIVER_NOT_LOADED = 9
GPU_IS_LOST = 15
RESET_REQUIRED = 16
LIB_RM_VERSION_MISMATCH = 18


def uuid(number: int) -> str:
    """The UUID of the fake GPU of that number."""
    return f"GPU-fa4e0000-0000-0000-0000-{number:012x}"


def install_hook(folder: Path) -> Path:
    """Put the fake container hook into `folder`; returns `folder`, to go in front of a dockerd's PATH."""
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copy(SOURCES / HOOK, folder / HOOK)
    (folder / HOOK).chmod(0o755)
    return folder


def build_library(folder: Path, *, old_driver: bool = False) -> Path:
    """Compile the fake libnvidia-ml.so.1 into `folder`; returns `folder`, to go into LD_LIBRARY_PATH.

    An old driver (before 510) lacks the newer versions of some functions. Raises where there is no gcc: install it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    library, source = folder / "libnvidia-ml.so.1", SOURCES / "libnvidia-ml.c"
    variant = ["-DOLD_DRIVER"] if old_driver else []
    flags = ["-std=c99", "-D_DEFAULT_SOURCE", "-Wall", "-Wextra", "-Werror", "-O1", "-shared", "-fPIC"]
    subprocess.run(["gcc", *flags, *variant, "-o", library, source], check=True)
    return folder


class FakeDriver:
    """The mood of the fake driver, which every process that has `environment` meets. Starts with two healthy GPUs.

    What can be set: count, driver, init, handle, uuid, name, memory_total_mb, memory_used_mb, utilisation,
    temperature, power_mw, sm_clock_mhz, memory_clock_mhz, fan, ecc_uncorrected, mig, processes, pid, process_memory_mb,
    events, xid; `gpu` None means all GPUs.
    """

    def __init__(self, library_folder: Path, mood_file: Path) -> None:
        self._mood_file = mood_file
        self._lines: list[str] = []
        self.environment = {"LD_LIBRARY_PATH": str(library_folder), "FAKE_NVML": str(mood_file)}

    def value(self, what: str, number: int, gpu: int | None = None) -> None:
        """Report `number`."""
        self._add(what, gpu, "value", number)

    def error(self, what: str, code: int, gpu: int | None = None) -> None:
        """Fail with that NVML error code."""
        self._add(what, gpu, "error", code)

    def hang(self, what: str, seconds: int, gpu: int | None = None) -> None:
        """Do not answer for so long."""
        self._add(what, gpu, "hang", seconds)

    def crash(self, what: str, gpu: int | None = None) -> None:
        """Take the calling process down (SIGABRT)."""
        self._add(what, gpu, "crash", 1)

    def recover(self) -> None:
        """Be as at the beginning."""
        self._lines.clear()
        self._write()

    def _add(self, what: str, gpu: int | None, verb: str, number: int) -> None:
        self._lines.append(f"{what} {'*' if gpu is None else gpu} {verb} {number}\n")
        self._write()

    def _write(self) -> None:
        fresh = self._mood_file.with_suffix(".new")
        fresh.write_text("".join(self._lines))
        fresh.replace(self._mood_file)  # a driver that reads meanwhile sees the old mood or the new
