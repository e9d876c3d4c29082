"""Stopping one task that runs: only with ``cancel_running``, at once, and only that one."""

from __future__ import annotations

import asyncio
import operator
import os
import threading
from pathlib import Path

import pytest

from executor import CancelledError, ProcessPoolExecutor, as_completed, wait
from tests import deaths, limits
from tests.support import HANG, Gate, alive, new_gate, wait_gone


def test_without_it_a_running_task_cannot_be_cancelled(gate: Gate) -> None:
    with ProcessPoolExecutor(1) as pool:
        running = pool.submit(gate.stop)
        gate.wait_arrivals()
        assert not running.cancel()
        gate.open()
        assert running.result(HANG) is None


def test_it_stops_that_task_and_no_other(start_method: str, gate: Gate) -> None:
    with ProcessPoolExecutor(2, mp_context=start_method, cancel_running=True) as pool:
        victim, neighbour = pool.submit(gate.stop, "victim"), pool.submit(gate.stop, "neighbour")
        gate.wait_arrivals(2)
        pids = {note: pid for pid, note in gate.arrivals()}
        behind = [pool.submit(operator.neg, i) for i in range(10)]
        assert victim.cancel()
        assert victim.cancelled()
        with pytest.raises(CancelledError):
            victim.result(HANG)
        wait_gone(pids["victim"])
        assert [f.result(HANG) for f in behind] == [-i for i in range(10)]
        assert neighbour.running()
        gate.open()
        assert neighbour.result(HANG) is None
        assert alive(pids["neighbour"])


@pytest.mark.parametrize("task", [limits.deaf_hang, limits.hang_without_end])
def test_it_stops_tasks_that_do_not_listen(start_method: str, task: object, gate: Gate) -> None:
    with ProcessPoolExecutor(1, mp_context=start_method) as pool:
        running = pool.options(cancel_running=True).submit(task, gate)  # type: ignore[arg-type]
        (pid, *_) = gate.wait_arrivals()
        assert running.cancel()
        wait_gone(pid)
        assert pool.submit(operator.neg, 1).result(HANG) == -1


def test_it_stops_c_code_that_keeps_the_gil(gate: Gate) -> None:
    with ProcessPoolExecutor(1, cancel_running=True) as pool:
        running = pool.submit(deaths.arrive_and_hold_gil, gate, 600)
        (pid,) = gate.wait_arrivals()
        assert running.cancel()
        wait_gone(pid)


def test_it_stops_what_the_task_has_started_too(gate: Gate) -> None:
    with ProcessPoolExecutor(1, cancel_running=True) as pool:
        running = pool.submit(limits.hang_with_children, gate)
        pids = gate.wait_arrivals(3)
        assert running.cancel()
        wait_gone(*pids)


def test_options_decide_for_one_task(gate: Gate) -> None:
    with ProcessPoolExecutor(2, cancel_running=True) as pool:
        kept = pool.options(cancel_running=False).submit(gate.stop)
        gate.wait_arrivals()
        assert not kept.cancel()
        gate.open()
        assert kept.result(HANG) is None


def test_a_task_that_waits_is_cancelled_as_ever(gate: Gate, tmp_path: Path) -> None:
    ran = new_gate(tmp_path)
    with ProcessPoolExecutor(1, cancel_running=True) as pool:
        running = pool.submit(gate.stop)
        (pid,) = gate.wait_arrivals()
        waiting = pool.submit(ran.arrive)
        assert waiting.cancel()
        assert alive(pid)
        gate.open()
        assert running.result(HANG) is None
        assert pool.submit(os.getpid).result(HANG) == pid
    assert ran.arrivals() == []


def test_a_task_that_is_done_cannot_be_cancelled_and_nobody_else_is_hit(gate: Gate) -> None:
    with ProcessPoolExecutor(1, cancel_running=True) as pool:
        done = pool.submit(operator.neg, 1)
        assert done.result(HANG) == -1
        innocent = pool.submit(gate.stop)
        gate.wait_arrivals()
        assert not done.cancel()
        gate.open()
        assert innocent.result(HANG) is None


