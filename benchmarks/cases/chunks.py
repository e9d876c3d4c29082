"""``map`` over tiny items in chunks of 100."""

from __future__ import annotations

from benchmarks.case import BEST_PEER, Case, Mark, over
from benchmarks.cases.map import map_rate
from benchmarks.peers import EXECUTOR, FUTURES, JOBLIB, LOKY, MPIRE, PEBBLE, POOL, Pool
from benchmarks.units import Unit

CHUNK = 100


def chunked_rate(pool: Pool, items: int) -> float:
    """Items a second."""
    return map_rate(pool, items, CHUNK)


CASE = Case(
    name="chunks",
    title=f"map with chunksize {CHUNK}",
    unit=Unit.RATE,
    subjects=over(chunked_rate, EXECUTOR, FUTURES, POOL, LOKY, PEBBLE, MPIRE, JOBLIB),
    size=300_000,
    quick=60_000,
    higher_is_better=True,
    marks=(Mark("at least", 1.5, BEST_PEER),),
)
