"""What `stats()` gives, made from the scheduler's rows and from this executor's own counters."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from executor._stats import Stats, WorkerStats

from ._future import DaskFuture


@dataclass(slots=True)
class Counters:
    """Guarded by the book's lock."""

    submitted: int = 0
    done: int = 0
    failed: int = 0
    cancelled: int = 0
    retried: int = 0


def snapshot(counters: Counters, open_futures: Mapping[str, DaskFuture], rows: Iterable[dict[str, Any]]) -> Stats:
    """With the book's lock."""
    running = sum(future.running() for future in open_futures.values())
    return Stats(
        **asdict(counters),
        pending=len(open_futures) - running,
        running=running,
        workers=tuple(_worker(row, open_futures) for row in rows),
    )


def _worker(row: dict[str, Any], open_futures: Mapping[str, DaskFuture]) -> WorkerStats:
    future = open_futures.get(row["key"])
    return WorkerStats(
        id=row["number"],
        slot=-1,  # Dask's workers have none
        name=row["name"],
        pid=row["pid"],
        state="BUSY" if row["running"] else "IDLE",
        task=None if future is None else future.name,
        task_seconds=row["seconds"],
        tasks_done=row["ended"],
        age=row["age"],
        memory=row["memory"],
    )
