"""The report on a job, for its user to read: how it ended, in words, and what it took. Pure.

It is read in a terminal, too: bundles, Docker and other users have written parts of it.
"""

from __future__ import annotations

import signal
from datetime import datetime, timedelta

from dopq.advice import advice
from dopq.clean import clean
from dopq.job import Ended, Held, Job, ResourceUse, Running, finished_at, gpu_seconds, started_at, work_of

_EXIT_CODES = {
    0: "success",
    1: "the program's own general error",
    2: "the program was called wrongly, or its own error",
    125: "the container could not be started",
    126: "the command was found but could not be executed (is its executable bit set?)",
    127: "the command was not found in the image",
    255: "the program's own code, or the engine was killed or restarted under the job",
}


def exit_code_in_words(code: int) -> str:
    """What an exit code says, by the conventions of shells and Docker (128 + n: ended by signal n)."""
    if code in _EXIT_CODES:
        return _EXIT_CODES[code]
    try:
        name = signal.Signals(code - 128).name
    except ValueError:
        return "the program's own code"
    return f"ended by {name}"


def report(job: Job) -> str:
    """The report as text, one fact a line. Readable for a job in any state; complete once it has ended."""
    lines = [
        ("Job", f"{job.id} {job.name!r} of {job.user}, from {job.bundle!r}"),
        ("State", str(job.state.name)),
        *_ending(job),
        *_times(job),
        *_resources(job),
    ]
    if line := advice(job):
        lines.append(("Advice", line))
    return "".join(f"{label + ':':<14}{clean(text)}\n" for label, text in lines)


def status_text(job: Job) -> str:
    """One or two sentences on where a job stands now."""
    state = job.state
    if isinstance(state, Ended):
        told = "".join(f"  - {clean(problem)}\n" for problem in state.problems)
        return clean(f"Job {job.id} ({job.name}): {state.name}. {state.reason.sentence}") + f"\n{told}"
    odd = state.reason if isinstance(state, Held) else state.warning if isinstance(state, Running) else None
    why = f" {odd.sentence}" if odd else ""
    return clean(f"Job {job.id} ({job.name}): {state.name}.{why}") + "\n"


def _ending(job: Job) -> list[tuple[str, str]]:
    if not isinstance(job.state, Ended):
        return []
    lines = [("Reason", job.state.reason.sentence)]
    lines += [("Problem", str(problem)) for problem in job.state.problems]
    if (code := job.state.exit_code) is not None:
        lines.append(("Exit code", f"{code}: {exit_code_in_words(code)}"))
    if job.state.log_full:
        lines.append(("Log", "it reached its limit: of what came then, only what follows in job.log was kept"))
    return lines


def _times(job: Job) -> list[tuple[str, str]]:
    work, began, ended = work_of(job.state), started_at(job.state), finished_at(job.state)
    lines = [("Submitted", _moment(job.submitted_at))]
    if work:
        lines.append(("Building", _duration(work.queued_at - job.submitted_at)))
    if work and began:
        lines.append(("Waiting", _duration(began - work.queued_at)))
    if began and ended:
        lines.append(("Running", _duration(ended - began)))
    if ended:
        lines.append(("Finished", _moment(ended)))
    return lines


def _resources(job: Job) -> list[tuple[str, str]]:
    if not isinstance(job.state, Ended) or job.state.lease is None:
        return []
    state = job.state
    peak, cpu_s = state.use.memory_peak_bytes, state.use.cpu_s
    gpus = ", ".join(sorted(state.lease.gpus)) if state.lease else ""
    return [
        ("GPUs", gpus or "none"),
        ("GPU time", f"{gpu_seconds(state, state.at):.1f} GPU-seconds"),
        *(_gpu_use(state.use) if gpus else []),
        ("CPU time", "not measured" if cpu_s is None else f"{cpu_s:.1f} s"),
        ("Memory peak", "not measured" if peak is None else f"{peak / 2**20:.1f} MiB, sampled once a second"),
    ]


def _gpu_use(use: ResourceUse) -> list[tuple[str, str]]:
    missing = f"not measured: {use.gpu_missing or 'it ended before anybody looked'}"
    percent, peak, total = use.gpu_utilisation_percent, use.gpu_memory_peak_bytes, use.gpu_memory_bytes
    of = "" if total is None else f" of {total / 2**30:.1f}"
    return [
        ("GPU use", missing if percent is None else f"{percent:.0f} % on average, looked at every five seconds"),
        ("GPU memory", missing if peak is None else f"{peak / 2**30:.1f}{of} GiB of a GPU at the peak"),
    ]


def _moment(at: datetime) -> str:
    return at.strftime("%Y-%m-%d %H:%M:%S UTC")


def _duration(length: timedelta) -> str:
    seconds = max(0.0, length.total_seconds())
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02} min {rest:02} s" if hours else f"{minutes} min {rest:02} s"
