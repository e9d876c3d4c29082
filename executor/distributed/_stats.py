"""A snapshot of an executor and of the cluster's workers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class WorkerStats:
    id: Any
    slot: int | None
    name: str
    pid: int | None
    state: str
    task: str | None
    task_seconds: float | None
    tasks_done: int
    age: float | None
    memory: int | None


@dataclass(frozen=True, slots=True)
class Stats:
    submitted: int
    done: int
    failed: int
    cancelled: int
    retried: int
    pending: int
    running: int
    restarts: Mapping[str, int] = field(default_factory=dict)
    workers: tuple[WorkerStats, ...] = ()
