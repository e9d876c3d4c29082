"""Where the time went, from a trace. Pure: microseconds in, microseconds out."""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from dataclasses import dataclass
from itertools import pairwise

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from ._trace_reader import Run, TaskEvent

    Interval = tuple[float, float]

__all__ = ["FunctionSums", "WorkerTime", "functions", "histogram_edges", "union", "worker_time"]


@dataclass(slots=True)
class WorkerTime:
    """The time of all workers. ``starting``: while fewer workers served than are allowed; one that only
    waits to replace another costs nothing.
    """

    busy: float
    starting: float
    kept_waiting: float  # idle while tasks waited
    idle: float  # idle with nothing to do


@dataclass(slots=True)
class FunctionSums:
    """The runs of one function. ``counts`` belong to `histogram_edges`."""

    name: str
    runs: int
    failed: int
    total: float
    median: float
    high: float  # 95 of 100 took less
    most: float
    waited: float  # on average, from when it was queued
    counts: list[int]


def union(intervals: Iterable[Interval]) -> list[Interval]:
    """The same time, in intervals that do not touch."""
    joined: list[Interval] = []
    for began, ended in sorted(intervals):
        if joined and began <= joined[-1][1]:
            if ended > joined[-1][1]:
                joined[-1] = joined[-1][0], ended
        elif ended > began:
            joined.append((began, ended))
    return joined


def _covered(interval: Interval, by: list[Interval], starts: list[float]) -> float:
    """How much of an interval lies in a union, whose starts are given too."""
    began, ended = interval
    total = 0.0
    for at in range(max(0, bisect_right(starts, began) - 1), len(by)):
        first, last = by[at]
        if first >= ended:
            break
        total += max(0.0, min(ended, last) - max(began, first))
    return total


def worker_time(run: Run) -> WorkerTime:
    waiting = union((task.queued, task.began) for task in run.tasks)
    starts = [began for began, _ in waiting]
    own: dict[int, list[Interval]] = defaultdict(list)
    for task in run.tasks:
        if task.worker:
            own[task.worker].append((task.began, task.began + task.spent))
    busy = kept_waiting = idle = 0.0
    for number, worker in run.workers.items():
        if worker.ready is None:
            continue
        tasks = union(own[number])
        busy += sum(ended - began for began, ended in tasks)
        bounds = [(0.0, worker.ready), *tasks, (worker.ended, 0.0)]
        for (_, before), (after, _) in pairwise(bounds):
            if after > before:
                covered = _covered((before, after), waiting, starts)
                kept_waiting += covered
                idle += after - before - covered
    return WorkerTime(busy, _starting(run), kept_waiting, idle)


def _starting(run: Run) -> float:
    changes: list[tuple[float, int, int]] = []  # when, workers that start, workers that serve
    for worker in run.workers.values():
        up = worker.ended if worker.ready is None else worker.ready
        changes += [(worker.began, 1, 0), (up, -1, 0)]
        if worker.ready is not None:
            changes += [(worker.ready, 0, 1), (worker.ended, 0, -1)]
    allowed = int(run.facts.get("max_workers", len(run.workers)))
    starting = serving = 0
    total = before = 0.0
    for when, starts, serves in sorted(changes):
        total += (when - before) * min(starting, max(0, allowed - serving))
        before = when
        starting += starts
        serving += serves
    return total


def histogram_edges(run: Run) -> list[float]:
    """Upper edges of the bars, the same for all functions: three to a decade, as many as the tasks need."""
    spent = [task.spent for task in run.tasks if task.worker]
    if not spent:
        return []
    edges = [1.0]
    while edges[-1] <= max(spent):
        edges.append(round(10 ** (len(edges) / 3), 3))
    first = bisect_right(edges, min(spent))
    return edges[first:]


def functions(run: Run, edges: list[float]) -> list[FunctionSums]:
    """Those that took most time first."""
    groups: dict[str, list[TaskEvent]] = defaultdict(list)
    for task in run.tasks:
        if task.worker:
            groups[task.name].append(task)
    sums = [_sum_up(name, tasks, edges) for name, tasks in groups.items()]
    return sorted(sums, key=lambda each: -each.total)


def _sum_up(name: str, tasks: list[TaskEvent], edges: list[float]) -> FunctionSums:
    spent = sorted(task.spent for task in tasks)
    counts = [0] * len(edges)
    for value in spent:
        counts[min(bisect_right(edges, value), len(edges) - 1)] += 1
    return FunctionSums(
        name,
        len(tasks),
        sum(task.outcome != "ok" for task in tasks),
        sum(spent),
        spent[len(spent) // 2],
        spent[min(len(spent) - 1, len(spent) * 95 // 100)],
        spent[-1],
        sum(max(0.0, task.began - task.queued) for task in tasks) / len(tasks),
        counts,
    )
