"""Eight of ten starts fall inside the band that was told, on real jobs: the first of the trace, with each next one unknown.

`benchmarks/eta.py` takes the whole trace.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from dopq.simulation.foresight import Foresight
from dopq.simulation.replay import Limits, Setting, replay
from dopq.simulation.trace import read_trace

PHILLY = Path(__file__).parents[3] / "shared" / "data" / "philly_dev.csv"

pytestmark = pytest.mark.skipif(not PHILLY.exists(), reason=f"there is no trace at {PHILLY}")


@pytest.mark.timeout(300)
@pytest.mark.parametrize("gpus", [144, 128])
def test_75_to_85_percent_of_starts_fall_inside_the_band(gpus: int) -> None:
    foresight = watched(gpus, Limits.TRUE, jobs=2000, every=6)
    assert 0.75 <= foresight.coverage <= 0.85, f"{foresight.coverage:.3f} of {len(foresight.seen)}"


@pytest.mark.timeout(300)
def test_so_they_do_but_for_a_twentieth_where_run_times_are_guessed_and_a_node_is_young() -> None:
    foresight = watched(144, Limits.HISTORY, jobs=2000, every=8)
    assert 0.70 <= foresight.coverage <= 0.90, f"{foresight.coverage:.3f} of {len(foresight.seen)}"


def watched(gpus: int, limits: Limits, *, jobs: int, every: int) -> Foresight:
    foresight = Foresight(limits, every, courses=2)
    replay(read_trace(PHILLY)[:jobs], Setting(gpus, limits=limits), watcher=foresight)
    assert len(foresight.seen) > 150
    assert foresight.beyond == 0
    return foresight
