"""Reads the iterable of an imap and submits its items, a bounded way ahead of the results that were taken."""

from __future__ import annotations

import threading
import time
from collections import deque
from concurrent.futures import CancelledError
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from ._executor import ProcessPoolExecutor
    from ._future import Future
    from ._pool_parent import Bell

__all__ = ["Feed", "Feeds", "LookAhead"]


class LookAhead:
    """How far to read ahead of the results taken.  Pure: the clock is an argument.

    ``in_flight`` items at most are submitted and not done: two for each process, and more while items are so
    short that the workers would wait for the next one.  ``held`` items at most are submitted and not taken.
    """

    _HORIZON = 0.02  # seconds of work in flight; far above the time that it takes to wake the feeding thread
    _MOST = 128  # items in flight for each process
    _HELD = 4  # times as many as may be in flight: a slow item at the front must not stop those behind it

    def __init__(self, processes: int, held: int = 0) -> None:
        self._least = 2 * processes
        self._most = self._MOST * processes
        self._least_held = held
        self._last: float | None = None
        self._gap = self._HORIZON  # seconds between two items done, a moving average
        self.in_flight = self._least

    @property
    def held(self) -> int:
        return max(self._least_held, self._HELD * self.in_flight)

    def item_done(self, now: float) -> None:
        if self._last is not None:
            self._gap += (now - self._last - self._gap) / 8
            wanted = int(self._HORIZON / max(self._gap, 1e-6))
            self.in_flight = max(self._least, min(self._most, wanted))
        self._last = now

    def reached(self, in_flight: int, held: int) -> bool:
        """Is it far enough ahead to stop reading?"""
        return in_flight >= self.in_flight or held >= self.held

    def running_low(self, in_flight: int, held: int) -> bool:
        """Is it time to read on?  Not at the first free place: the feeding thread is woken for a batch."""
        half = self.in_flight // 2
        return in_flight <= half and held <= self.held - half


