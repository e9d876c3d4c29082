"""What the clock decides: time limits of tasks, memory of workers, idle workers. Runs in the loop's leader.

Time counts from when a task begins, which only the worker knows: the status page tells. Nothing of this depends on the
worker's help, so that C code which keeps the GIL, or a task that ignores signals, cannot escape it.
"""

from __future__ import annotations

from functools import partial
from time import monotonic

from ._errors import MemoryQuotaExceeded, TaskTimeout
from ._status import ITEM, SOFT
from ._worker import PAUSE, Worker, WorkerState
from ._worker_main import DUMP_SIGNAL, SOFT_SIGNAL

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from ._loop import Loop
    from ._options import Options
    from ._settings import Settings
    from ._supervisor import Supervisor
    from ._worker import Lease

    LeaveAlone = Callable[[Worker, Lease, int], bool]

__all__ = ["Watch"]

_MEMORY_EVERY = 0.05  # seconds between two readings of the workers' memory
_DUMP_WITHIN = 0.2  # seconds that a worker has to write its stack before it is killed
_DUMP_WITHIN_AT_MOST = 2.0  # where it could run all the while, and was perhaps given no core
_DUMP_STEP = 0.002


class Watch:
    def __init__(self, loop: Loop, settings: Settings, supervisor: Supervisor, leave_alone: LeaveAlone) -> None:
        """``leave_alone``: see `Revocation`."""
        self._loop = loop
        self._settings = settings
        self._supervisor = supervisor
        self._leave_alone = leave_alone
        self._memory_due = False  # guarded by the manager's lock

    # --- time -----------------------------------------------------------------------------------------------

    def arm(self, worker: Worker, options: Options) -> None:
        """A task with a time limit was leased to the worker. With the lock; any thread."""
        limits = [limit for limit in (options.timeout, options.soft_timeout) if limit is not None]
        due = monotonic() + min(limits)
        if worker.watch_due is None or due < worker.watch_due:
            worker.watch_due = due
            self._loop.call_at(due, partial(self._check_time, worker, due))

    def _check_time(self, worker: Worker, due: float) -> None:
        with self._loop.lock:
            if worker.watch_due != due or worker.state is WorkerState.DEAD:
                return
            worker.watch_due = None
            running = worker.running()
            if running is not None and running.task.options.watched:
                again = self._check_running(worker, running)
            else:
                again = None
            waiting = [
                monotonic() + limit
                for lease in worker.leases.values()
                if lease is not running
                for limit in (lease.task.options.timeout, lease.task.options.soft_timeout)
                if limit is not None
            ]
            if again is not None:
                waiting.append(again)
            if waiting:
                worker.watch_due = min(waiting)
                self._loop.call_at(worker.watch_due, partial(self._check_time, worker, worker.watch_due))

    def _check_running(self, worker: Worker, running: Lease) -> float | None:
        """Act if a limit of the running task is reached; when to look again."""
        options = running.task.options
        item = worker.words[ITEM]  # before the time is read: that is this item's or a later one's
        began = worker.running_since()
        if worker.running() is not running:
            return monotonic()  # it has just moved on
        if worker.kill_error is not None:
            return None
        now = monotonic()
        first = began + min(limit for limit in (options.timeout, options.soft_timeout) if limit is not None)
        if now < first:
            return first
        if not self._leave_alone(worker, running, item):
            return now + PAUSE
        if options.timeout is not None and now >= began + options.timeout:
            self._time_out(worker, running, item, options.timeout)
            return None
        if worker.words[SOFT] != running.number:
            worker.words[SOFT] = running.number
            worker.signal(SOFT_SIGNAL)
        return None if options.timeout is None else began + options.timeout

    def _time_out(self, worker: Worker, running: Lease, item: int, timeout: float) -> None:
        """Ask for the stack, then kill: many at once wait side by side."""
        worker.sentenced = running.number, item
        worker.kill_error = TaskTimeout(task=running.task.name(), timeout=timeout, pid=worker.pid or 0)
        assert worker.block is not None
        worker.block.clear_log()
        worker.signal(DUMP_SIGNAL)
        self._loop.call_at(monotonic() + _DUMP_STEP, partial(self._kill_when_dumped, worker, monotonic()))

    def _kill_when_dumped(self, worker: Worker, asked_at: float) -> None:
        with self._loop.lock:
            error = worker.kill_error
            if worker.state is WorkerState.DEAD or not isinstance(error, TaskTimeout):
                return
            error.stack = worker.crash_log()
            waited = monotonic() - asked_at
            may_wait = waited < _DUMP_WITHIN or (waited < _DUMP_WITHIN_AT_MOST and _is_runnable(worker))
            if not _is_whole(error.stack) and may_wait:
                self._loop.call_at(monotonic() + _DUMP_STEP, partial(self._kill_when_dumped, worker, asked_at))
                return
        self._supervisor.kill(worker, error)

    # --- memory ---------------------------------------------------------------------------------------------

    def mind_memory(self) -> None:
        """Begin to watch, if there is a memory quota. With the lock."""
        if self._settings.quota.memory is not None and not self._memory_due:
            self._memory_due = True
            self._loop.call_at(monotonic() + _MEMORY_EVERY, self._check_memory)

    def _check_memory(self) -> None:
        limit = self._settings.quota.memory
        assert limit is not None
        with self._loop.lock:
            self._memory_due = False
            for worker in list(self._supervisor.workers.values()):
                resident = resident_bytes(worker.pid)
                worker.peak_memory = max(worker.peak_memory or 0, resident)
                if resident > limit:
                    self._over_memory(worker, limit, resident)
            if any(worker.state is WorkerState.BUSY for worker in self._supervisor.workers.values()):
                self.mind_memory()

    def _over_memory(self, worker: Worker, limit: int, resident: int) -> None:
        if worker.state is WorkerState.IDLE:
            self._supervisor.retire(worker, "max_memory_per_child")
            return
        running = worker.running()
        if worker.state is not WorkerState.BUSY or worker.kill_error is not None:
            return
        if running is None or worker.over_memory_lease != running.number:
            # It may have grown before this task, or be about to end it: it gets no more, and one more reading.
            worker.over_memory_lease = 0 if running is None else running.number
            worker.retire_reason = "max_memory_per_child"
        else:
            error = MemoryQuotaExceeded(
                limit=limit,
                resident=resident,
                peak_memory=worker.peak_memory,
                pid=worker.pid or 0,
                worker=worker.name,
            )
            self._supervisor.kill(worker, error)

    # --- idleness -------------------------------------------------------------------------------------------

    def on_idle(self, worker: Worker) -> None:
        """A worker has become idle. With the lock."""
        timeout = self._settings.idle_timeout
        worker.idle_since = monotonic()
        if timeout is not None and not worker.idle_due:
            worker.idle_due = True
            self._loop.call_at(worker.idle_since + timeout, partial(self._check_idle, worker))

    def _check_idle(self, worker: Worker) -> None:
        timeout = self._settings.idle_timeout
        assert timeout is not None
        with self._loop.lock:
            worker.idle_due = False
            if worker.state is not WorkerState.IDLE:
                return  # it says so again when it is idle again
            due = worker.idle_since + timeout
            if monotonic() < due:
                worker.idle_due = True
                self._loop.call_at(due, partial(self._check_idle, worker))
            elif self._supervisor.serving() > self._settings.min_workers:
                self._supervisor.retire(worker, "idle_timeout")


def resident_bytes(pid: int | None) -> int:
    """The resident set of a process, 0 if it has gone."""
    import psutil  # takes 30 ms to import

    try:
        return int(psutil.Process(pid).memory_info().rss) if pid else 0
    except psutil.Error:
        return 0


def _is_whole(dump: str) -> bool:
    """Whether faulthandler has written the stack of the thread that runs tasks (it comes last)."""
    return "in main" in dump and dump.endswith("\n")


def _is_runnable(worker: Worker) -> bool:
    import psutil  # takes 30 ms to import

    try:
        return bool(psutil.Process(worker.pid).status() == psutil.STATUS_RUNNING)
    except psutil.Error:  # it has gone
        return False
