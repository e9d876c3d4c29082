"""Records what the tasks and the workers of one engine do, for a trace file (`_trace_file`).

The engine calls the recording methods with its lock, where it settles outcomes: each appends a tuple, and no more. What
costs time (names of threads, JSON) waits for the file. A task is recorded once for each of its runs, and once
if it never ran:

    outcome               the worker has told how it ended
    resolved, item_ended  it was settled without a word of a worker: cancelled, could not be pickled, ...
    losing ... lost       around both: the worker that ran it has gone. A run that left it open is "retried"
"""

from __future__ import annotations

import logging
import os
import threading
from bisect import bisect_right
from collections import deque
from itertools import count
from time import monotonic, monotonic_ns

from ._current import function_name
from ._messages import ALL_ITEMS
from ._status import STARTED
from ._trace_file import TraceFile
from ._trace_words import how_it_ended, text_of
from ._watch import resident_bytes
from ._worker import WorkerState

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

    from ._engine import Engine
    from ._session import Session
    from ._trace_file import MemoryRow, SpanRow, TaskRow, WorkerRow
    from ._worker import Lease, Worker

__all__ = ["Tracer", "log_failure"]

_TICK = 0.1  # seconds between two looks at the workers' memory, at first
_TICKS = 2000  # of a trace: later ones are further apart
_WRITTEN_A_SECOND = 4000  # records, while tasks run: formatting is to cost the program next to nothing
_NAMES = 1000  # of functions that are remembered
_SHORT = 100_000  # nanoseconds: spans below are only summed up

_numbers = count(1)


