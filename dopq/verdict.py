"""How a job ended: the rule from its last state and what the engine says of its container to an outcome. Pure."""

from __future__ import annotations

from datetime import datetime

from dopq.container_handler.engine import Absent, Exited
from dopq.errors import EngineRefused
from dopq.job import GpuId, Outcome, Reason, State, StateName, Stopping
from dopq.report import exit_code_in_words


def verdict(
    state: State, seen: Absent | Exited | EngineRefused, lost: frozenset[GpuId] = frozenset()
) -> tuple[Outcome, Reason]:
    """Outcome and reason of a job whose container is over; `lost`: those of its GPUs that do not answer any more.

    A job that was asked to stop becomes what it was asked to, unless its process had ended before that.
    """
    if isinstance(seen, EngineRefused):
        return StateName.FAILED, Reason("start_failed", f"The container could not be started: {seen}")
    if isinstance(state, Stopping) and (isinstance(seen, Absent) or _ended_at(state, seen) >= state.since):
        return state.becomes, state.reason
    if isinstance(seen, Absent):
        return StateName.LOST, Reason("container_gone", "Its container is gone and nobody knows how the job ended.")
    if lost and seen.exit_code != 0:
        return StateName.FAILED, Reason(
            "gpu_lost", f"It ended when GPU {min(lost)} failed: it is lost to the machine, or broken."
        )
    if seen.with_engine:
        return StateName.FAILED, Reason("engine_restarted", "It ended with the container engine, which was restarted.")
    return _of_its_own(seen)


def _ended_at(state: Stopping, seen: Exited) -> datetime:
    """When its process ended: the kernel may have said so before the engine came to know."""
    return min(seen.finished_at, state.lease.ended_at or seen.finished_at)


def _of_its_own(seen: Exited) -> tuple[Outcome, Reason]:
    if seen.out_of_memory:
        sentence = "It needed more memory than its limit. Ask for more (`required_memory`), or use less."
        return StateName.FAILED, Reason("out_of_memory", sentence)
    if seen.exit_code == 0:
        return StateName.SUCCEEDED, Reason("succeeded", "It ended with exit code 0.")
    if seen.exit_code == 137:
        # Docker can miss an out-of-memory kill that hit the container's last process.
        return StateName.FAILED, Reason("killed", "It was killed (SIGKILL): most likely it ran out of memory.")
    words = exit_code_in_words(seen.exit_code)
    return StateName.FAILED, Reason("exit_code", f"It ended with exit code {seen.exit_code}: {words}. See job.log.")
