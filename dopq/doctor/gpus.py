"""The GPUs, and NVIDIA's toolkit that puts them into containers."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import closing

from dopq.config import GpuSettings
from dopq.doctor import escapes
from dopq.doctor.finding import Finding, ok, warning
from dopq.utils.gpu_probe import probe_for

ANSWER_S = 5.0
_COMMANDS = (("nvidia-ctk", "--version"), ("nvidia-container-cli", "--version"))
_TOOLKIT = re.compile(r"(?:CLI version|cli-version:)\s*(\S+)")


def look_at_gpus(settings: GpuSettings) -> Iterator[Finding]:
    """How many there are, of which models."""
    with closing(probe_for(settings.devices)) as probe:
        survey = probe.survey()
    if not survey.gpus:
        yield warning("gpus", f"No GPUs: {survey.reason or 'none found'}", "Jobs run on the CPU alone.")
        return
    models = ", ".join(sorted({gpu.model or "unknown model" for gpu in survey.gpus}))
    yield ok("gpus", f"{len(survey.gpus)}: {models}.")


def look_at_toolkit() -> Iterator[Finding]:
    """The version of the NVIDIA Container Toolkit, where it is installed."""
    for command in _COMMANDS:
        if shutil.which(command[0]) is None:
            continue
        try:
            done = subprocess.run(command, capture_output=True, timeout=ANSWER_S, check=True)
        except (OSError, subprocess.SubprocessError) as trouble:
            yield warning("toolkit", f"{' '.join(command)}: {trouble}.", "Install the toolkit again.")
            return
        said = done.stdout.decode(errors="replace")
        version = _TOOLKIT.search(said)
        yield from escapes.judge("toolkit", version[1] if version else said.strip())
        return
