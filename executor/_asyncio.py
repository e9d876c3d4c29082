"""What asyncio programs need beyond `run_in_executor` and `wrap_future`, which work as they are."""

from __future__ import annotations

import asyncio
from collections import deque

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable
    from typing import Any

    from ._executor import ProcessPoolExecutor, Submitter

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
    waiting: deque[asyncio.Future[Any]] = deque()
    exhausted = False
    try:
        while True:
            while not exhausted and len(waiting) < limit:
                try:
                    args = await anext(source)
                except StopAsyncIteration:
                    exhausted = True
                    break
                waiting.append(asyncio.wrap_future(submitter.submit(fn, *args)))
            if not waiting:
                return
            yield await waiting.popleft()
    finally:
        for future in waiting:
            future.cancel()


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
    while session.outstanding or session.dispatcher.pending:
        done = asyncio.get_running_loop().create_future()
        _when_idle(session, done)
        await done
        session.run_callbacks(0)
    await asyncio.get_running_loop().run_in_executor(None, executor.shutdown)


def _when_idle(session: Any, done: asyncio.Future[None]) -> None:
    loop = asyncio.get_running_loop()

    class Waiter:
        def wake(self) -> None:
            with_waiters.remove(self)
            loop.call_soon_threadsafe(_finish, done)

    with_waiters = session.waiters
    with session.lock:
        if session.outstanding:
            with_waiters.append(Waiter())
        else:
            done.set_result(None)


def _finish(done: asyncio.Future[None]) -> None:
    if not done.done():
        done.set_result(None)