class Tracer:
    """One trace. Recording methods are called with the engine's lock unless they say otherwise."""

    def __init__(self, engine: Engine, path: str | os.PathLike[str], session: Session | None) -> None:
        """``session``: when it leaves, the trace ends; None: with the engine. Raises OSError for the path."""
        self.session = session
        self._engine = engine
        self._file = TraceFile(path, engine.settings)
        self._tasks: deque[TaskRow] = deque()
        self._spans: deque[SpanRow] = deque()
        self._memory: deque[MemoryRow] = deque()
        self._workers: deque[WorkerRow] = deque()
        self._names: dict[int, tuple[Any, str]] = {}  # of functions, by the id of their code
        self._pickling = 0  # nanoseconds in the parent, all threads
        self._unpickling = 0
        self._loss: tuple[int, int, int, int] | None = None  # worker, started, duration, bytes in: while `losing`
        self._ticking = False
        self._writing = threading.Lock()  # held by whoever takes rows off and writes them

    # --- tasks ----------------------------------------------------------------------------------------------------

    def queued(self, task: Any) -> None:
        """A future was submitted or queued, or a map has read more of its input."""
        if task.splits:
            items = task.traced
            if items is None:
                items = task.traced = _Items(task.name())
            items.ends.append(task._read)
            items.times.append(monotonic_ns())
        else:
            known = task.traced  # it has waited for other tasks
            task.traced = next(_numbers) if known is None else known[0], monotonic_ns(), task.named_by()

    def sent(self, lease: Lease, call: tuple[Any, ...], fds: list[int]) -> None:
        """The call of a lease was pickled. Without the lock."""
        if len(call) == 4:  # a run of items
            parts = call[3]
            size = len(parts) if type(parts) is bytes else sum(map(len, parts))
            lease.bytes = size // max(1, lease.task.size())
        else:
            payload = call[1]
            size = len(payload) if type(payload) is bytes else len(payload[0]) + len(payload[1])
            lease.bytes = size + _bytes_of(fds) if fds else size

    def outcome(
        self, worker: Worker, lease: Lease, item: int, error: BaseException | None, started: int, spent: int, size: int
    ) -> None:
        """A worker's record of a call, or of an item of a run."""
        if item == ALL_ITEMS:
            return  # each was told by `item_ended`
        task: Any = lease.task.at(item)
        traced = task.traced
        if type(traced) is tuple:
            number, queued, named_by = traced
            task.traced = number
            index = -1
            name = self._called(named_by)
        elif traced is None:
            return  # it was queued before the trace began, and missed by it
        else:
            index = task.first + item
            number, name = traced.number, traced.name
            queued = traced.queued_at(index)
        how, text = ("ok", "") if error is None else ("error", text_of(error))
        attempt = len(task.attempts) + 1
        received = getattr(lease, "bytes", 0)
        row = (name, number, index, worker.id, queued, started, spent, how, text, received, size, attempt)
        self._tasks.append(row)

    def outcomes(self, worker: Worker, lease: Lease, first: int, started: int, ends: list[int], size: int) -> None:
        """Consecutive calls, or items, of a run have returned, at these times."""
        for item, ended in enumerate(ends, first):
            self.outcome(worker, lease, item, None, started, ended - started, size)
            started = ended

    def resolved(self, task: Any) -> None:
        """A future is settled. Only those are recorded of which no worker has told the outcome."""
        traced = task.traced
        if type(traced) is tuple:
            task.traced = traced[0]
            error = task._exception
            self._ended_unheard(task, traced, -1, "cancelled" if task.cancelled() else how_it_ended(error), error)

    def item_ended(self, task: Any, index: int, error: BaseException) -> None:
        """The same for an item of a map."""
        items = task.traced
        if items is not None:
            traced = items.number, items.queued_at(index), items.name
            self._ended_unheard(task, traced, index, how_it_ended(error), error)

    def _ended_unheard(
        self, task: Any, traced: tuple[int, int, Any], index: int, how: str, error: BaseException | None
    ) -> None:
        number, queued, named_by = traced
        worker, started, spent, received = self._loss or (0, monotonic_ns(), 0, 0)
        self._loss = None
        text = "" if error is None else text_of(error)
        attempt = max(1, len(task.attempts)) if worker else len(task.attempts) + 1
        name = self._called(named_by)
        self._tasks.append((name, number, index, worker, queued, started, spent, how, text, received, 0, attempt))

    def _called(self, named_by: Any) -> str:
        """The name of a task, known or told by its function: functions of one body have one name."""
        code = getattr(named_by, "__code__", None)
        known = self._names.get(id(code))
        if known is not None and known[0] is code:
            return known[1]
        if isinstance(named_by, str):
            return named_by
        name = function_name(named_by)
        if code is not None and len(self._names) < _NAMES:
            self._names[id(code)] = code, name
        return name

    def losing(self, worker: Worker, lease: Lease) -> None:
        """A worker has gone that had begun this; what becomes of it is decided now."""
        started = min(worker.words[STARTED], monotonic_ns())
        self._loss = worker.id, started, monotonic_ns() - started, getattr(lease, "bytes", 0)

    def lost(self, task: Any, error: BaseException) -> None:
        """It is decided."""
        if self._loss is not None and task.is_open():  # it will run again
            traced = task.traced
            if type(traced) is tuple:
                self._ended_unheard(task, traced, -1, "retried", error)
                task.traced = traced[0], monotonic_ns(), traced[2]
            elif traced is not None:
                index = task.first + task.done
                known = traced.number, traced.queued_at(index), traced.name
                self._ended_unheard(task, known, index, "retried", error)
        self._loss = None

    def bytes_beside(self, fds: list[int]) -> int:
        """What lies in the anonymous files that come with a frame. Without the lock."""
        return _bytes_of(fds) if fds else 0

    # --- what the parent does -------------------------------------------------------------------------------------

    def pickled(self, began: int, tasks: int) -> None:
        """Calls were pickled since then. Without the lock."""
        if not self._ticking:
            self.mind_memory()
        spent = monotonic_ns() - began
        self._pickling += spent
        if spent >= _SHORT:
            self._spans.append((_thread(), "pickling", str(tasks), began, spent))

    def unpickled(self, began: int, tasks: int) -> None:
        """Outcomes were unpickled since then. Without the lock."""
        spent = monotonic_ns() - began
        self._unpickling += spent
        if spent >= _SHORT:
            self._spans.append((_thread(), "unpickling", str(tasks), began, spent))

    def called_back(self, task: Any) -> None:
        """Run a future's own callbacks. Without the lock."""
        began = monotonic_ns()
        try:
            task.after()
        finally:
            self._spans.append((_thread(), "callback", _identity(task, -1), began, monotonic_ns() - began))

    def timed(self, callback: Callable[[Any], object], task: Any, index: int) -> Callable[[Any], object]:
        """The callback, so that its time is recorded as that task's."""
        return _Timed(callback, self, _identity(task, index))

    # --- workers --------------------------------------------------------------------------------------------------

    def ended(self, worker: Worker) -> None:
        """The process of a worker has ended."""
        reason = worker.retire_reason or ("killed" if worker.kill_error is not None else "died")
        self._workers.append(_life(worker, monotonic(), reason))

    def mind_memory(self) -> None:
        """Look at the workers from time to time while they work, and write what is recorded. Any thread."""
        if not self._ticking:
            self._ticking = True
            self._engine.loop.call_at(monotonic() + self._interval(), self._tick)

    def _interval(self) -> float:
        return max(_TICK, (monotonic_ns() - self._file.began) / 1e9 / _TICKS)

    def _tick(self) -> None:
        engine = self._engine
        with engine.lock:
            self._ticking = False
            if engine.tracer is not self:
                return
            workers = [(worker.id, worker.pid) for worker in engine.supervisor.workers.values()]
            busy = any(worker.state is WorkerState.BUSY for worker in engine.supervisor.workers.values())
        now = monotonic_ns()
        for number, pid in workers:
            if resident := resident_bytes(pid):
                self._memory.append((now, number, resident))
        with self._writing:
            if engine.tracer is not self:
                return
            try:
                self._write(int(_WRITTEN_A_SECOND * self._interval()) if busy else 2000)
            except OSError as error:
                engine.tracer = None
                self._file.close()
                log_failure(error, self._file.path)
                return
        if busy or self._tasks:
            self.mind_memory()

    # --- the file -------------------------------------------------------------------------------------------------

    def _write(self, most: int | None = None) -> None:
        file = self._file
        file.write_workers(_taken(self._workers))
        file.write_tasks(_taken(self._tasks, most))
        file.write_spans(_taken(self._spans, most))
        file.write_memory(_taken(self._memory))

    def note_queued(self) -> None:
        """At the beginning: what is queued and leased already counts from now on."""
        engine = self._engine
        for task in [*engine.backlog, *self._leased()]:
            if task.traced is None:
                owner = getattr(task, "map", task)
                self.queued(owner)

    def _leased(self) -> Iterator[Any]:
        for worker in self._engine.supervisor.workers.values():
            for lease in worker.leases.values():
                for item in range(lease.task.size()):
                    task = lease.task.at(item)
                    if task.is_open():
                        yield task

    def finish(self) -> None:
        """Write the rest. Raises OSError. Any thread."""
        with self._engine.lock:
            alive = [_life(worker, monotonic(), "") for worker in self._engine.supervisor.workers.values()]
            self._workers.extend(alive)
        with self._writing:
            try:
                self._write()
                self._file.finish(self._pickling, self._unpickling)
            finally:
                self._file.close()


