"""What a pool is doing: an immutable snapshot, and the stacks of its workers."""

from __future__ import annotations

from dataclasses import dataclass, field
from time import monotonic

from ._watch import _is_whole, resident_bytes
from ._worker_main import DUMP_SIGNAL

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from ._engine import Engine
    from ._session import Session
    from ._worker import Worker

__all__ = ["Stats", "WorkerStats", "snapshot", "worker_stacks"]


@dataclass(frozen=True, slots=True)
class WorkerStats:
    """One worker. ``task`` is None when it runs none; ``task_seconds``, ``age`` in seconds; ``memory`` in bytes."""

    id: int
    slot: int
    name: str
    pid: int | None
    state: str
    task: str | None
    task_seconds: float
    tasks_done: int
    age: float
    memory: int


@dataclass(frozen=True, slots=True)
class Stats:
    """Counters since the executor was made, and its workers now. ``restarts`` counts ended workers by reason."""

    submitted: int
    done: int
    failed: int
    cancelled: int
    retried: int
    pending: int
    running: int
    restarts: Mapping[str, int] = field(default_factory=dict)
    workers: tuple[WorkerStats, ...] = ()


def snapshot(engine: Engine, sessions: list[Session]) -> Stats:
    """Any thread."""
    with engine.lock:
        workers = [] if engine.forked else list(engine.supervisor.workers.values())
        rows = [_row(worker) for worker in workers]
        submitted = sum(session.submitted for session in sessions)
        done = sum(session.done for session in sessions)
        failed = sum(session.failed for session in sessions)
        cancelled = sum(session.cancelled for session in sessions)
        running = sum(row.task is not None for row in rows)
        return Stats(
            submitted=submitted,
            done=done,
            failed=failed,
            cancelled=cancelled,
            retried=engine.retried,
            pending=max(0, submitted - done - failed - cancelled - running),
            running=running,
            restarts=dict(engine.supervisor.restarts),
            workers=tuple(rows),
        )


def _row(worker: Worker) -> WorkerStats:
    now = monotonic()
    running = worker.running()
    task = None
    seconds = 0.0
    if running is not None:
        task = running.task.name()
        seconds = max(0.0, now - worker.running_since())
    return WorkerStats(
        id=worker.id,
        slot=worker.slot,
        name=worker.name,
        pid=worker.pid,
        state=worker.state.name,
        task=task,
        task_seconds=seconds,
        tasks_done=worker.tasks_done,
        age=now - worker.started_at,
        memory=resident_bytes(worker.pid),
    )


def worker_stacks(engine: Engine, timeout: float) -> dict[str, str]:
    """Ask all at once, then wait until each has written its stack, or for ``timeout`` seconds."""
    with engine.lock:
        asked = [worker for worker in engine.supervisor.workers.values() if worker.ready_at is not None]
        for worker in asked:
            if worker.block is not None:
                worker.block.clear_log()
                worker.signal(DUMP_SIGNAL)
    stacks: dict[str, str] = {}

    def all_written() -> bool:
        with engine.lock:
            for worker in asked:
                log = worker.crash_log() if worker.block is not None and worker.block.fd >= 0 else ""
                if _is_whole(log):
                    stacks[worker.name] = log
        return len(stacks) == len(asked)

    deadline = monotonic() + timeout
    while not all_written() and monotonic() < deadline:
        # The workers write to memory and tell nobody: look again shortly.
        engine.loop.wait(lambda: False, min(deadline, monotonic() + 0.002), lambda: engine.waiters)
    return stacks
