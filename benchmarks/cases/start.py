"""A new pool in a program that has used one before, to its first result: everything but the imports.

The start of the first worker, and what the pool itself adds to it, under each start method.
"""

from __future__ import annotations

import importlib
import multiprocessing
import os
import statistics
import time

from benchmarks.case import Case, Mark, Measure
from benchmarks.peers import WORKERS
from benchmarks.units import Unit

METHODS = ("fork", "forkserver", "spawn")
MODULES = {"executor": "executor", "concurrent.futures": "concurrent.futures"}


def first_result(module: str, method: str) -> Measure:
    """The median seconds from the call of the class to the first result."""

    def measured(times: int) -> float:
        make = importlib.import_module(module).ProcessPoolExecutor
        context = multiprocessing.get_context(method)
        spent = []
        for _ in range(times + 1):  # the first pays for the imports, and for the fork server
            start = time.perf_counter()
            pool = make(WORKERS, context)
            pool.submit(os.getpid).result()
            spent.append(time.perf_counter() - start)
            pool.shutdown()
        return statistics.median(spent[1:])

    return measured


CASE = Case(
    name="start",
    title="A new pool, its package in use already, to its first result",
    unit=Unit.TIME,
    subjects={
        f"{label}, {method}": first_result(module, method) for method in METHODS for label, module in MODULES.items()
    },
    size=30,
    quick=5,
    marks=tuple(
        Mark("at most", 1, f"concurrent.futures, {method}", subject=f"executor, {method}") for method in METHODS
    ),
    baseline="executor, fork",
)