class _Items:
    """What is kept of a map: up to which item it had read its input, and when."""

    __slots__ = ("ends", "name", "number", "times")

    def __init__(self, name: str) -> None:
        self.number = next(_numbers)
        self.name = name
        self.ends: list[int] = []
        self.times: list[int] = []

    def queued_at(self, index: int) -> int:
        at = bisect_right(self.ends, index)
        return self.times[at] if at < len(self.times) else self.times[-1]


class _Timed:
    """A callback whose time is recorded."""

    __slots__ = ("_callback", "_task", "_tracer")

    def __init__(self, callback: Callable[[Any], object], tracer: Tracer, task: str) -> None:
        self._callback = callback
        self._tracer = tracer
        self._task = task

    def __call__(self, value: Any) -> None:
        began = monotonic_ns()
        try:
            self._callback(value)
        finally:
            self._tracer._spans.append((_thread(), "callback", self._task, began, monotonic_ns() - began))

    def __repr__(self) -> str:
        return repr(self._callback)


def _identity(task: Any, index: int) -> str:
    """What tells a task from all others of the trace."""
    traced = task.traced
    if type(traced) is tuple:
        return str(traced[0])
    if isinstance(traced, _Items):
        return f"{traced.number}.{index}"
    return "" if traced is None else str(traced)


def _thread() -> str:
    return threading.current_thread().name


def _taken(rows: deque[Any], most: int | None = None) -> list[Any]:
    """Up to so many of them, taken off; others may be appended meanwhile."""
    size = len(rows)
    return [rows.popleft() for _ in range(size if most is None else min(size, most))]


def _bytes_of(fds: list[int]) -> int:
    """How much lies in the anonymous files among these descriptors."""
    return sum(os.fstat(fd).st_size for fd in fds)


def _life(worker: Worker, now: float, reason: str) -> WorkerRow:
    ready = worker.ready_at
    return worker.id, worker.pid or 0, worker.started_at, ready, now, reason


def log_failure(error: OSError, path: str) -> None:
    logging.getLogger("executor").error("the trace %s cannot be written any further: %s", path, error)
