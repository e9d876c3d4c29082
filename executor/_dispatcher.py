"""Runs callbacks on one thread: the one that made the executor, or one that was named.

They run while that thread waits for something of this package, calls `run`, or comes to them in its asyncio loop. In
the order in which the tasks resolved, one at a time, never inside another callback.
"""

from __future__ import annotations

import logging
import os
import sys
import threading
from _thread import allocate_lock
from collections import deque
from time import monotonic

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from ._loop import Loop, Parked

__all__ = ["Dispatcher", "running_asyncio_loop"]

_LOOK_AGAIN = 0.5  # seconds

log = logging.getLogger("executor")


def running_asyncio_loop() -> Any:
    """The asyncio loop that runs in this thread, None if there is none. Does not import asyncio."""
    asyncio = sys.modules.get("asyncio")
    return asyncio._get_running_loop() if asyncio is not None else None


class Dispatcher:
    """``pending`` holds what is due. Puts come from any thread; runs only from ``thread`` (or its stand-in).

    ``target``: that thread (default: the calling one), or an asyncio loop, whichever thread it runs in.
    """

    def __init__(self, loop: Loop, target: Any = None) -> None:
        if target is None:
            target = threading.current_thread()
        is_thread = isinstance(target, threading.Thread)
        self.thread: threading.Thread | None = target if is_thread else None
        self.asyncio_loop: Any = None if is_thread else target  # where runs are scheduled as well
        self.pending: deque[tuple[Callable[[Any], object], Any]] = deque()
        self.waiters: list[Parked] = []  # guarded by the manager's lock
        self._loop = loop
        self._busy = allocate_lock()  # held by whoever runs callbacks
        self._runner = 0  # which thread that is
        self._scheduled = False  # a run is on its way in asyncio_loop
        self._awaited = False  # somebody is in `wait_until_drained`
        self._closed = False
        self._said_orphaned = False
        self._read_end = self._write_end = -1

    def is_current(self) -> bool:
        """Whether callbacks may run in the calling thread now."""
        if self._busy.locked():
            return False
        if self.thread is None:
            return running_asyncio_loop() is self.asyncio_loop
        return threading.current_thread() is self.thread

    def is_drained(self) -> bool:
        """Whether every callback so far has run to its end, but for one that the caller itself is in. Any thread."""
        if self._busy.locked():
            return self._runner == threading.get_ident()  # the others come after it
        return not self.pending

    def wait_until_drained(self) -> None:
        """Until every callback so far has run to its end. Any thread."""
        self._awaited = True
        while not self.is_drained():
            if self.is_current():
                self.run()
                continue
            self._loop.wake()  # the leader runs them if their thread has ended. Of that there is no notice: look again
            self._loop.wait(self.is_drained, monotonic() + _LOOK_AGAIN, lambda: self.waiters)

    def put(self, callback: Callable[[Any], object], value: Any) -> None:
        """Queue a callback. With the manager's lock; any thread."""
        self.pending.append((callback, value))
        self._wake()
        if self.asyncio_loop is not None:
            self._schedule()
        if self._write_end >= 0:
            try:
                os.write(self._write_end, b"\0")
            except BlockingIOError:
                pass  # readable it is already

    def _wake(self) -> None:
        for parked in tuple(self.waiters):
            parked.wake()

    def run(self, most: int | None = None) -> int:
        """Run what is due now, at most so many; how many ran."""
        if not self._busy.acquire(blocking=False):
            return 0
        self._runner = threading.get_ident()
        ran = 0
        try:
            self._quieten()
            while self.pending and ran != most:
                callback, value = self.pending.popleft()
                ran += 1
                self._call(callback, value)
        finally:
            self._runner = 0
            self._busy.release()
        if self._awaited:
            self._wake()
            self._loop.wake()
        return ran

    @staticmethod
    def _call(callback: Callable[[Any], object], value: Any) -> None:
        try:
            callback(value)
        except BaseException as error:
            # Ctrl-C can only reach the main thread; elsewhere the callback has raised it, and must not end the loop.
            if isinstance(error, KeyboardInterrupt) and threading.current_thread() is threading.main_thread():
                raise
            log.exception("a callback raised (%r)", callback)

    # --- asyncio --------------------------------------------------------------------------------------------

    def note_asyncio(self, loop: Any) -> None:
        """The thread runs this asyncio loop now (None: it runs none): callbacks are scheduled on it from now on."""
        if loop is None or loop is self.asyncio_loop:
            return
        self.asyncio_loop = loop
        self._scheduled = False  # what was scheduled on another loop may never run
        if self.pending:
            self._schedule()

    def _schedule(self) -> None:
        if self._scheduled:
            return
        self._scheduled = True
        try:
            self.asyncio_loop.call_soon_threadsafe(self._run_scheduled)
        except RuntimeError:  # it is closed: they run while the thread waits, as where there is no loop
            self._scheduled = False

    def _run_scheduled(self) -> None:
        self._scheduled = False  # first: what is put from here on schedules a run of its own
        self.run(len(self.pending))  # those that come meanwhile do not keep the loop from its other work
        if self.pending:
            self._schedule()

    # --- orphans --------------------------------------------------------------------------------------------

    def is_orphaned(self) -> bool:
        """Whether nobody is left to whom the callbacks belong."""
        if self.thread is None:
            return bool(self.asyncio_loop.is_closed())
        return not self.thread.is_alive()

    def run_if_orphaned(self) -> None:
        """The thread has ended: its callbacks run here, in the loop."""
        if self.pending and self.is_orphaned():
            if not self._said_orphaned:
                self._said_orphaned = True
                name = self.thread.name if self.thread is not None else self.asyncio_loop
                log.warning("the thread that callbacks belong to (%s) has ended: they run elsewhere", name)
            self.run()

    def fileno(self) -> int:
        """A descriptor that is readable while callbacks wait. ValueError when no more will come."""
        if self._closed:
            raise ValueError("the executor was shut down: no callbacks will come")
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
            self._loop.wait(lambda: bool(self.pending) or self._closed, deadline, lambda: self.waiters)
            ran = self.run()
        return ran

    def close(self) -> None:
        """Nothing more will be put; what is pending may still be run."""
        self._closed = True
        self._wake()
        for fd in (self._read_end, self._write_end):
            if fd >= 0:
                os.close(fd)
        self._read_end = self._write_end = -1

    def __del__(self) -> None:
        for fd in (self._read_end, self._write_end):
            if fd >= 0:
                os.close(fd)
