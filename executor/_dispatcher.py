"""Runs callbacks on one thread: the one that made the executor.

They run while that thread waits for something of this package, or calls `run`. In the order in which the tasks
resolved, one at a time, never inside another callback.
"""

from __future__ import annotations

import logging
import os
import sys
import threading
from collections import deque
from time import monotonic

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from ._loop import Loop, Parked

__all__ = ["Dispatcher", "running_asyncio_loop"]

log = logging.getLogger("executor")


def running_asyncio_loop() -> Any:
    """The asyncio loop that runs in this thread, None if there is none. Does not import asyncio."""
    asyncio = sys.modules.get("asyncio")
    return asyncio._get_running_loop() if asyncio is not None else None


class Dispatcher:
    """``pending`` holds what is due. Puts come from any thread; runs only from ``thread`` (or its stand-in)."""

    def __init__(self, loop: Loop, thread: threading.Thread | None = None) -> None:
        self.thread = thread or threading.current_thread()
        self.pending: deque[tuple[Callable[[Any], object], Any]] = deque()
        self.waiters: list[Parked] = []  # guarded by the manager's lock
        self._loop = loop
        self._running = False  # ``thread`` only
        self._said_orphaned = False
        self._read_end = self._write_end = -1

    def is_current(self) -> bool:
        """Whether callbacks may run in the calling thread now."""
        return threading.current_thread() is self.thread and not self._running

    def put(self, callback: Callable[[Any], object], value: Any) -> None:
        """Queue a callback. With the manager's lock; any thread."""
        self.pending.append((callback, value))
        for parked in self.waiters:
            parked.wake()
        if self._write_end >= 0:
            try:
                os.write(self._write_end, b"\0")
            except BlockingIOError:
                pass  # readable it is already

    def run(self) -> int:
        """Run what is due now; how many ran."""
        if self._running:
            return 0
        self._running = True
        ran = 0
        try:
            self._quieten()
            while self.pending:
                callback, value = self.pending.popleft()
                ran += 1
                try:
                    callback(value)
                except (Exception, SystemExit):
                    log.exception("a callback raised (%r)", callback)
        finally:
            self._running = False
        return ran

    def run_if_orphaned(self) -> None:
        """The thread has ended: its callbacks run here, in the loop."""
        if self.pending and not self.thread.is_alive():
            if not self._said_orphaned:
                self._said_orphaned = True
                log.warning("the thread that callbacks belong to (%s) has ended: they run elsewhere", self.thread.name)
            self.run()

    def fileno(self) -> int:
        """A descriptor that is readable while callbacks wait."""
        if self._read_end < 0:
            self._read_end, self._write_end = os.pipe()
            os.set_blocking(self._read_end, False)
            os.set_blocking(self._write_end, False)
            if self.pending:
                os.write(self._write_end, b"\0")
        return self._read_end

    def _quieten(self) -> None:
        if self._read_end >= 0:
            try:
                os.read(self._read_end, 65536)
            except BlockingIOError:
                pass

    def wait(self, timeout: float | None) -> int:
        """Run callbacks as they come for that many seconds, at least what is due now; how many ran."""
        ran = self.run()
        deadline = None if timeout is None else monotonic() + timeout
        if not ran and (deadline is None or monotonic() < deadline):
            self._loop.wait(lambda: bool(self.pending), deadline, lambda: self.waiters)
            ran = self.run()
        return ran

    def close(self) -> None:
        for fd in (self._read_end, self._write_end):
            if fd >= 0:
                os.close(fd)
        self._read_end = self._write_end = -1
