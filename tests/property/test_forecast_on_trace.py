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
@pytest.mark.parametrize(("limits", "jobs", "every"), [(Limits.TRUE, 2000, 6), (Limits.HISTORY, 2000, 8)])
def test_75_to_85_percent_of_starts_fall_inside_the_band(gpus: int, limits: Limits, jobs: int, every: int) -> None:
    foresight = Foresight(limits, every, courses=2)
    replay(read_trace(PHILLY)[:jobs], Setting(gpus, limits=limits), watcher=foresight)
    assert len(foresight.seen) > 150
    assert foresight.beyond == 0
    assert 0.75 <= foresight.coverage <= 0.85, f"{foresight.coverage:.3f} of {len(foresight.seen)}"
