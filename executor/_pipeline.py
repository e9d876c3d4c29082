"""Futures as arguments: a call that waits for others of the same executor before it is queued."""

from __future__ import annotations

from ._future import Future

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ._session import Session

__all__ = ["submit_dependent"]


class _Dependencies:
    """Counts down the futures that a call waits for."""

    __slots__ = ("_future", "_open", "_session")

    def __init__(self, session: Session, future: Future[Any], needed: list[Future[Any]]) -> None:
        self._session = session
        self._future = future
        self._open = len(needed)  # guarded by the session's lock

    def __call__(self, needed: Any) -> None:
        """One of them is done."""
        if not self._future.is_open():
            return
        if needed.cancelled():
            self._give_up(None)
        elif needed.exception() is not None:
            self._give_up(needed.exception())
        else:
            with self._session.lock:
                self._open -= 1
                ready = not self._open
            if not ready:
                return
            if self._session.starts_waiting:
                self._queue()
            else:
                self._give_up(None)

    def _give_up(self, cause: BaseException | None) -> None:
        """It is not to run: one of them failed with this; or, None, it is cancelled."""
        engine = self._session.engine
        with self._session.lock:
            if not self._future.is_open():
                return
            if cause is None:
                self._future.mark_cancelled()
            else:
                from ._errors import DependencyFailed

                failure = DependencyFailed(self._future.name())
                failure.__cause__ = cause
                self._future.fail(failure)
            engine.resolve(self._future, failed=cause is not None)
        engine.loop.wake()
        engine.call_back()

    def _queue(self) -> None:
        future = self._future
        with self._session.lock:
            if not future.is_open() or future._call is None:
                return
            fn, args, kwargs = future._call
            future._call = (
                fn,
                tuple(_value(arg) for arg in args),
                {name: _value(arg) for name, arg in kwargs.items()},
            )
        self._session.engine.submit(future)


def _value(arg: Any) -> Any:
    return arg.result(0) if isinstance(arg, Future) else arg


def submit_dependent(session: Session, future: Future[Any]) -> None:
    """Queue ``future`` when the futures among its arguments have their results; fail it when one of them fails."""
    assert future._call is not None
    _, args, kwargs = future._call
    needed = [arg for arg in (*args, *kwargs.values()) if isinstance(arg, Future)]
    dependencies = _Dependencies(session, future, needed)
    for one in needed:
        one.add_done_callback(dependencies)
