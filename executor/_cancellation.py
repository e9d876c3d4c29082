"""Cancels tasks of an engine: what waits, what is leased and has not begun, and, where that is asked for, what runs."""

from __future__ import annotations

from ._losses import Stopped
from ._status import ITEM
from ._worker import WorkerState

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ._engine import Engine
    from ._session import Session
    from ._task import Task

__all__ = ["cancel", "cancel_pending"]


def cancel(engine: Engine, task: Any) -> bool:
    """Cancel a future; whether that worked. Any thread, without the lock."""
    with engine.lock:
        leased = task.lease is not None and task.is_open()
        worker = task.lease[0] if leased else None
    if worker is not None:
        engine.revocation.recall(task, worker)
        engine.call_back()
    with engine.lock:
        if not task.is_open():
            cancelled: bool = task.cancelled()
            return cancelled
        if task.lease is not None and not (task.options.cancel_running and _stop(engine, task)):
            return False
        task.mark_cancelled()
        engine.resolve(task, failed=False)
    engine.loop.wake()
    engine.call_back()
    return True


def _stop(engine: Engine, task: Any) -> bool:
    """Kill the worker that runs this task. With the lock."""
    worker, number = task.lease
    if worker.state is WorkerState.DEAD or worker.words_running() != number:
        return False
    worker.sentenced = number, worker.words[ITEM]
    if engine.tracer is not None:
        engine.tracer.losing(worker, worker.leases[number])
    worker.revoke()
    engine.supervisor.kill(worker, Stopped())
    return True


def cancel_pending(engine: Engine, session: Session, *, keep: bool = False) -> None:
    """Cancel what a session has pending. Any thread, without the lock.

    ``keep``: but for as many tasks as there are workers free or on their way, which are theirs as good as begun.
    """
    with engine.lock:
        session.abandoned = session.abandoned or not keep
        session.starts_waiting = False
        kept: list[Task] = []
        workers = engine.supervisor.workers.values()
        free = engine.settings.max_workers - sum(worker.state is WorkerState.BUSY for worker in workers)
        for task in engine.backlog.drain():
            if task.session is session and not (keep and len(kept) < free):
                task.mark_cancelled()
                engine.resolve(task, failed=False)
            else:
                kept.append(task)
        for task in kept:
            engine.backlog.add(task)
        for worker in workers:
            if worker.leases:
                engine.revocation.revoke(worker)
    engine.loop.wake()
    engine.call_back()
