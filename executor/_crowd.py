"""Whether one more worker is woken for a quick call: not while as many as there are cores are at work on such calls.

Waking it would take longer than the call, and no core is left for it. So the call stays in the queue for one of the
busy workers, which will be back in no time. Whether it is, is looked at a millisecond later: where none has come back,
or what waits has turned out not to be quick, it is for the idle ones after all.
"""

from __future__ import annotations

from collections import deque
from time import monotonic

from ._backlog import Backlog
from ._policy import WINDOW
from ._spin import cores
from ._worker import WorkerState

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ._engine import Engine
    from ._task import Task
    from ._worker import Worker

__all__ = ["Crowd"]

_BACK_WITHIN = 0.001  # seconds
_NEVER = -1


class Crowd:
    """All methods with the manager's lock held, but for `leaves_a_core`."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._enough = cores()
        self._fed: deque[Worker] = deque(maxlen=self._enough)  # those that were leased to last
        self._returns = 0  # how many times outcomes have come
        self._waits_since = _NEVER  # at which of these a call began to wait; NEVER while none does
        self._overdue = _NEVER  # at which of these the next was overdue

    def note_lease(self, worker: Worker) -> None:
        if worker not in self._fed:
            self._fed.append(worker)

    def note_return(self) -> None:
        self._returns += 1

    def leaves_a_core(self) -> bool:
        """Whether a worker is at work, and a core is free for who waits for it. Without the lock: a guess."""
        supervisor = self._engine.supervisor
        return 0 < len(supervisor.workers) - len(supervisor.idle) < self._enough

    def workers_for(self, task: Task) -> int:
        """How many are to have a part of what is pending, of which that task is the first."""
        workers = len(self._engine.supervisor.workers)
        return self._enough if workers > self._enough and self._is_quick(task) else workers

    def may_wait(self, task: Task) -> bool:
        """Whether that task, which is pending, may wait for a busy worker although another is idle."""
        if task.options.goes_alone or not self._is_quick(task):
            return False
        if self._waits_since == self._returns:  # all is as it was when the last one was asked about
            return True
        if self._overdue == self._returns or len(self._fed) < self._enough:
            return False
        for worker in self._fed:
            if worker.state is not WorkerState.BUSY or worker.in_hand >= WINDOW:
                return False
        if self._waits_since == _NEVER:
            self._wait()
        return True

    def _is_quick(self, task: Task) -> bool:
        return self._engine.estimates.is_quick(task.estimate_key())

    def _wait(self) -> None:
        self._waits_since = self._returns
        self._engine.loop.call_at(monotonic() + _BACK_WITHIN, self._look)

    def _look(self) -> None:
        engine = self._engine
        with engine.lock:
            since, self._waits_since = self._waits_since, _NEVER
            if not engine.backlog or not engine.supervisor.idle:
                return
            if since == self._returns:
                self._overdue = since
            elif isinstance(engine.backlog, Backlog):
                head = engine.backlog.head()
                if head is not None and self._is_quick(head):
                    self._wait()
                    return
            engine.hungry.update(engine.supervisor.idle)
