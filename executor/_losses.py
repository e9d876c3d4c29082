"""What becomes of the tasks that a worker had when it ended: one is lost or runs again, the others go back."""

from __future__ import annotations

from ._errors import Attempt, WorkerLost, describe_exit
from ._status import ITEM
from ._worker import Worker

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ._engine import Engine
    from ._task import Task

__all__ = ["Stopped", "settle_leases"]


class Stopped(Exception):
    """The running task was cancelled."""


def settle_leases(engine: Engine, worker: Worker, error: WorkerLost) -> bool:
    """Settle the leases of a worker that has gone. With the lock. True if a running task explains it."""
    running = worker.running()
    sentenced = worker.sentenced
    tracer = engine.tracer
    returned = worker.take_returned()
    for lease in list(worker.leases.values()):
        worker.drop(lease)
        lease.task.lease = None
        if sentenced is not None and lease.number == sentenced[0]:
            running, item, final = lease, sentenced[1], worker.kill_error or error
        elif lease is running:
            item = worker.words[ITEM]
            # Where it was killed on account of another task, this one had just begun after it.
            final = error if sentenced is not None or worker.kill_error is None else worker.kill_error
        else:
            returned.append(lease.task)
            continue
        lost, rest = lease.task.isolate(item)
        for task in lost:
            if tracer is not None:
                tracer.losing(worker, lease)
            _lose(engine, worker, task, final)
            if tracer is not None:
                tracer.lost(task, final)
        if rest is not None:
            returned.append(rest)
    engine.give_back(returned)
    return running is not None


def _lose(engine: Engine, worker: Worker, task: Task, final: BaseException) -> None:
    """The worker ended while it ran this task: run it again, or say so. With the lock."""
    if not task.is_open():
        return
    if isinstance(final, Stopped):
        task.mark_cancelled()
        engine.resolve(task, failed=False)
        return
    task.attempts = (*task.attempts, _attempt(worker, final))
    options = task.options
    if len(task.attempts) <= options.retries and (isinstance(final, WorkerLost) or options.retry_on_timeout):
        engine.retried += 1
        engine.give_back([task])
        return
    if isinstance(final, WorkerLost):
        final.task = task.name()
        final.attempts = task.attempts
        final.pid, final.worker = worker.pid or 0, worker.name
    task.fail(final)
    engine.resolve(task, failed=True)


def _attempt(worker: Worker, error: BaseException) -> Attempt:
    cause = error._how() if isinstance(error, WorkerLost) else type(error).__name__
    return Attempt(worker.pid or 0, cause or describe_exit(worker.exitcode))
