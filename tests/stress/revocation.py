"""A seeded stress of leases and their revocation: no task runs twice unless its worker died.

Most tasks are tiny, so that workers are given many at once; now and then one is long, so that the ones
behind it are taken back and given to somebody else; workers are killed at random, and stopped if it is asked for. By
hand, long::

    python tests/stress/revocation.py --tasks 100000 --every 0.25 --workers 4 --pause 0.02

Options and exit code are those of storm.py.
"""

from __future__ import annotations

import random
import sys
from dataclasses import dataclass
from pathlib import Path

if __name__ == "__main__":  # started by hand: the folder of this file is on the path, its project is not
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.stress.storm import Plan, Report, main, storm

TINY, SHORT, LONG = 0.0, 5e-4, 60e-3
ODDS = (0.80, 0.19, 0.01)


@dataclass(frozen=True)
class MixedPlan(Plan):
    """The storm's plan with durations that make windows grow and then be taken back."""

    def durations(self) -> list[float]:
        """Nothing, half a millisecond, or now and then up to sixty."""
        source = random.Random(self.seed)
        upper = source.choices((TINY, SHORT, LONG), ODDS, k=self.tasks)
        return [source.uniform(0.0, most) for most in upper]


def revocation(plan: Plan, folder: str) -> Report:
    """Run one with the same checks as a storm."""
    return storm(MixedPlan(**vars(plan)), folder)


if __name__ == "__main__":
    sys.exit(main(revocation))
