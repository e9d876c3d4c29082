"""A large numpy array to a worker, one float back."""

from __future__ import annotations

from benchmarks.case import Case, Mark, over
from benchmarks.cases.array import PEERS, trips
from benchmarks.peers import JOBLIB, Pool
from benchmarks.tasks import total
from benchmarks.units import Unit


def there(pool: Pool, megabytes: int) -> float:
    """Seconds for one array to a worker and its sum back."""
    return trips(pool, total, megabytes)


def there_with_joblib(megabytes: int) -> float:
    """joblib has no submit: the same through a map of one item. It writes the array to a mapped file."""
    from dataclasses import replace

    with JOBLIB.opened() as pool:

        def submit(function, array):  # type: ignore[no-untyped-def]
            return pool.map(function, [array], 1)

        return there(replace(pool, submit=submit, result=lambda results: results[0]), megabytes)


CASE = Case(
    name="inbound",
    title="64 MB array to a worker, one float back",
    unit=Unit.TIME,
    subjects={**over(there, *PEERS), "joblib": there_with_joblib},
    size=64,
    quick=64,
    marks=(Mark("at most", 1 / 20, "concurrent.futures"),),
)