class Feed:
    """One iterable on its way through a pool.

    A thread of its own reads the iterable, as in multiprocessing: a generator that waits for its next item
    does not keep back the results that are there.  The thread ends with the iterable or with ``stop()``.  It
    holds the executor, never the pool, so that a pool that is dropped can stop it.

    Nothing is called while ``_cond`` is held: a garbage collection can happen anywhere and stop this very
    feed (for that the lock is re-entrant), and the executor has locks of its own.
    """

    def __init__(
        self, submit: Callable[[Any], Future[Any]], items: Iterator[Any], ahead: LookAhead, *, ordered: bool
    ) -> None:
        self._submit = submit
        self._items = items
        self._ordered = ordered
        self._thread = threading.Thread(target=self._run, name="executor-imap", daemon=True)
        self._cond = threading.Condition()
        # guarded by _cond
        self._ahead = ahead
        self._draining = False
        self._stopped = False
        self._reading = False  # inside the iterable, where it may stay for as long as it likes
        self._over = False  # nothing more will be submitted
        self._in_flight = 0
        self._held = 0
        self._next: deque[Future[Any]] = deque()  # not taken: as submitted if ordered, else as done
        self._failure: BaseException | None = None
        self._bells: list[tuple[Callable[[], bool], Bell]] = []  # what is waited for, and by whom

    def start(self, on_end: Callable[[Feed], None]) -> None:
        """``on_end`` is called once, when nothing more will be submitted."""
        self._on_end = on_end
        self._thread.start()

    # --- whoever takes the results --------------------------------------------------------------------------

    def take(self, bell: Callable[[], Bell], timeout: float | None = None) -> Future[Any] | None:
        """The next future, done; None when there is none after ``timeout`` seconds.

        Raises what the iterable raised once all before that is taken, and StopIteration from then on.
        """
        while self._wait(self._can_take, bell, timeout):
            with self._cond:
                if self._has_next():
                    self._held -= 1
                    self._wake_thread()
                    return self._next.popleft()
                if self._at_end():
                    failure, self._failure = self._failure or StopIteration(), None
                    raise failure
            # Another thread was faster.
        return None

    def _can_take(self) -> bool:
        return self._has_next() or self._at_end()

    def _has_next(self) -> bool:
        return bool(self._next) and (not self._ordered or self._next[0].done())

    def _at_end(self) -> bool:
        return (self._over or self._stopped) and self._held == 0

    # --- the pool -------------------------------------------------------------------------------------------

    def finish(self, bell: Callable[[], Bell]) -> None:
        """Read to the end of the iterable even if nobody takes the results."""
        with self._cond:
            self._draining = True
            self._wake_thread()
        self._wait(self._is_over, bell, None)
        self._thread.join()

    def stop(self) -> None:
        """Submit nothing more: after what is submitted, take() raises CancelledError.

        May be called from anywhere, by a garbage collection too (then nobody waits in take() any more).
        """
        with self._cond:
            if self._over:
                return
            self._stopped = True
            self._failure = CancelledError("the pool was terminated")
            self._cond.notify_all()
            due = self._due_bells()
        _ring(due)

    def join_stopped(self) -> None:
        """After ``stop()``: until the thread has ended, unless it is inside the iterable.

        Nothing can interrupt it there; it ends when the iterable gives its next item.
        """
        with self._cond:
            self._cond.wait_for(lambda: self._over or self._reading)
            over = self._over
        if over:
            self._thread.join()

    def _is_over(self) -> bool:
        return self._over

    # --- waiting --------------------------------------------------------------------------------------------

    def _wait(self, ready: Callable[[], bool], bell: Callable[[], Bell], timeout: float | None) -> bool:
        """Until ``ready()``; False if that has not come after ``timeout`` seconds."""
        deadline = None if timeout is None else time.monotonic() + timeout
        while True:
            with self._cond:
                if ready():
                    return True
                entry = ready, bell()
                self._bells.append(entry)
            if not entry[1].wait(None if deadline is None else deadline - time.monotonic()):
                with self._cond:
                    if entry in self._bells:
                        self._bells.remove(entry)
                    return ready()

    def _due_bells(self) -> list[Bell]:
        """To be rung when the lock is released."""
        due = [bell for ready, bell in self._bells if ready()]
        if due:
            self._bells = [(ready, bell) for ready, bell in self._bells if bell not in due]
        return due

    # --- the feeding thread ---------------------------------------------------------------------------------

    def _run(self) -> None:
        failure: BaseException | None = None
        try:
            while self._wait_for_room():
                try:
                    item = next(self._items)
                finally:
                    self._leave_iterable()
                if self._stopped:
                    break
                self._add(self._submit(item))
                del item
        except StopIteration:
            pass
        except BaseException as error:  # it belongs to whoever takes the results
            failure = error
        self._end(failure)

    def _wait_for_room(self) -> bool:
        """True at the gate of the iterable; False once stopped."""
        with self._cond:
            if self._ahead.reached(*self._counts()):
                self._cond.wait_for(lambda: self._stopped or self._ahead.running_low(*self._counts()))
            self._reading = not self._stopped
            return self._reading

    def _counts(self) -> tuple[int, int]:
        return self._in_flight, 0 if self._draining else self._held

    def _wake_thread(self) -> None:
        if self._ahead.running_low(*self._counts()):
            self._cond.notify_all()

    def _leave_iterable(self) -> None:
        with self._cond:
            self._reading = False

    def _add(self, future: Future[Any]) -> None:
        with self._cond:
            self._in_flight += 1
            self._held += 1
            if self._ordered:
                self._next.append(future)
        future.add_done_callback(self._done)

    def _done(self, future: Future[Any]) -> None:
        """Called in whatever thread settles the future."""
        with self._cond:
            self._in_flight -= 1
            self._ahead.item_done(time.monotonic())
            if not self._ordered:
                self._next.append(future)
            self._wake_thread()
            due = self._due_bells()
        _ring(due)

    def _end(self, failure: BaseException | None) -> None:
        on_end = self._on_end
        # Whoever keeps the results must not keep the executor.
        del self._submit, self._items, self._on_end
        with self._cond:
            if not self._stopped:
                self._failure = failure
            self._over = True
            self._cond.notify_all()
            due = self._due_bells()
        _ring(due)
        on_end(self)


def _ring(bells: list[Bell]) -> None:
    for bell in bells:
        bell.ring()


class Feeds:
    """The feeds of one pool that have not ended.  With the last of a closed pool the executor may end."""

    def __init__(self, executor: ProcessPoolExecutor) -> None:
        self._executor = executor
        self._lock = threading.RLock()  # re-entrant: a garbage collection can stop the feeds
        self._feeds: set[Feed] = set()  # guarded by _lock
        self._closed = False  # guarded by _lock

    def start(self, feed: Feed) -> None:
        with self._lock:
            if self._closed:
                raise ValueError("Pool not running")
            self._feeds.add(feed)
        feed.start(self._remove)

    def close(self) -> None:
        """Nothing can be started any more."""
        with self._lock:
            self._closed = True
            idle = not self._feeds
        if idle:
            self._executor.shutdown(wait=False)

    def running(self) -> list[Feed]:
        with self._lock:
            return list(self._feeds)

    def _remove(self, feed: Feed) -> None:
        with self._lock:
            self._feeds.discard(feed)
            last = self._closed and not self._feeds
        if last:
            self._executor.shutdown(wait=False)
