"""Why a job waits, as plain data: docs/json.md#explanation. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime

from dopq.job import JobId, UserName
from dopq.ranking import Terms
from dopq.why import Why
from dopq.wire import Plain, time_to_wire


def explanation_to_wire(
    job: Plain, cause: Why | None, waits_for: Iterable[JobId], policy: str, terms: Mapping[UserName, Terms]
) -> Plain:
    """All of it. `cause`: None for a job that does not wait for its turn; `waits_for`: whom it is to run after."""
    named = cause.waits_for if cause else ()
    until = datetime.fromtimestamp(cause.at_s, UTC) if cause and cause.at_s else None
    ranked = sorted(terms.items(), key=lambda it: (it[1].expected_penalty, it[0]))
    return {
        "job": job,
        "waits_for": [int(other) for other in named or waits_for],
        "behind": int(cause.behind) if cause and cause.behind is not None else None,
        "until": time_to_wire(until),
        "policy": policy,
        "terms": [
            {
                "user": str(user),
                "usage_gpu_seconds": term.usage_gpu_s,
                "committed_gpu_seconds": term.committed_gpu_s,
                "weight": term.weight,
                "penalty": term.penalty,
                "expected_penalty": term.expected_penalty,
            }
            for user, term in ranked
        ],
    }
