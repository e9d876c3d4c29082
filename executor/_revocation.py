"""Takes back from a worker what it has not begun: it is busy with a long task, or does not come to begin, or one of its
tasks was cancelled.

The protocol, and why no task runs twice on account of it: ARCHITECTURE.md. The words: `_status`.
"""

from __future__ import annotations

from functools import partial
from time import monotonic

from ._status import SENT
from ._worker import PAUSE, Worker, WorkerState

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ._engine import Engine
    from ._task import Task
    from ._worker import Lease

__all__ = ["RECALL_WITHIN", "Revocation"]

_STUCK_AFTER = 0.003  # seconds after which the leases behind a running task are taken back
RECALL_WITHIN = 1.0  # seconds; not reached unless the loop's thread gets no time


class Revocation:
    """Works on the workers of an engine, with its lock where it says so."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.recalled: set[Task] = set()  # they are to be cancelled if they come back. Guarded by the engine's lock

    def mind_progress(self, worker: Worker) -> None:
        """A worker that holds several leases may turn out to be busy with a long one. With the lock."""
        if not worker.progress_due and (len(worker.leases) > 1 or _holds_run(worker)):
            self._check_at(monotonic() + _STUCK_AFTER, worker)

    def _check_at(self, due: float, worker: Worker) -> None:
        worker.progress_due = True
        self._engine.loop.call_at(due, partial(self._check_progress, worker, monotonic()))

    def _check_progress(self, worker: Worker, asked_at: float) -> None:
        """``asked_at``: since when it has had several leases in any case."""
        engine = self._engine
        with engine.lock:
            worker.progress_due = False
            if worker.state not in (WorkerState.BUSY, WorkerState.RETIRING):
                return
            running = worker.running()
            if worker.revoked is not None or (running is None and not _has_begun_nothing(worker, asked_at)):
                self.mind_progress(worker)
                return
            due = (worker.running_since() if running is not None else asked_at) + _STUCK_AFTER
            if monotonic() < due:
                if len(worker.leases) > 1 or _holds_run(worker):
                    self._check_at(due, worker)
                return
        self._take_over(worker)

    def _take_over(self, worker: Worker) -> None:
        """The worker is stuck, in a long task or before its first: read the outcomes it has not sent, take back what it
        has not begun.
        """
        engine = self._engine
        began, sent = worker.running_since(), worker.words[SENT]
        unsent = worker.unsent_outcomes()
        # Meanwhile records may be added to the area. Nothing in it is overwritten before it was sent: if neither has
        # changed, what was read is whole.
        if unsent and worker.running_since() == began and worker.words[SENT] == sent:
            if not engine.supervisor.receive(worker):  # outcomes that were sent come before those that were not
                with engine.lock:
                    self.mind_progress(worker)
                return
            engine.settle_unsent(worker, unsent)
        with engine.lock:
            self.revoke(worker, but_first=True)  # or what takes long to arrive would be sent to and fro for ever
            if worker.is_leaving_run():
                self.mind_progress(worker)

    def revoke(self, worker: Worker, *, but_first: bool = False) -> None:
        """Write what is not to begin any more; a moment later it is taken back. With the lock; any thread."""
        if worker.state is not WorkerState.DEAD and worker.revoke(but_first=but_first):
            self._engine.loop.call_at(monotonic() + PAUSE, partial(self._reclaim, worker))

    def leave_alone(self, worker: Worker, lease: Lease, item: int) -> bool:
        """Whether that item, for whose sake the worker is to be killed, is the last that it can begin. If not, what is
        behind is being taken back, and one looks again after a `PAUSE`: it is not to be lost with it. With the lock.
        """
        if not worker.holds_behind(lease, item):
            return True
        self.revoke(worker)
        return False

    def _reclaim(self, worker: Worker) -> None:
        engine = self._engine
        with engine.lock:
            if worker.state is WorkerState.DEAD or worker.revoked is None:
                return
            engine.give_back([*worker.take_returned(), *worker.reclaim()])
            engine.rest(worker)
            engine.hungry[worker.id] = worker  # it could take nothing while its range was not settled
        engine.loop.call_soon(engine.supervisor.start_needed)

    def recall(self, task: Task, worker: Worker) -> None:
        """Wait, about a millisecond, until a leased task has begun or come back: then it is cancelled. Any thread.

        In the backlog it would be leased again before the caller has had a look at it.
        """
        engine = self._engine

        def settled() -> bool:
            with engine.lock:
                return task.lease is None or worker.has_begun(task) or not task.is_open()

        with engine.lock:
            if settled():
                return
            self.recalled.add(task)
            self.revoke(worker)
        give_up = monotonic() + RECALL_WITHIN
        while not settled() and monotonic() < give_up:
            engine.loop.wait(settled, monotonic() + PAUSE, list)  # a task begins without a word
            with engine.lock:
                if not settled():  # another range, without this one, had just been written
                    self.revoke(worker)
        with engine.lock:
            self.recalled.discard(task)


def _has_begun_nothing(worker: Worker, since: float) -> bool:
    """Although it was sent something. A worker that is to end behind what it holds keeps that, to be of use as often as
    its quota allows.
    """
    return worker.running_since() < since and not worker.feeding and worker.state is WorkerState.BUSY


def _holds_run(worker: Worker) -> bool:
    return any(lease.task.size() > 1 for lease in worker.leases.values())
