"""The settings with which a job is run again: in the words of job.toml, and what of them may be another. Pure.

The image stays, so what it was made by cannot change; nor what the job comes after, since it is queued at once.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from dopq.container_handler.container_config import TOML_FILE, SpecDefaults, spec_of_table
from dopq.container_handler.quantities import size_in_words
from dopq.container_handler.refusal import refusal
from dopq.durations import duration
from dopq.job import JobSpec, Problem
from dopq.wire import Plain

_FIXED = frozenset({"template", "python", "after"})


def settings_to_wire(spec: JobSpec) -> Plain:
    """What of a spec may be another next time, as job.toml says it; None for what is the node's own."""
    return {
        "name": spec.name,
        "gpus": spec.gpus,
        "slots": spec.slots,
        "memory": _size(spec.memory_bytes),
        "shm_size": _size(spec.shm_bytes),
        "cpus": spec.cpus,
        "time_limit": duration(spec.time_limit_s) if spec.time_limit_s else None,
        "command": list(spec.command) if spec.command else None,
        "env": dict(spec.environment) or None,
        "priority": spec.priority,
        "retries": spec.retries,
    }


def changed(spec: JobSpec, changes: Mapping[str, object], defaults: SpecDefaults) -> JobSpec:
    """A spec with other settings; what is None goes back to the node's own.

    Raises:
        BundleRejected: with every problem at once.
    """
    fixed = sorted(_FIXED & changes.keys())
    problems = [Problem(f"{TOML_FILE}: {key}", "a job that runs again cannot have another", _INSTEAD) for key in fixed]
    table = settings_to_wire(spec) | {key: value for key, value in changes.items() if key not in fixed}
    if "gpus" in changes and "slots" not in changes:  # whole ones, where slots were asked for before
        table["slots"] = None
    said = {key: value for key, value in table.items() if value is not None}
    again, wrong = spec_of_table(TOML_FILE, said, JobSpec(name=spec.name, gpus=defaults.gpus), None, defaults)
    if problems + wrong:
        raise refusal(problems + wrong, "These settings will not do")
    return replace(
        again,
        entrypoint=spec.entrypoint,
        working_dir=spec.working_dir,
        stop_signal=spec.stop_signal,
        template=spec.template,
        python=spec.python,
        build=spec.build,
    )


_INSTEAD = "Change the bundle, and hand it in again."


def _size(size_bytes: int | None) -> str | int | None:
    told = size_in_words(size_bytes) if size_bytes else ""
    return size_bytes if told.isdigit() else told or None
