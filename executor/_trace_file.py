"""A trace on disk, in the Chrome trace event format that Perfetto reads: a JSON array with an event a line.

The first event says what made the file. A file whose program was killed lacks its end: the closing bracket, the counter
of waiting tasks, and the last moments. The format allows for that. `_report` reads both.

    tid 0             tasks that never ran: cancelled while they waited, could not be pickled
    tid of a worker   its number: its start, its tasks, its end
    tid from 1000000  threads of the parent: pickling, unpickling, callbacks
"""

from __future__ import annotations

import os
import sys
from array import array
from itertools import count
from json import dumps
from time import monotonic_ns, time

from ._forksafety import disown, own
from ._start import WORKER_NAME

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from ._settings import Settings

    # name, number, item of a map (-1: none), worker (0: none), queued, started, spent (ns), outcome, error,
    # bytes in, bytes out, attempt
    TaskRow = tuple[str, int, int, int, int, int, int, str, str, int, int, int]
    # worker, pid, started, ready, ended (seconds of time.monotonic()), reason ("" while it lives)
    WorkerRow = tuple[int, int, float, float | None, float, str]
    SpanRow = tuple[str, str, str, int, int]  # thread, kind, what (a task, or how many), began, spent (ns)
    MemoryRow = tuple[int, int, int]  # when (ns), worker, bytes

__all__ = ["VERSION", "TraceFile"]

VERSION = 1
_PARENT = 1_000_000  # the first thread of the parent; workers have lower numbers
_POINTS = 5000  # of the counter of waiting tasks


