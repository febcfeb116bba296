"""One line of advice to the user of a job that has ended: what would help the next one. Pure."""

from __future__ import annotations

import math

from dopq.job import Ended, Job, Work

_GIB = 1 << 30

_TELLING_S = 300.0
"""How long a job has to run before a mean over it says anything: each begins with loading."""

_RUN_AGAIN = "`dopq-client rerun` runs it again; with `retries` in job.toml the node does so by itself."

_BY_REASON = {
    "time_limit": "Ask for a longer `time_limit`, or save on SIGTERM and go on from there in the next job.",
    "gpu_lost": _RUN_AGAIN,
    "gpu_fault": _RUN_AGAIN,
    "gpu_idle": "Ask for no GPU where none is used, or load the data faster: more loader processes, local files.",
    "gpu_overrun": "Ask for more `slots` in job.toml, or use less memory of the GPU: smaller batches, a smaller model.",
    "container_gone": _RUN_AGAIN,
    "engine_restarted": _RUN_AGAIN,
    "start_failed": "Mend the command if the reason names it; tell the admin if it names a device or a driver.",
}

_BY_EXIT_CODE = {
    126: "Set the executable bit of the command, or call it through its interpreter.",
    127: "Look at the spelling of the command, and whether the Dockerfile installs it.",
    134: "Native code gave up: look for a failed assertion at the end of job.log.",
    139: "Native code crashed: look for libraries that were built for another version of Python, CUDA or the driver.",
}


def advice(job: Job) -> str | None:
    """What its user could do better; None where there is nothing to say."""
    state = job.state
    if not isinstance(state, Ended) or state.work is None:
        return None
    code = state.reason.code
    if code in {"out_of_memory", "killed"}:
        return _more_memory(state.work)
    if code == "exit_code":
        return _BY_EXIT_CODE.get(state.exit_code or 0, "The cause is most likely at the end of job.log.")
    if code == "succeeded":
        return _busier(state) or _less(state, state.work)
    return _BY_REASON.get(code)


def _more_memory(work: Work) -> str:
    limit = work.spec.memory_bytes
    if limit is None:
        return "Ask for more memory (`memory` in job.toml), or use less: smaller batches, fewer loader processes."
    more = math.ceil(1.5 * limit / _GIB)
    return f'Ask for more, such as memory = "{more}GiB", or use less: smaller batches, fewer loader processes.'


def _busier(state: Ended) -> str | None:
    """GPUs that mostly wait are what others wait for."""
    ran_s = (state.at - state.started_at).total_seconds() if state.started_at else 0.0
    percent, peak, total = (
        state.use.gpu_utilisation_percent,
        state.use.gpu_memory_peak_bytes,
        state.use.gpu_memory_bytes,
    )
    if ran_s < _TELLING_S:
        return None
    if percent is not None and percent < 25:
        return (
            f"Its GPUs worked {percent:.0f} % of the time: load the data faster, by more processes; or ask for fewer."
        )
    if peak is not None and total and peak < total / 4:
        return f"It used {peak / _GIB:.1f} of {total / _GIB:.1f} GiB of a GPU: larger batches may make it faster."
    return None


def _less(state: Ended, work: Work) -> str | None:
    """Who asks for much less than a job needs starts sooner: it fits into gaps that others leave."""
    limit, peak = work.spec.memory_bytes, state.use.memory_peak_bytes
    if limit and peak and limit > _GIB and peak < limit / 4:
        return f"It used {peak / _GIB:.1f} of {limit / _GIB:.1f} GiB of memory: one that asks for less starts sooner."
    if state.started_at and work.spec.time_limit_s:
        ran_s = (state.at - state.started_at).total_seconds()
        if ran_s < work.spec.time_limit_s / 4:
            return "It ran for less than a quarter of its time limit: one that asks for less starts sooner."
    return None
