"""``map`` over tiny items with each pool's default chunk size."""

from __future__ import annotations

import time

from benchmarks.case import Case, Mark, over
from benchmarks.peers import EXECUTOR, FUTURES, JOBLIB, LOKY, MPIRE, PEBBLE, POOL, Pool
from benchmarks.tasks import same
from benchmarks.units import Unit

WARM = 500
SCALE = {"multiprocessing.Pool": 5.0, "concurrent.futures": 0.1, "loky": 0.1, "pebble": 0.1}
"""More items for the pool that would be done in no time, fewer for those that send them one by one."""


def map_rate(pool: Pool, items: int, chunksize: int | None = None) -> float:
    """Items a second through map, counted as they are handed over."""
    for _ in pool.map(same, range(WARM), chunksize):
        pass
    start = time.perf_counter()
    count = sum(1 for _ in pool.map(same, range(items), chunksize))
    spent = time.perf_counter() - start
    if count != items:
        raise RuntimeError(f"{count} results of {items}")
    return items / spent


CASE = Case(
    name="map",
    title="map with the default chunk size",
    unit=Unit.RATE,
    subjects=over(map_rate, EXECUTOR, FUTURES, POOL, LOKY, PEBBLE, MPIRE, JOBLIB, scale=SCALE),
    size=200_000,
    quick=40_000,
    higher_is_better=True,
    marks=(
        Mark("at least", 50, "concurrent.futures"),
        Mark("at least", 2, "joblib"),
        Mark("at least", 0.5, "multiprocessing.Pool"),
    ),
    note=(
        "The default of concurrent.futures, loky and pebble is one item a chunk; that of "
        "multiprocessing.Pool a quarter of each worker's share, where one bad item costs its whole chunk."
    ),
)