def test_twice(gate: Gate) -> None:
    with ProcessPoolExecutor(1, cancel_running=True) as pool:
        running = pool.submit(gate.stop)
        gate.wait_arrivals()
        assert running.cancel()
        assert running.cancel()
        assert pool.submit(operator.neg, 1).result(HANG) == -1


def test_who_waits_is_woken(gate: Gate) -> None:
    with ProcessPoolExecutor(2, cancel_running=True) as pool:
        futures = [pool.submit(gate.stop) for _ in range(2)]
        gate.wait_arrivals(2)
        seen: list[int] = []
        threads = [
            threading.Thread(target=lambda: seen.append(len(wait(futures, HANG).done))),
            threading.Thread(target=lambda: seen.append(len(list(as_completed(futures, HANG))))),
        ]
        for thread in threads:
            thread.start()
        assert all(f.cancel() for f in futures)
        for thread in threads:
            thread.join(HANG)
        assert seen == [2, 2]


def test_a_cancelled_task_is_not_run_again(gate: Gate) -> None:
    with ProcessPoolExecutor(1, cancel_running=True, task_retries=5) as pool:
        running = pool.submit(gate.stop)
        gate.wait_arrivals()
        assert running.cancel()
        assert pool.submit(operator.neg, 1).result(HANG) == -1
    assert len(gate.arrivals()) == 1


def test_cancelling_at_any_moment_resolves_once(start_method: str) -> None:
    with ProcessPoolExecutor(2, mp_context=start_method, cancel_running=True) as pool:
        futures = [pool.submit(deaths.sleep_and_return, 0.0005) for _ in range(60)]
        told = [f.cancel() if i % 4 == 0 else False for i, f in enumerate(futures)]
        assert wait(futures, HANG).not_done == set()
        for future, cancelled in zip(futures, told, strict=True):
            assert future.cancelled() == cancelled
            assert cancelled or future.result() == 0.0005
        assert pool.submit(operator.neg, 1).result(HANG) == -1


# --- asyncio ------------------------------------------------------------------------------------------------


def test_a_timeout_of_asyncio_stops_the_work(start_method: str, gate: Gate) -> None:
    with ProcessPoolExecutor(1, mp_context=start_method, cancel_running=True) as pool:

        async def main() -> int:
            loop = asyncio.get_running_loop()
            work = loop.run_in_executor(pool, gate.stop)
            (pid,) = await asyncio.to_thread(gate.wait_arrivals)
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.01):
                    await work
            await asyncio.to_thread(wait_gone, pid)
            return await loop.run_in_executor(pool, operator.neg, 1)

        assert asyncio.run(main()) == -1


def test_a_task_group_that_fails_stops_the_work_of_its_tasks(gate: Gate) -> None:
    with ProcessPoolExecutor(2, cancel_running=True) as pool:

        async def work(task: object, *arguments: object) -> None:
            await asyncio.get_running_loop().run_in_executor(pool, task, *arguments)  # type: ignore[arg-type]

        async def fail() -> None:
            await asyncio.to_thread(gate.wait_arrivals)
            raise ValueError("enough")

        async def main() -> None:
            async with asyncio.TaskGroup() as group:
                group.create_task(work(gate.stop))
                group.create_task(fail())

        with pytest.raises(ExceptionGroup, match="TaskGroup"):
            asyncio.run(main())
        wait_gone(*gate.wait_arrivals())
        assert pool.submit(operator.neg, 1).result(HANG) == -1


def test_wrap_future_and_cancel(gate: Gate) -> None:
    with ProcessPoolExecutor(1, cancel_running=True) as pool:

        async def main() -> None:
            future = asyncio.wrap_future(pool.submit(gate.stop))
            (pid,) = await asyncio.to_thread(gate.wait_arrivals)
            future.cancel()
            with pytest.raises(asyncio.CancelledError):
                await future
            await asyncio.to_thread(wait_gone, pid)

        asyncio.run(main())
