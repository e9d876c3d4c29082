"""What asyncio programs need beyond `run_in_executor` and `wrap_future`, which work as they are."""

from __future__ import annotations

import asyncio
from collections import deque

from ._interrupt import is_interrupt

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable
    from typing import Any

    from ._executor import ProcessPoolExecutor, Submitter
    from ._future import Future
    from ._session import Session

__all__ = ["amap", "shutdown"]


async def amap(
    submitter: Submitter,
    fn: Callable[..., Any],
    iterables: tuple[Any, ...],
    buffersize: int | None,
    workers: int,
) -> AsyncIterator[Any]:
    """The results in order; at most ``buffersize`` items are ahead of them. Iterables may be async ones."""
    limit = buffersize if buffersize is not None else 2 * workers
    if limit < 1:
        raise ValueError("buffersize must be None or > 0")
    source = _zip(iterables)
    waiting: deque[tuple[Future[Any], asyncio.Future[Any]]] = deque()
    exhausted = False
    try:
        while True:
            while not exhausted and len(waiting) < limit:
                try:
                    args = await anext(source)
                except StopAsyncIteration:
                    exhausted = True
                    break
                call = submitter.submit(fn, *args)
                waiting.append((call, asyncio.wrap_future(call)))
            if not waiting:
                return
            yield await waiting.popleft()[1]
    finally:
        for call, _ in waiting:
            call.cancel()  # at once: asyncio's own would come to it in the loop's next turn


async def _zip(iterables: tuple[Any, ...]) -> AsyncIterator[tuple[Any, ...]]:
    iterators = [_as_async(iterable) for iterable in iterables]
    while True:
        args = []
        for iterator in iterators:
            try:
                args.append(await anext(iterator))
            except StopAsyncIteration:
                return
        yield tuple(args)


def _as_async(iterable: Any) -> AsyncIterator[Any]:
    if hasattr(iterable, "__aiter__"):
        iterator: AsyncIterator[Any] = aiter(iterable)
        return iterator
    return _from_sync(iterable)


async def _from_sync(iterable: Iterable[Any]) -> AsyncIterator[Any]:
    for item in iterable:
        yield item


async def shutdown(executor: ProcessPoolExecutor) -> None:
    """Wait for the executor's work and its callbacks without stopping the loop, then end it."""
    session = executor._session
    try:
        await _finish_work(session)
    except asyncio.CancelledError as error:
        if is_interrupt(error):
            executor._abort()
        raise
    await asyncio.get_running_loop().run_in_executor(None, executor.shutdown)
    session.run_callbacks(0)  # of what was submitted meanwhile


async def _finish_work(session: Session) -> None:
    dispatcher = session.dispatcher
    session.note_asyncio()
    while session.outstanding or (dispatcher.has_due() and dispatcher.is_current()):
        await _wait_until_idle(session)
        session.run_callbacks(0)


async def _wait_until_idle(session: Session) -> None:
    waiter = _Waiter()
    with session.lock:
        if not session.outstanding:
            return
        session.waiters.append(waiter)
    try:
        await waiter.woken.wait()
    finally:
        with session.lock:
            session.waiters.remove(waiter)


class _Waiter:
    """In a session's list of waiters: wakes a coroutine."""

    def __init__(self) -> None:
        self.woken = asyncio.Event()
        self._loop = asyncio.get_running_loop()

    def wake(self) -> None:
        try:
            self._loop.call_soon_threadsafe(self.woken.set)
        except RuntimeError:  # the loop is closed, and whoever waited in it gone
            pass
