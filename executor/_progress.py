"""How far tasks are: `report_progress` in a worker, a bar of tqdm in the parent.

A report travels as a note (`Kind.NOTE`): ("progress", lease, item, done, total).
"""

from __future__ import annotations

import threading
from time import monotonic

from . import _current

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any

    from ._future import Future
    from ._session import Session

__all__ = ["ProgressBar", "report_progress"]

_REPORT_EVERY = 0.05  # seconds
_DRAW_EVERY = 0.1  # seconds
_reported_at = 0.0
_completed: tuple[int, int] | None = None  # the lease and the item that last said that all is done


def report_progress(done: float, total: float | None = None) -> None:
    """In a task: tell the parent how far it is. It shows in ``Future.progress`` and in the bar of a map.

    ``done`` of ``total``, in any unit; without ``total`` it is a count that no bar shows. Any thread of the task may
    call it, as often as it likes: a report within 50 ms of the last is left out, unless it is the task's first to say
    that all is done. Where no task runs it does nothing. Raises TypeError where one of them is no number.
    """
    global _reported_at, _completed
    send = _current._send_note
    if send is None:
        return
    now = monotonic()
    if total is not None and done >= total:
        completed = _current._place()
        if completed == _completed and now - _reported_at < _REPORT_EVERY:
            return
        _completed = completed
    elif now - _reported_at < _REPORT_EVERY:
        return
    _reported_at = now
    _current.undisturbed(send, "progress", _number(done), None if total is None else _number(total))


def _number(value: Any) -> float:
    return value if type(value) in (int, float) else float(value + 0)  # text is no number, though float() takes it


def fraction(done: float, total: float | None) -> float:
    """Of a whole, from 0 to 1; 0 where it is not known."""
    return min(1.0, max(0.0, done / total)) if total else 0.0


def _length(iterables: tuple[Iterable[Any], ...]) -> int | None:
    """How many items there are, where all iterables have a length."""
    try:
        return min(len(each) for each in iterables)  # type: ignore[arg-type]  # perhaps it has none
    except (TypeError, ValueError):
        return None


def _make_bar(label: str | None, total: int | None) -> Any:
    try:
        from tqdm.auto import tqdm
    except ImportError as error:
        text = 'progress= needs the package tqdm: pip install "executor-pool[progress]"'
        raise ImportError(text, name="tqdm") from error

    class Bar(tqdm):  # type: ignore[misc]  # of no known type
        monitor_interval = 0  # no thread of tqdm's: it is drawn here
        if not hasattr(tqdm, "_lock"):
            _lock = threading.RLock()  # tqdm's own would be a semaphore of multiprocessing

    return Bar(desc=label, total=total, mininterval=0, miniters=1)


class ProgressBar:
    """Counts items as they are done, in fractions where running ones report. Guarded by the engine's lock.

    It is drawn by the loop's leader, when something has changed and at most ten times a second, and by who closes it.
    """

    def __init__(self, session: Session, progress: bool | str, iterables: tuple[Iterable[Any], ...]) -> None:
        if not isinstance(progress, (bool, str)):
            raise TypeError("progress must be a bool or the bar's label")
        self._session = session
        self._bar = _make_bar(progress if isinstance(progress, str) else None, _length(iterables))
        self._pen = threading.RLock()  # held while it is drawn; the engine's is taken after it, not before
        self._done = self._failed = 0
        self._running: dict[Any, float] = {}  # how far each item is that has reported
        self._futures: set[Any] = set()  # that are counted
        self._expected: int | None = None
        self._due = False  # a timer is set
        self._drawn_at = monotonic()
        with session.lock:
            session.bars.add(self)

    # --- counting: with the lock ----------------------------------------------------------------------------

    def count(self, key: Any, failed: bool) -> None:
        """An item is done."""
        self._running.pop(key, None)
        self._done += 1
        self._failed += failed
        if self._done == self._expected:
            self._session.engine.loop.call_soon(self.close)
        else:
            self.touch()

    def note(self, key: Any, done: float, total: float | None) -> None:
        """An item that runs has reported."""
        self._running[key] = fraction(done, total)
        self.touch()

    def expect(self, total: int) -> None:
        """There are no more items than these."""
        self._expected = total
        if self._done == total:
            self._session.engine.loop.call_soon(self.close)

    def note_future(self, future: Future[Any], done: float, total: float | None) -> None:
        """The same for a future of the executor, whether it is counted here or not."""
        if future in self._futures:
            self.note(future, done, total)

    def touch(self) -> None:
        """Something has changed."""
        if not self._due:
            self._due = True
            self._session.engine.loop.call_at(self._drawn_at + _DRAW_EVERY, self._draw)

    # --- drawing: without the lock --------------------------------------------------------------------------

    def _draw(self) -> None:
        with self._pen:
            bar = self._bar
            if bar is None:
                return
            with self._session.lock:
                self._due = False
                self._drawn_at = monotonic()
                running = sum(self._running.values())
                done, failed, expected = self._done, self._failed, self._expected
            try:
                bar.n = round(done + running, 2) if running else done
                if expected is not None:
                    bar.total = expected
                if failed:
                    bar.set_postfix(failed=failed, refresh=False)
                bar.refresh()
            except Exception as error:  # standard error cannot be written to
                self._give_up(bar, error)

    def close(self) -> None:
        """Draw what there is for the last time. Any thread; if it holds the lock, the loop does it soon."""
        if self._session.lock._is_owned():  # type: ignore[attr-defined]  # the garbage collector may run anywhere
            self._session.engine.loop.call_soon(self.close)
            return
        with self._pen:
            self._draw()
            bar, self._bar = self._bar, None
            if bar is not None:
                try:
                    bar.close()
                except Exception as error:
                    self._give_up(bar, error)
        with self._session.lock:
            self._session.bars.discard(self)

    def _give_up(self, bar: Any, error: Exception) -> None:
        import logging

        bar.disable = True
        self._bar = None
        logging.getLogger("executor").warning("a progress bar cannot be drawn", exc_info=error)

    def expect_no_more(self) -> None:
        """There are no more futures to be counted. Without the lock."""
        with self._session.lock:
            self.expect(self._done + len(self._futures))

    def finish(self) -> None:
        """All results are out: close it, or leave that to who counts the last, which may be done and not counted yet.
        Without the lock.
        """
        self.expect_no_more()
        with self._session.lock:
            counted = not self._futures
        if counted:
            self.close()

    # --- futures --------------------------------------------------------------------------------------------

    def watched(self, submit: Callable[..., Future[Any]]) -> Callable[..., Future[Any]]:
        """The same `submit`, the futures of which are counted."""

        def submit_watched(*args: Any, **kwargs: Any) -> Future[Any]:
            future = submit(*args, **kwargs)
            with self._session.lock:
                self._futures.add(future)
            future.add_done_callback(self._on_done)
            return future

        return submit_watched

    def _on_done(self, future: Future[Any]) -> None:
        failed = future.cancelled() or future.exception() is not None
        with self._session.lock:
            self._futures.discard(future)
            self.count(future, failed)
            is_last = self._done == self._expected
        if is_last:
            self.close()  # the loop may have gone to sleep by now
