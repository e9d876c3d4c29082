"""asyncio over an executor: what works with futures as they are, `async with` and `amap`."""

from __future__ import annotations

import asyncio
import functools
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator
from contextlib import aclosing
from typing import Any

import pytest

from executor import ProcessPoolExecutor, WorkerLost
from tests import tasks
from tests.support import HANG, Gate, alive, wait_gone


def in_loop(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """A test that is a coroutine."""

    @functools.wraps(test)
    def run(*args: Any, **kwargs: Any) -> None:
        asyncio.run(asyncio.wait_for(test(*args, **kwargs), 3 * HANG))

    return run


async def arrivals(gate: Gate, count: int = 1) -> list[int]:
    """The pids of tasks that stopped at the gate; the loop goes on meanwhile."""
    return await asyncio.to_thread(gate.wait_arrivals, count)


# --- futures as they are ------------------------------------------------------------------------------------


@in_loop
async def test_run_in_executor() -> None:
    loop = asyncio.get_running_loop()
    async with ProcessPoolExecutor(2) as pool:
        calls = [loop.run_in_executor(pool, tasks.square, n) for n in range(100)]
        assert await asyncio.gather(*calls) == [n * n for n in range(100)]
        with pytest.raises(ValueError, match="no"):
            await loop.run_in_executor(pool, tasks.raise_value_error, "no")
        with pytest.raises(WorkerLost):
            await loop.run_in_executor(pool, tasks.kill_itself, 9)
        assert await loop.run_in_executor(pool, tasks.square, 3) == 9


@in_loop
async def test_wrap_future() -> None:
    async with ProcessPoolExecutor(2) as pool:
        assert await asyncio.wrap_future(pool.submit(tasks.square, 3)) == 9
        assert await asyncio.wrap_future(pool.submit(tasks.same, 3).then(tasks.square)) == 9
        done = pool.submit(tasks.square, 4)
        assert done.result(HANG) == await asyncio.wrap_future(done) == 16


@in_loop
async def test_a_task_group_cancels_the_others_when_one_fails(gate: Gate) -> None:
    async with ProcessPoolExecutor(1) as pool:
        waiting = []

        async def call(fn: Callable[..., Any], *args: Any) -> Any:
            future = pool.submit(fn, *args)
            waiting.append(future)
            return await asyncio.wrap_future(future)

        async def fail() -> None:
            await arrivals(gate)
            raise LookupError("one failed")

        with pytest.raises(ExceptionGroup) as raised:
            async with asyncio.TaskGroup() as group:
                group.create_task(call(tasks.stop_at, gate, "ran"))
                for n in range(5):
                    group.create_task(call(tasks.square, n))
                group.create_task(fail())
        assert [type(error) for error in raised.value.exceptions] == [LookupError]
        assert [future.cancelled() for future in waiting] == [False] + [True] * 5
        gate.open()
        assert await asyncio.wrap_future(waiting[0]) == "ran"  # it had begun


@in_loop
async def test_a_task_group_gathers_results() -> None:
    loop = asyncio.get_running_loop()

    async def call(n: int) -> int:
        return await loop.run_in_executor(pool, tasks.square, n)

    async with ProcessPoolExecutor(2) as pool:
        async with asyncio.TaskGroup() as group:
            running = [group.create_task(call(n)) for n in range(50)]
        assert [task.result() for task in running] == [n * n for n in range(50)]


@pytest.mark.parametrize("way", ["cancel", "timeout", "task_group"])
def test_cancellation_stops_a_task_that_runs_where_that_is_wanted(gate: Gate, way: str) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        async with ProcessPoolExecutor(1, cancel_running=True) as pool:
            call = asyncio.ensure_future(await_call(loop.run_in_executor(pool, tasks.stop_at, gate)))
            (pid,) = await arrivals(gate)
            await CANCELLATIONS[way](call)
            await asyncio.to_thread(wait_gone, pid)
            assert await loop.run_in_executor(pool, tasks.pid) != pid

    asyncio.run(main())


async def await_call(call: Awaitable[Any]) -> Any:
    return await call


async def by_cancel(call: asyncio.Future[Any]) -> None:
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call


async def by_timeout(call: asyncio.Future[Any]) -> None:
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0):
            await call


async def by_task_group(call: asyncio.Future[Any]) -> None:
    async def fail() -> None:
        raise LookupError

    with pytest.raises(ExceptionGroup):
        async with asyncio.TaskGroup() as group:
            group.create_task(await_call(call))
            group.create_task(fail())


