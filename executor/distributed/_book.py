"""The calls that are open, and what becomes of each.

    submit ▸ send ▸ Link ════▸ scheduler ▸ worker
    settle ◂ Clerk ◂ Link ◂════ outcome, "begun", "lost"

Three kinds of threads meet here: the callers'; Dask's event loop, which only marks futures as running and
hands on what it hears; and the clerk's, which settles futures, so that no code of a user ever runs in Dask's
loop. Every call is settled exactly once: by whoever removes it from ``_open``.
"""

from __future__ import annotations

import os
import threading
import time
import uuid
from collections.abc import Callable, Collection, Iterable
from concurrent.futures import CancelledError, Future
from concurrent.futures.process import BrokenProcessPool
from typing import Any

from distributed import KilledWorker

from executor._errors import DependencyFailed, ForkedExecutor
from executor._exceptions import load_exception
from executor._options import Options
from executor._stats import Stats

from ._callbacks import Callbacks
from ._clerk import Clerk
from ._future import Call, DaskFuture
from ._link import Link, open_client
from ._parcel import dump, load
from ._remote import NotBegun, TaskRaised
from ._stats import Counters, snapshot


class Book:
    """All methods may be called from any thread, unless they are below the name of one."""

    def __init__(self, address_or_client: Any, security: Any, defaults: Options) -> None:
        self.engine = self  # for this package's `wait`: futures of one engine can be waited for in one place
        self.defaults = defaults
        self.dispatcher = Callbacks()
        self.abandoned = False
        self._pid = os.getpid()
        self._lock = threading.Lock()
        self._counters = Counters()  # guarded by _lock
        self._open: dict[str, DaskFuture] = {}  # guarded by _lock: by key
        self._finishing = 0  # guarded by _lock: removed from _open, but not yet told
        self._ended = False  # guarded by _lock: takes no more calls
        self._closing = False  # guarded by _lock
        self._broken: str | None = None  # guarded by _lock: why there is no scheduler any more
        self._over = threading.Event()
        self._clerk = Clerk("executor-dask", self.dispatcher.run_if_orphaned, self._close)
        client, owned = open_client(address_or_client, security)
        try:
            self.link = Link(client, owned, self._hear_outcome, self._hear_event)
        except BaseException:
            if owned:
                client.close()
            raise
        self._clerk.start()

    @property
    def is_of_this_process(self) -> bool:
        return os.getpid() == self._pid

    def _check_process(self) -> None:
        if not self.is_of_this_process:
            raise ForkedExecutor(self._pid)

    # --- calls ----------------------------------------------------------------------------------------------

    def submit(self, call: Call, options: Options) -> DaskFuture:
        self._check_process()
        future = DaskFuture(self, call, self.dispatcher.bound(options))
        dependencies = list(call.dependencies())
        if any(dependency.book is not self for dependency in dependencies):
            raise ValueError("a future of another executor cannot be an argument: wait for its result instead")
        with self._lock:
            if self._broken is not None:
                raise BrokenProcessPool(self._broken)
            if self._ended:
                raise RuntimeError("cannot schedule new futures after shutdown")
            self._enter(future)
            self._counters.submitted += 1
        for dependency in dependencies:
            dependency.add_done_callback(lambda done: self._fail_with(future, done))
        self._send(future)
        return future

    def _enter(self, future: DaskFuture) -> None:
        # holds _lock
        future.key = f"{future.name}-{uuid.uuid4()}"
        self._open[future.key] = future

    def cancel(self, futures: Collection[DaskFuture]) -> None:
        """Cancel those that have not begun; returns when it is known which ones these are."""
        self._check_process()
        with self._lock:
            mine = [f for f in futures if self._open.get(f.key) is f and not f.running()]
            sent = {future.key: future for future in mine if future.remote is not None}
            for future in mine:
                future.withdrawn = True
        begun = [sent[key] for key in self._forbid(list(sent))]
        for future in mine:
            if future not in begun:
                self._finish(future, DaskFuture.mark_cancelled)
        self._give_back(begun)

    def _forbid(self, keys: list[str]) -> Collection[str]:
        try:
            return self.link.forbid(keys) if keys else ()
        except OSError:  # nobody can tell; the loss of the scheduler is what will settle them
            return keys

    def _give_back(self, futures: Iterable[DaskFuture]) -> None:
        """They had begun, so they were not cancelled.  One that was lost meanwhile is sent again now."""
        for future in futures:
            with self._lock:
                future.withdrawn = False
                unsent = future.remote is None and self._open.get(future.key) is future
            if unsent:
                self._send(future)

    def cancel_later(self, futures: list[DaskFuture]) -> None:
        """The same as ``cancel`` for whoever cannot wait."""
        self._clerk.put(self.cancel, futures)

    def open_futures(self) -> list[DaskFuture]:
        with self._lock:
            return list(self._open.values())

    # --- waiting and looking --------------------------------------------------------------------------------

    def wait(
        self, ready: Callable[[], bool], deadline: float | None, waiters: Callable[[], list[Any]], *_: Any
    ) -> bool:
        """Wait until ``ready()``, running callbacks meanwhile where this is their thread.

        ``waiters``: whoever makes it true wakes those in this list.
        """
        self._check_process()
        parked = waiters()
        parked.append(self.dispatcher)
        try:
            self.dispatcher.wait_until(ready, deadline)
        finally:
            parked.remove(self.dispatcher)
        return ready()

    def wait_for(self, future: DaskFuture, timeout: float | None) -> None:
        """Until it is done, running callbacks meanwhile; TimeoutError when that takes too long."""
        if not future.done():
            deadline = None if timeout is None else time.monotonic() + timeout
            if not self.wait(future.done, deadline, list):
                raise TimeoutError

    def threads(self) -> int:
        """How many tasks the cluster can run at once; 1 at least."""
        return max(1, sum(int(row["threads"]) for row in self.link.workers()))

    def stats(self) -> Stats:
        rows = [] if self._over.is_set() else self.link.workers()
        with self._lock:
            return snapshot(self._counters, self._open, rows)

    # --- the end --------------------------------------------------------------------------------------------

    def refuse_more(self) -> None:
        with self._lock:
            self._ended = True

    def end(self) -> None:
        """Take no more calls; let go of the scheduler when the last one is settled."""
        with self._lock:
            self._ended = True
            self._close_when_empty()

    def end_later(self) -> None:
        """The same for a finalizer, which may run while its thread holds the lock."""
        self._clerk.put(self.end)

    def abandon(self) -> None:
        """After Ctrl-C: cancel what has not begun, and do not wait for the rest, not even at exit."""
        self.abandoned = True
        self.refuse_more()
        self.cancel(self.open_futures())
        self.end()

    def wait_ended(self) -> None:
        """Until all is settled and the connection closed, running the callbacks that are this thread's."""
        if self._clerk.is_current():  # in a done callback: what it would wait for comes after it
            return
        self.dispatcher.wait_until(self._over.is_set)
        if self.dispatcher.is_current():
            self.dispatcher.run()
            self.dispatcher.close()

    def _close_when_empty(self) -> None:
        # holds _lock
        if self._ended and not self._open and not self._finishing and not self._closing:
            self._closing = True
            self._clerk.finish()

    def _close(self) -> None:
        try:
            self.link.close()
        finally:
            self._over.set()
            self.dispatcher.wake()

    # --- sending --------------------------------------------------------------------------------------------

    def _send(self, future: DaskFuture, by_value: bool = False) -> None:
        """Send the call, or see to it that it is sent when the future that it needs is done.

        The result of a dependency that Dask still holds stays there; others are sent along. ``by_value``
        waits for all dependencies, and sends them along.
        """
        while (call := future.call) is not None:
            there: dict[DaskFuture, Any] = {}
            for dependency in call.dependencies():
                if dependency.done():
                    self._fail_with(future, dependency)
                elif by_value or dependency.remote is None:
                    dependency.add_done_callback(lambda _: self._send(future, by_value))
                    return
                else:
                    there[dependency] = dependency.remote
            if future.done() or self._send_now(future, call, there):
                return

    def _send_now(self, future: DaskFuture, call: Call, there: dict[DaskFuture, Any]) -> bool:
        """False when Dask has let go of a dependency meanwhile."""
        try:
            payload = dump(call.filled(list(there)))
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # whatever a __reduce__ raises: it is this call's outcome
            self._fail(future, error)
            return True
        with self._lock:
            if any(dependency.remote is not remote for dependency, remote in there.items()):
                return False
            if future.withdrawn or self._open.get(future.key) is not future:
                return True
            try:
                future.remote = self.link.send(
                    future.key, payload, future.attempts_left, there.values(), future.options.priority
                )
                return True
            except Exception as error:
                problem = BrokenProcessPool(f"the call could not be sent to {self.link.address}: {error}")
                problem.__cause__ = error
        self._fail(future, problem)
        return True

    def _send_again(self, future: DaskFuture, by_value: bool = False) -> None:
        with self._lock:
            if self._open.pop(future.key, None) is not future:
                return
            released, future.remote = future.remote, None
            self._enter(future)
            withdrawn = future.withdrawn
        released.release()
        if not withdrawn:
            self._send(future, by_value)

    # --- Dask's event loop ----------------------------------------------------------------------------------

    def _hear_outcome(self, key: str, payload: bytes | None, error: BaseException | None) -> None:
        self._clerk.put(self._settle, key, payload, error)

    def _hear_event(self, event: dict[str, Any]) -> None:
        with self._lock:
            future = self._open.get(event["key"])
        if future is None:
            return
        if event["what"] == "lost":
            # With attempts left, Dask has placed the call on another worker by now. Told here, in the order of
            # the scheduler's events: when the clerk comes to it, the last attempt may have begun.
            if future.attempts_left <= 0:
                self._clerk.put(self._lose, future)
            return
        future.begun.append((event["worker"], event["pid"]))
        future.mark_running()
        if len(future.begun) > 1:
            with self._lock:
                self._counters.retried += 1

    # --- the clerk ------------------------------------------------------------------------------------------

    def _settle(self, key: str, payload: bytes | None, error: BaseException | None) -> None:
        with self._lock:
            future = self._open.get(key)
        if future is None:
            return
        if payload is not None:
            self._settle_value(future, payload)
        elif _is_of_another(error, key):
            # Dask failed the call because of a dependency. If that one has failed here too, so has the call.
            # If it has not, only Dask's copy of its result was lost: send the one that is here.
            self._send_again(future, by_value=True)
        else:
            self._settle_error(future, error)

    def _settle_value(self, future: DaskFuture, payload: bytes) -> None:
        try:
            value = load(payload)
        except BaseException as error:  # whatever a rebuilding function raises: it is this call's outcome
            self._fail(future, error)
        else:
            self._finish(future, lambda future: future.set_result(value))

    def _settle_error(self, future: DaskFuture, error: BaseException | None) -> None:
        match error:
            case TaskRaised():
                self._fail(future, load_exception(error.error))
            case NotBegun(answer="cancelled"):
                pass  # whoever cancelled it settles it
            case KilledWorker() | NotBegun() if future.attempts_left > 0:
                # Dask's own limit (allowed-failures) came first; it counts calls that had not begun, too.
                self._send_again(future)
            case KilledWorker() | NotBegun():
                self._lose(future)
            case CancelledError():
                self._settle_given_up(future, error)
            case _:
                assert error is not None
                self._fail(future, error)

    def _settle_given_up(self, future: DaskFuture, error: BaseException) -> None:
        """Dask cancelled it, not its caller: the scheduler is gone, was restarted, or lost a dependency."""
        reason = getattr(error, "reason", "")
        connected = self.link.connected and reason != "scheduler-connection-lost"
        needs = future.call is not None and any(future.call.dependencies())
        if connected and needs and not future.begun and reason != "scheduler-restart":
            self._send_again(future, by_value=True)
            return
        text = f"the scheduler at {self.link.address} gave up this call: {error}"
        if not connected:
            with self._lock:
                self._broken = text
        self._fail(future, BrokenProcessPool(text))

    def _lose(self, future: DaskFuture) -> None:
        self._fail(future, future.lost())

    # --- settling, in any thread ----------------------------------------------------------------------------

    def _fail_with(self, future: DaskFuture, dependency: Future[Any]) -> None:
        """Where a dependency is done with a failure, end the call that needs it."""
        if dependency.cancelled():
            self._finish(future, DaskFuture.mark_cancelled)
        elif (error := Future.exception(dependency)) is not None:
            failure = DependencyFailed(future.name)
            failure.__cause__ = error
            self._fail(future, failure)

    def _fail(self, future: DaskFuture, error: BaseException) -> None:
        self._finish(future, lambda future: future.set_exception(error))

    def _finish(self, future: DaskFuture, settle: Callable[[DaskFuture], None]) -> None:
        """Settle it, unless that has been done."""
        with self._lock:
            if self._open.get(future.key) is not future:
                return
            del self._open[future.key]
            self._finishing += 1
            released, future.remote, future.call = future.remote, None, None
        if released is not None:
            # After this Dask forgets the call, unless another one needs its result.
            released.release()
        try:
            settle(future)
        finally:
            self._tell(future)
            with self._lock:
                self._finishing -= 1
                self._close_when_empty()

    def _tell(self, future: DaskFuture) -> None:
        if future.cancelled():
            outcome = "cancelled"
        else:
            outcome = "done" if Future.exception(future) is None else "failed"
        with self._lock:
            setattr(self._counters, outcome, getattr(self._counters, outcome) + 1)
        self.dispatcher.tell(future, future.options)


def _is_of_another(error: BaseException | None, key: str) -> bool:
    """Is it the outcome of a call that this one depends on?"""
    match error:
        case TaskRaised() | NotBegun():
            return error.key != key
        case KilledWorker():
            return bool(error.task != key)
        case _:
            return False
