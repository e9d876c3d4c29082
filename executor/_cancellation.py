"""Cancels tasks of an engine: what waits, what is leased and has not begun, and, where that is asked for, what runs."""

from __future__ import annotations

from time import monotonic

from ._losses import Stopped
from ._revocation import RECALL_WITHIN
from ._status import ITEM
from ._worker import PAUSE, WorkerState

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
    give_up = monotonic() + RECALL_WITHIN
    while (cancelled := _cancel(engine, task, alone=monotonic() < give_up)) is None:
        engine.loop.wait(lambda: not task.is_open(), monotonic() + PAUSE, list)
    if cancelled:
        engine.loop.wake()
    engine.call_back()
    return cancelled


def _cancel(engine: Engine, task: Any, *, alone: bool) -> bool | None:
    """Whether it is cancelled now; None: it runs, and is ``alone`` to be stopped once nothing can begin behind it."""
    with engine.lock:
        if not task.is_open():
            return bool(task.cancelled())
        if task.lease is not None:
            if not task.options.cancel_running:
                return False
            stopped = _stop(engine, task, alone=alone)
            if not stopped:
                return stopped
        task.mark_cancelled()
        engine.resolve(task, failed=False)
        return True


def _stop(engine: Engine, task: Any, *, alone: bool) -> bool | None:
    """Kill the worker that runs this task; False: none does, None: not yet. With the lock."""
    worker, number = task.lease
    if worker.state is WorkerState.DEAD or worker.words_running() != number:
        return False
    lease, item = worker.leases[number], worker.words[ITEM]
    if alone and not engine.revocation.leave_alone(worker, lease, item):
        return None
    worker.sentenced = number, item
    if engine.tracer is not None:
        engine.tracer.losing(worker, lease)
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