CANCELLATIONS = {"cancel": by_cancel, "timeout": by_timeout, "task_group": by_task_group}


@in_loop
async def test_without_that_a_task_that_runs_goes_on(gate: Gate) -> None:
    async with ProcessPoolExecutor(1) as pool:
        future = pool.submit(tasks.stop_at, gate, "ran")
        (pid,) = await arrivals(gate)
        await by_cancel(asyncio.wrap_future(future))
        assert alive(pid)
        gate.open()
        assert await asyncio.wrap_future(future) == "ran"


@in_loop
async def test_a_cancelled_future_cancels_who_awaits_it(gate: Gate) -> None:
    async with ProcessPoolExecutor(1) as pool:
        pool.submit(tasks.stop_at, gate)
        await arrivals(gate)
        future = pool.submit(tasks.nothing)
        call = asyncio.wrap_future(future)
        assert future.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        gate.open()


@in_loop
async def test_many_at_once_and_the_loop_goes_on() -> None:
    loop = asyncio.get_running_loop()

    async def tick() -> None:
        nonlocal ticks
        while not done.is_set():
            ticks += 1
            await asyncio.sleep(0)

    ticks, done = 0, asyncio.Event()
    async with ProcessPoolExecutor(2) as pool:
        ticking = asyncio.create_task(tick())
        pids = await asyncio.gather(*(loop.run_in_executor(pool, pause_and_pid) for _ in range(200)))
        done.set()
        await ticking
    assert len(set(pids)) == 2
    assert ticks > 20


def pause_and_pid() -> int:
    tasks.pause(0.002)
    return tasks.pid()


# --- async with ---------------------------------------------------------------------------------------------


@in_loop
async def test_async_with_waits_for_all_without_stopping_the_loop(gate: Gate) -> None:
    async def open_it() -> None:
        await arrivals(gate)
        gate.open()

    async with ProcessPoolExecutor(1) as pool:
        future = pool.submit(tasks.stop_at, gate, "ran")
        opening = asyncio.create_task(open_it())  # only a loop that still runs comes to it
    assert future.result(0) == "ran"
    await opening
    with pytest.raises(RuntimeError, match="after shutdown"):
        pool.submit(tasks.nothing)


@in_loop
async def test_an_error_in_the_block_goes_through_and_work_is_finished() -> None:
    with pytest.raises(LookupError):
        async with ProcessPoolExecutor(1) as pool:
            future = pool.submit(tasks.square, 3)
            raise LookupError
    assert future.result(0) == 9


@in_loop
async def test_callbacks_have_run_on_the_loop_before_async_with_ends() -> None:
    seen: list[Any] = []

    def callback(value: int) -> None:
        seen.append((value, threading.current_thread(), asyncio.get_running_loop()))
        if value < 5:
            pool.options(callback=callback).submit(tasks.add, value, 1)

    async with ProcessPoolExecutor(2) as pool:
        pool.options(callback=callback).submit(tasks.same, 0)
    here = (threading.current_thread(), asyncio.get_running_loop())
    assert seen == [(n, *here) for n in range(6)]


@in_loop
async def test_several_may_wait_for_one_executor(gate: Gate) -> None:
    """Each that waits for its end is woken, whoever comes first."""
    pool = ProcessPoolExecutor(1)
    future = pool.submit(tasks.stop_at, gate)
    await arrivals(gate)
    ends = [asyncio.create_task(pool.__aexit__(None, None, None)) for _ in range(3)]
    in_thread = asyncio.create_task(asyncio.to_thread(pool.shutdown))
    await asyncio.sleep(0)
    gate.open()
    await asyncio.gather(*ends, in_thread)
    assert future.done()


@in_loop
async def test_a_cancelled_end_leaves_an_executor_that_can_be_ended(gate: Gate) -> None:
    pool = ProcessPoolExecutor(1)
    future = pool.submit(tasks.stop_at, gate, "ran")
    await arrivals(gate)
    end = asyncio.create_task(pool.__aexit__(None, None, None))
    await asyncio.sleep(0)
    await by_cancel(end)
    gate.open()
    async with pool:
        pass
    assert future.result(0) == "ran"


