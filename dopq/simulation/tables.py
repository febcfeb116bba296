"""What schedules were like, for people: tables that rich can draw, and plain data for JSON. Prints nothing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.table import Table

from dopq.clean import clean
from dopq.order import Policy
from dopq.simulation.measures import Measures, Waits

HOUR_S = 3600.0


def comparison(measured: Mapping[Policy, Measures]) -> Table:
    """One line a policy; waits in hours."""
    table = _table("POLICY", *_WAITS, "SLOWDOWN", "UTILISATION", "SHARE ERROR")
    for policy, it in measured.items():
        slowdown, used = f"{it.mean_bounded_slowdown:.1f}", f"{it.utilisation:.1%}"
        table.add_row(policy, *_hours(it.waits), slowdown, used, f"{it.share_error:.3f}")
    return table


def waits_by_user(measured: Mapping[Policy, Measures]) -> Table:
    """One line a user and policy, a user's lines together; waits in hours."""
    table = _table("USER", "POLICY", "JOBS", "GPU HOURS", *_WAITS)
    users = next(iter(measured.values())).by_user
    for user in users:
        for policy, it in measured.items():
            waits = it.by_user[user]
            table.add_row(clean(user), policy, str(waits.jobs), f"{it.gpu_seconds[user] / HOUR_S:.1f}", *_hours(waits))
    return table


def as_data(policy: Policy, it: Measures) -> dict[str, Any]:
    """The figures of one policy as docs/json.md has them."""
    return {
        "policy": policy,
        "wait_s": _seconds(it.waits),
        "mean_bounded_slowdown": it.mean_bounded_slowdown,
        "utilisation": it.utilisation,
        "share_error": it.share_error,
        "users": [
            {"user": user, "jobs": waits.jobs, "gpu_seconds": it.gpu_seconds[user], "wait_s": _seconds(waits)}
            for user, waits in it.by_user.items()
        ],
    }


_WAITS = ("MEAN", "P50", "P99", "MAX")


def _hours(waits: Waits) -> list[str]:
    return [f"{seconds / HOUR_S:.2f}" for seconds in _seconds(waits).values()]


def _seconds(waits: Waits) -> dict[str, float]:
    return {"mean": waits.mean_s, "p50": waits.p50_s, "p99": waits.p99_s, "max": waits.max_s}


def _table(*headings: str) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in headings:
        words = heading in ("POLICY", "USER")
        table.add_column(heading, justify="left" if words else "right", no_wrap=heading != "USER", overflow="fold")
    return table
