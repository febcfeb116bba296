#!/usr/bin/env python3
"""How honest the ETA is: replays a trace, forecasts some jobs when they join, and counts the starts inside the band.

Each forecast knows what a node would know at that moment: the queue, what runs, and how earlier forecasts turned out.
Jobs that start at once have no forecast and do not count. Goal: 75 to 85 % of starts inside.
"""

from __future__ import annotations

import argparse
import json
import sys
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median

from dopq.simulation.foresight import Foresight
from dopq.simulation.replay import Limits, Setting, replay
from dopq.simulation.trace import read_trace

PHILLY = Path(__file__).parents[2] / "shared" / "data" / "philly_dev.csv"


@dataclass(frozen=True, slots=True)
class Figures:
    """What came of one replay.

    Attributes:
        coverage: the part of starts inside the band; `early` and `late` are those before and after it.
        width_s: of the band, median.
        width_factor: its upper bound by its lower one, each a minute more; median.
        beyond: jobs too far back in the queue for a forecast.
    """

    gpus: int
    limits: str
    forecasts: int
    beyond: int
    coverage: float
    early: float
    late: float
    median_wait_s: float
    width_s: float
    width_factor: float

    @property
    def missed(self) -> bool:
        """Whether the goal is."""
        return not 0.75 <= self.coverage <= 0.85


def main() -> int:
    """Run the benchmark; exit code 1 when the goal was missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("trace", nargs="?", type=Path, default=PHILLY, help="CSV or SWF (philly_dev.csv)")
    parser.add_argument("--gpus", type=int, nargs="+", default=[144, 128])
    parser.add_argument("--limits", nargs="+", type=Limits, choices=list(Limits), default=[Limits.TRUE, Limits.HISTORY])
    parser.add_argument("--jobs", type=int, default=None, help="only the first of the trace")
    parser.add_argument("--every", type=int, default=20, help="of how many waiting jobs one is asked about")
    parser.add_argument("--courses", type=int, default=3, help="of each forecast, where run times are unknown")
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    cases = [(args, gpus, limits) for limits in args.limits for gpus in args.gpus]
    with ProcessPoolExecutor(args.processes) as pool:
        figures = list(pool.map(_measure, *zip(*cases, strict=True)))
    if args.json:
        print(json.dumps({"schema_version": 1, "rows": [asdict(it) for it in figures]}, indent=2))
    else:
        print(f"{'GPUs':>5} {'limits':8}{'forecasts':>10}{'inside':>9}{'early':>8}{'late':>8}{'wait':>9}{'width':>18}")
        for it in figures:
            print(
                f"{it.gpus:5} {it.limits:8}{it.forecasts:10}{it.coverage:9.1%}{it.early:8.1%}{it.late:8.1%}"
                f"{it.median_wait_s / 3600:7.1f} h{it.width_s / 3600:7.1f} h (x {it.width_factor:.1f})"
                f"{'  missed' if it.missed else ''}"
            )
    return int(any(it.missed for it in figures))


def _measure(args: argparse.Namespace, gpus: int, limits: Limits) -> Figures:
    foresight = Foresight(limits, args.every, args.courses)
    replay(read_trace(args.trace)[: args.jobs], Setting(gpus, limits=limits), watcher=foresight)
    seen = foresight.seen
    return Figures(
        gpus,
        limits,
        len(seen),
        foresight.beyond,
        foresight.coverage,
        sum(it.waited_s < it.told.p10_s for it in seen) / len(seen),
        sum(it.waited_s > it.told.p90_s for it in seen) / len(seen),
        median(it.waited_s for it in seen),
        median(it.told.p90_s - it.told.p10_s for it in seen),
        median((it.told.p90_s + 60) / (it.told.p10_s + 60) for it in seen),
    )


if __name__ == "__main__":
    sys.exit(main())