def test_a_loop_that_closed_in_the_middle_of_the_end_breaks_nothing(gate: Gate) -> None:
    async def leave() -> None:
        end = asyncio.create_task(pool.__aexit__(None, None, None))
        await asyncio.sleep(0)
        assert not end.done()

    with ProcessPoolExecutor(1) as pool:
        future = pool.submit(tasks.stop_at, gate, "ran")
        gate.wait_arrivals()
        asyncio.run(leave())
        gate.open()
        assert future.result(HANG) == "ran"
        assert pool.submit(tasks.square, 3).result(HANG) == 9


# --- amap ---------------------------------------------------------------------------------------------------


class Source:
    """An endless input, for `for` or for `async for`; how much was read of it."""

    def __init__(self) -> None:
        self.read = 0

    def __iter__(self) -> Iterator[int]:
        while True:
            self.read += 1
            yield self.read - 1


class AsyncSource(Source):
    __iter__ = None  # type: ignore[assignment]

    async def __aiter__(self) -> AsyncIterator[int]:
        while True:
            await asyncio.sleep(0)
            self.read += 1
            yield self.read - 1


@in_loop
async def test_amap_gives_results_in_order() -> None:
    async with ProcessPoolExecutor(2) as pool:
        assert [result async for result in pool.amap(tasks.square, range(100))] == [n * n for n in range(100)]
        assert [result async for result in pool.amap(tasks.add, [1, 2, 3], AsyncSource())] == [1, 3, 5]
        assert [result async for result in pool.amap(tasks.square, [])] == []


@pytest.mark.parametrize("source_type", [Source, AsyncSource])
@pytest.mark.parametrize("size", [1, 3])
def test_amap_reads_no_further_than_it_may(source_type: type[Source], size: int) -> None:
    async def main() -> None:
        source = source_type()
        async with ProcessPoolExecutor(2) as pool, aclosing(pool.amap(tasks.same, source, buffersize=size)) as results:  # type: ignore[type-var]
            assert source.read == 0
            fetched = 0
            async for result in results:
                assert result == fetched
                fetched += 1
                assert source.read <= size + fetched - 1
                await asyncio.sleep(0.001)  # a slow consumer: nothing is read meanwhile
                assert source.read <= size + fetched - 1
                if fetched == 30:
                    break

    asyncio.run(main())


@in_loop
async def test_amap_without_buffersize_reads_a_few_ahead() -> None:
    source = Source()
    async with ProcessPoolExecutor(2) as pool, aclosing(pool.amap(tasks.same, source)) as results:  # type: ignore[type-var]
        assert await anext(results) == 0
        assert 2 <= source.read <= 4


@in_loop
async def test_an_error_in_amap_ends_it_and_cancels_what_has_not_begun(gate: Gate) -> None:
    async with ProcessPoolExecutor(1) as pool:
        results = pool.amap(fail_then_stop, [gate] * 10, range(10), buffersize=10)
        with pytest.raises(ValueError, match="bad 0"):
            await anext(results)
        with pytest.raises(StopAsyncIteration):
            await anext(results)
        gate.open()
    assert len(gate.arrivals()) <= 1


def fail_then_stop(gate: Gate, n: int) -> None:
    if n == 0:
        raise ValueError("bad 0")
    gate.stop()


@in_loop
async def test_amap_with_options_and_callbacks() -> None:
    seen: list[int] = []
    async with ProcessPoolExecutor(2) as pool:
        calls = pool.options(callback=seen.append)
        results = [result async for result in calls.amap(tasks.square, range(10))]
    assert sorted(seen) == results == [n * n for n in range(10)]


@pytest.mark.parametrize("size", [0, -1])
def test_a_buffersize_below_one_is_refused(size: int) -> None:
    async def main() -> None:
        async with ProcessPoolExecutor(1) as pool:
            with pytest.raises(ValueError, match="buffersize"):
                await anext(pool.amap(tasks.square, [1], buffersize=size))

    asyncio.run(main())


@in_loop
async def test_pipelines_of_async_iterators() -> None:
    """One amap's results are another's input."""
    source = Source()
    async with (
        ProcessPoolExecutor(2) as pool,
        aclosing(pool.amap(tasks.square, source, buffersize=2)) as squares,  # type: ignore[type-var]
        aclosing(pool.amap(tasks.add, squares, [1] * 5, buffersize=2)) as sums,  # type: ignore[type-var]
    ):
        assert [result async for result in sums] == [1, 2, 5, 10, 17]
    assert source.read <= 5 + 1 + 2 + 2
