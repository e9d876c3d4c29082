"""The scheduler's memory of which calls have begun: a plugin that runs inside Dask's scheduler.

Dask places tasks, moves them and runs them again after a loss as it sees fit.  What the face of an executor
promises on top of that is decided here, in one process and one thread: a call asks before it begins, and is
told no when it was cancelled, or when it has begun as often as its retries allow.  So ``Future.cancel()``
never lies, and a task that a dead worker was running does not run again behind its caller's back.

An entry lives as long as the scheduler knows the key.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from distributed.diagnostics.plugin import SchedulerPlugin

BEGIN = "executor_begin"
CANCEL = "executor_cancel"
WORKERS = "executor_workers"


@dataclass(slots=True)
class Entry:
    """One call, from its first question until the scheduler forgets its key."""

    client: str
    topic: str
    begun: list[tuple[str, int]] = field(default_factory=list)  # worker address and pid, one an attempt
    since: float = 0.0  # monotonic, of the newest attempt
    cancelled: bool = False


@dataclass(slots=True)
class Page:
    """One worker, and what has begun there."""

    number: int  # never used again
    pid: int | None = None  # None until something has begun
    since: float = field(default_factory=time.monotonic)
    keys: set[str] = field(default_factory=set)
    begun: Counter[str] = field(default_factory=Counter)  # topic: how many calls


class Ledger(SchedulerPlugin):
    """All fields belong to the scheduler's event loop."""

    name = "executor-ledger"
    idempotent = True  # several executors register it; the first one stays

    def __init__(self) -> None:
        self._entries: dict[str, Entry] = {}
        self._pages: dict[str, Page] = {}  # by worker address
        self._numbered = 0
        self._scheduler: Any = None

    def start(self, scheduler: Any) -> None:  # type: ignore[override]  # declared async there, yet may be either
        self._scheduler = scheduler
        for worker in scheduler.workers:
            self._page(worker)
        scheduler.handlers.update({BEGIN: self.begin, CANCEL: self.cancel, WORKERS: self.workers})

    # --- questions, from workers and clients ----------------------------------------------------------------

    def begin(self, key: str, worker: str, pid: int, client: str, topic: str, attempts: int) -> str:
        """May this call begin, on that worker, now?  ``attempts`` is how often it may in all.

        The answer is "yes", "cancelled" or "lost".
        """
        if key not in self._scheduler.tasks:  # released while the question was on its way
            return "cancelled"
        entry = self._entries.setdefault(key, Entry(client, topic))
        if entry.cancelled:
            return "cancelled"
        # A worker that the scheduler has given up may still ask; what it does would not be noticed any more.
        if worker not in self._scheduler.workers or len(entry.begun) >= attempts:
            return "lost"
        entry.begun.append((worker, pid))
        entry.since = time.monotonic()
        page = self._page(worker)
        page.pid = pid
        page.keys.add(key)
        page.begun[topic] += 1
        self._tell(entry, "begun", key, worker, pid)
        return "yes"

    def cancel(self, keys: Iterable[str], client: str, topic: str) -> list[str]:
        """Forbid these calls to begin.  Returns the ones that have begun already."""
        begun = []
        for key in keys:
            # The question may overtake the call itself, which travels another way: note unknown keys too.
            entry = self._entries.setdefault(key, Entry(client, topic))
            entry.cancelled = not entry.begun
            if entry.begun:
                begun.append(key)
        return begun

    def workers(self, topic: str) -> list[dict[str, Any]]:
        """One row for each worker of the cluster, with what it does for one executor."""
        return [self._row(address, topic) for address in self._scheduler.workers]

    def _page(self, worker: str) -> Page:
        if worker not in self._pages:
            self._pages[worker] = Page(self._numbered)
            self._numbered += 1
        return self._pages[worker]

    def _row(self, address: str, topic: str) -> dict[str, Any]:
        state = self._scheduler.workers[address]
        page = self._page(address)
        running = {
            key: entry.since
            for key in page.keys
            if (entry := self._entries[key]).topic == topic and self._scheduler.tasks[key].state == "processing"
        }
        oldest = min(running, key=lambda key: running[key], default=None)
        return {
            "address": address,
            "name": str(state.name),
            "number": page.number,
            "age": time.monotonic() - page.since,
            "pid": page.pid,
            "threads": state.nthreads,
            "running": len(running),
            "ended": page.begun[topic] - len(running),
            "key": oldest,
            "seconds": 0.0 if oldest is None else time.monotonic() - running[oldest],
            "memory": state.memory.process,
        }

    # --- what the scheduler tells ---------------------------------------------------------------------------

    def transition(self, key: Any, start: str, finish: str, *args: Any, **kwargs: Any) -> None:
        if finish == "forgotten":
            self._forget(key)

    def add_worker(self, scheduler: Any, worker: str) -> None:
        self._page(worker)

    def remove_worker(self, scheduler: Any, worker: str, **kwargs: Any) -> None:
        """Tell the clients whose calls were there.  Dask has placed them again already; they will ask."""
        page = self._pages.pop(worker, None)
        for key in page.keys if page is not None else ():
            entry = self._entries[key]
            # In memory: another worker holds a copy of the outcome. Erred: the client has been told.
            if entry.begun[-1][0] == worker and scheduler.tasks[key].state not in ("memory", "erred"):
                self._tell(entry, "lost", key, *entry.begun[-1])

    def remove_client(self, scheduler: Any, client: str) -> None:
        """Drop what was noted for calls that never came; the others go when their keys are forgotten."""
        for key in [k for k, entry in self._entries.items() if entry.client == client]:
            if key not in scheduler.tasks:
                self._forget(key)

    def restart(self, scheduler: Any) -> None:
        self._entries.clear()
        self._pages.clear()

    def _forget(self, key: str) -> None:
        if (entry := self._entries.pop(key, None)) is not None:
            for worker, _ in entry.begun:
                if worker in self._pages:
                    self._pages[worker].keys.discard(key)

    def _tell(self, entry: Entry, what: str, key: str, worker: str, pid: int) -> None:
        # Not through Scheduler.log_event: that would keep every event for readers who come later.
        event = (time.time(), {"what": what, "key": key, "worker": worker, "pid": pid})
        self._scheduler.report({"op": "event", "topic": entry.topic, "event": event}, client=entry.client)