class TraceFile:
    """Rows become events. One thread at a time. The methods that write raise OSError."""

    def __init__(self, path: str | os.PathLike[str], settings: Settings) -> None:
        """Opens the file; raises OSError where it cannot be written."""
        self.path = os.fspath(path)
        self.began = monotonic_ns()
        # Not a file object: a forked child would write what is in its buffer a second time.
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | getattr(os, "O_CLOEXEC", 0)
        self._fd = own(os.open(self.path, flags, 0o666))
        self._pid = os.getpid()
        self._threads: dict[str, int] = {}  # of the parent, by name: their rows
        self._texts: dict[str, str] = {}  # names as JSON
        self._named: set[int] = set()  # workers whose row has its name
        self._queued = array("q")  # of tasks: when they began to wait and when they ceased to
        self._left = array("q")
        facts = {
            "version": VERSION,
            "program": sys.argv[:1],
            "python": sys.version.split()[0],
            "began": time(),
            "max_workers": settings.max_workers,
            "start_method": settings.method,
        }
        head = [self._metadata("executor_trace", 0, facts)]
        head.append(self._metadata("process_name", 0, {"name": os.path.basename(sys.argv[0]) or "python"}))
        head += self._row(0, "did not run")
        self._put("[\n" + ",\n".join(head))

    # --- rows -----------------------------------------------------------------------------------------------------

    def write_tasks(self, rows: list[TaskRow]) -> None:
        began, pid = self.began, self._pid
        lines = [self._name_worker(worker) for worker in {row[3] for row in rows} - self._named if worker]
        for name, number, item, worker, queued, started, spent, how, error, received, sent, attempt in rows:
            if started < began:  # viewers know of no time before the beginning
                started, spent = began, max(0, started + spent - began)
            queued = min(max(queued, began), started)
            self._queued.append(queued)
            self._left.append(started)
            task = number if item < 0 else f"{number}.{item}"
            more = f',"error":{self._text(error)}' if error else ""
            if attempt > 1:
                more += f',"attempt":{attempt}'
            shape = f'"ph":"X","dur":{spent / 1000:.3f}' if worker else '"ph":"i","s":"t"'
            lines.append(
                f'{{"name":{self._text(name)},"cat":"task",{shape},"ts":{(started - began) / 1000:.3f},'
                f'"pid":{pid},"tid":{worker},"args":{{"task":"{task}","outcome":"{how}",'
                f'"queued":{(queued - began) / 1000:.3f},"bytes_in":{received},"bytes_out":{sent}{more}}}}}'
            )
        self._append(lines)

    def write_workers(self, rows: list[WorkerRow]) -> None:
        lines = []
        for worker, pid, started, ready, ended, reason in rows:
            lines += self._row(worker, f"{WORKER_NAME}{worker} (pid {pid})")
            self._named.add(worker)
            first = self._since(started)
            up = self._since(ended if ready is None else ready)
            last = self._since(ended)
            facts = {"pid": pid, "ready": None if ready is None else up, "ended": last, "reason": reason or "alive"}
            lines.append(self._event("start-up", "worker", worker, first, "X", facts, f',"dur":{max(0, up - first)}'))
            if reason:
                lines.append(self._event(f"ended: {reason}", "worker", worker, last, "i", {}, ',"s":"t"'))
        self._append(lines)

    def write_spans(self, rows: list[SpanRow]) -> None:
        lines = []
        for thread, kind, what, began, spent in rows:
            if thread not in self._threads:
                self._threads[thread] = _PARENT + len(self._threads)
                lines += self._row(self._threads[thread], f"parent: {thread}")
            facts: Mapping[str, object] = {"task": what} if kind == "callback" else {"tasks": int(what)}
            at = (began - self.began) / 1000
            lines.append(
                self._event(kind, "parent", self._threads[thread], at, "X", facts, f',"dur":{spent / 1000:.3f}')
            )
        self._append(lines)

    def write_memory(self, rows: list[MemoryRow]) -> None:
        self._append(
            [
                self._event(
                    f"memory {WORKER_NAME}{worker}", "memory", worker, (when - self.began) / 1000, "C", {"bytes": size}
                )
                for when, worker, size in rows
            ]
        )

    def finish(self, pickling: int, unpickling: int) -> None:
        """Write the end. The sums are in nanoseconds."""
        totals = {"pickling": pickling / 1000, "unpickling": unpickling / 1000}
        lines = [self._event("waiting", "queue", 0, at, "C", {"tasks": depth}) for at, depth in self._waiting()]
        self._append([*lines, self._metadata("executor_totals", 0, totals)])
        self._put("\n]\n")

    def _waiting(self) -> Iterator[tuple[float, int]]:
        """How many tasks waited, at moments that show every change, or at as many as can be drawn."""
        changes = sorted([(when, 1) for when in self._queued] + [(when, -1) for when in self._left])
        step = max(1, len(changes) // _POINTS)
        depth = 0
        for number, (when, change) in zip(count(1), changes, strict=False):
            depth += change
            if number % step == 0 or number == len(changes):
                yield (when - self.began) / 1000, depth

    # --- text -----------------------------------------------------------------------------------------------------

    def _since(self, seconds: float) -> float:
        """Microseconds of the trace; what was before its beginning is put there."""
        return max(0.0, round((seconds * 1e9 - self.began) / 1000, 3))

    def _text(self, text: str) -> str:
        known = self._texts.get(text)
        if known is None:
            if len(self._texts) > 1000:
                self._texts.clear()
            known = self._texts[text] = dumps(text)
        return known

    def _event(
        self, name: str, category: str, tid: int, at: float, kind: str, args: Mapping[str, object], more: str = ""
    ) -> str:
        return (
            f'{{"name":{self._text(name)},"cat":"{category}","ph":"{kind}","ts":{at:.3f}{more},'
            f'"pid":{self._pid},"tid":{tid},"args":{dumps(args)}}}'
        )

    def _metadata(self, name: str, tid: int, args: Mapping[str, object]) -> str:
        return f'{{"name":"{name}","ph":"M","pid":{self._pid},"tid":{tid},"args":{dumps(args)}}}'

    def _row(self, tid: int, name: str) -> list[str]:
        """What gives a row its name and its place."""
        return [
            self._metadata("thread_name", tid, {"name": name}),
            self._metadata("thread_sort_index", tid, {"sort_index": tid}),
        ]

    def _name_worker(self, worker: int) -> str:
        """One that lives still: its row has its name from the start, whatever becomes of the program."""
        self._named.add(worker)
        return ",\n".join(self._row(worker, f"{WORKER_NAME}{worker}"))

    def _append(self, lines: list[str]) -> None:
        if lines:
            self._put(",\n" + ",\n".join(lines))

    def _put(self, text: str) -> None:
        rest = memoryview(text.encode())
        while rest:
            rest = rest[os.write(self._fd, rest) :]

    def close(self) -> None:
        if self._fd >= 0:
            os.close(disown(self._fd))
            self._fd = -1

    def __del__(self) -> None:
        if self.__dict__.get("_fd", -1) >= 0 and os.getpid() == self._pid:
            self.close()
