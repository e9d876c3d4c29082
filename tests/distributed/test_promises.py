"""What the executor has beyond the contract that every executor keeps, and what it refuses."""

from __future__ import annotations

import asyncio
import itertools
import multiprocessing
import pickle
import re
import select
import threading
from pathlib import Path
from typing import Any

import dask.config
import pytest
from distributed import Client

from executor._errors import DependencyFailed, ForkedExecutor
from executor.distributed import DaskExecutor, NotSupportedByEngine
from executor.distributed._refusals import REFUSED_ARGUMENTS, REFUSED_METHODS
from tests import leaks, tasks
from tests.distributed.cluster import Cluster
from tests.distributed.conftest import Make
from tests.support import HANG, ROOT, Gate, eventually, in_forked_child, new_gate

# --- callbacks ----------------------------------------------------------------------------------------------


def test_callbacks_run_on_the_thread_that_made_the_executor(dask_executor: Make) -> None:
    executor = dask_executor()
    seen: list[tuple[str, Any, int]] = []
    asked = executor.options(
        callback=lambda value: seen.append(("value", value, threading.get_ident())),
        error_callback=lambda error: seen.append(("error", str(error), threading.get_ident())),
    )
    asked.submit(tasks.square, 3).result(HANG)
    asked.submit(tasks.raise_value_error, "wrong").exception(HANG)
    executor.shutdown()
    here = threading.get_ident()
    assert sorted(seen) == [("error", "wrong", here), ("value", 9, here)]


def test_run_callbacks_and_fileno(dask_executor: Make) -> None:
    executor = dask_executor()
    seen: list[int] = []
    assert executor.run_callbacks() == 0
    descriptor = executor.fileno()
    assert not select.select([descriptor], [], [], 0)[0]
    executor.options(callback=seen.append).submit(tasks.square, 4)
    assert select.select([descriptor], [], [], HANG)[0]
    assert seen == []
    assert executor.run_callbacks() == 1
    assert seen == [16]
    assert not select.select([descriptor], [], [], 0)[0]
    executor.options(callback=seen.append).submit(tasks.square, 5)
    assert executor.run_callbacks(timeout=HANG) == 1
    assert seen == [16, 25]


def test_callbacks_of_map_get_each_item(dask_executor: Make) -> None:
    executor = dask_executor()
    for chunksize in (1, 3):
        seen: list[Any] = []
        asked = executor.options(callback=seen.append, error_callback=lambda error: seen.append(str(error)))  # noqa: B023
        list(asked.map(tasks.error_on, [2] * 5, range(5), chunksize=chunksize, return_exceptions=True))
        while len(seen) < 5:
            executor.run_callbacks(HANG)
        assert sorted(map(str, seen)) == ["0", "1", "3", "4", "bad 2"]


def test_a_callback_may_use_the_executor(dask_executor: Make) -> None:
    executor = dask_executor()
    seen: list[int] = []

    def follow(value: int) -> None:
        seen.append(value)
        if value < 100:
            executor.options(callback=follow).submit(tasks.square, value)

    executor.options(callback=follow).submit(tasks.square, 2)
    while len(seen) < 3:
        executor.run_callbacks(HANG)
    assert seen == [4, 16, 256]


# --- pipelines ----------------------------------------------------------------------------------------------


def test_futures_as_arguments(dask_executor: Make, gate: Gate) -> None:
    executor = dask_executor()
    slow = executor.submit(tasks.stop_at, gate, 5)
    total = executor.submit(tasks.add, slow, b=executor.submit(tasks.square, 3))
    further = total.then(tasks.multiply, 10)
    gate.open()
    assert further.result(HANG) == 140
    assert executor.submit(tasks.add, total, further).result(HANG) == 154


def test_what_needs_a_failed_one_fails_with_its_error(dask_executor: Make, gate: Gate, tmp_path: Path) -> None:
    executor = dask_executor()
    failing = executor.submit(fail_after, gate)
    dependents = [executor.submit(tasks.touch, failing)]
    dependents.append(dependents[0].then(tasks.touch))
    gate.open()
    dependents.append(executor.submit(tasks.touch, failing))
    error = failing.exception(HANG)
    assert isinstance(error, ValueError)
    last = error
    for future in dependents:
        failure = future.exception(HANG)
        assert isinstance(failure, DependencyFailed)
        assert failure.__cause__ in (error, last)
        last = failure


def fail_after(gate: Gate) -> None:
    gate.stop()
    raise ValueError("the first one")


def test_what_needs_a_cancelled_one_is_cancelled(dask_executor: Make, gate: Gate) -> None:
    executor = dask_executor(1)
    executor.submit(tasks.stop_at, gate)
    gate.wait_arrivals()
    first = executor.submit(tasks.square, 3)
    second = executor.submit(tasks.square, first)
    assert first.cancel()
    assert eventually(second.cancelled)
    gate.open()


def test_a_future_of_another_executor_is_refused(dask_executor: Make) -> None:
    future = dask_executor().submit(tasks.square, 3)
    with pytest.raises(ValueError, match="another executor"):
        dask_executor().submit(tasks.square, future)


# --- asyncio ------------------------------------------------------------------------------------------------


def test_async_with_and_amap(dask_executor: Make) -> None:
    seen: list[tuple[int, int]] = []

    async def main() -> list[int]:
        async with dask_executor() as executor:
            asked = executor.options(callback=lambda value: seen.append((value, threading.get_ident())))
            futures = [asked.submit(tasks.square, i) for i in range(3)]
            results = [result async for result in executor.amap(tasks.square, range(5), buffersize=2)]
            assert await asyncio.wrap_future(futures[2]) == 4
        return results

    assert asyncio.run(main()) == [0, 1, 4, 9, 16]
    assert sorted(seen) == [(i * i, threading.get_ident()) for i in range(3)]


# --- order and look-ahead -----------------------------------------------------------------------------------


def test_priority(dask_executor: Make, single_client: Client, gate: Gate, tmp_path: Path) -> None:
    """Of the calls that wait in the scheduler; a worker holds up to two more, which are not called back."""
    executor = dask_executor(1)
    notes = tmp_path / "notes"
    executor.submit(tasks.stop_at, gate)
    gate.wait_arrivals()
    asked = [("held", 0), ("held", 0), ("low", -1), ("first", 0), ("second", 0), ("third", 0), ("high", 5)]
    for name, priority in asked:
        executor.options(priority=priority, name="note").submit(tasks.append_line, str(notes), name)
    eventually(lambda: single_client.run_on_scheduler(count_keys) == len(asked) + 1)
    gate.open()
    executor.shutdown()
    assert notes.read_text().split() == ["held", "held", "high", "first", "second", "third", "low"]


def count_keys(dask_scheduler: Any) -> int:
    return len(dask_scheduler.tasks)


def test_map_unordered_gives_what_is_ready(dask_executor: Make, gate: Gate) -> None:
    executor = dask_executor(2)
    results = executor.map_unordered(stop_if, [gate] * 5, [True, False, False, False, False])
    assert [next(results) for _ in range(4)] == [False] * 4
    gate.open()
    assert list(results) == [True]


def stop_if(gate: Gate, stop: bool) -> bool:
    if stop:
        gate.stop()
    return stop


def test_an_error_does_not_end_map_unordered(dask_executor: Make) -> None:
    results = dask_executor().map_unordered(tasks.error_on, [2] * 5, range(5))
    seen: list[Any] = []
    while len(seen) < 5:
        try:
            seen.append(next(results))
        except ValueError as error:
            seen.append(str(error))
    assert sorted(map(str, seen)) == ["0", "1", "3", "4", "bad 2"]
    assert next(results, "end") == "end"


@pytest.mark.parametrize("unordered", [False, True])
def test_buffersize_bounds_the_look_ahead(dask_executor: Make, unordered: bool) -> None:
    executor = dask_executor()
    read: list[int] = []

    def endless() -> Any:
        for i in itertools.count():
            read.append(i)
            yield i

    method = executor.map_unordered if unordered else executor.map
    results = method(tasks.square, endless(), buffersize=4)
    assert len(read) == 4
    taken = [next(results) for _ in range(10)]
    assert len(read) == 14
    assert len(taken) == 10
    if not unordered:
        assert taken == [i * i for i in range(10)]


def test_an_endless_map_reads_a_bounded_way_ahead(dask_executor: Make) -> None:
    results = dask_executor().map(tasks.square, itertools.count())
    assert [next(results) for _ in range(3)] == [0, 1, 4]
    results.close()  # type: ignore[attr-defined]


def test_return_exceptions(dask_executor: Make) -> None:
    results = list(dask_executor().map(tasks.error_on, [1] * 3, range(3), return_exceptions=True))
    assert [repr(result) for result in results] == ["0", "ValueError('bad 1')", "2"]


# --- stats --------------------------------------------------------------------------------------------------


def test_stats(dask_executor: Make, gate: Gate) -> None:
    executor = dask_executor(1)
    executor.submit(tasks.square, 3).result(HANG)
    executor.submit(tasks.raise_value_error, "wrong").exception(HANG)
    running = executor.options(name="the slow one").submit(tasks.stop_at, gate)
    (pid,) = gate.wait_arrivals()
    eventually(running.running)
    waiting = executor.submit(tasks.nothing)
    assert executor.submit(tasks.nothing).cancel()
    stats = executor.stats()
    assert (stats.submitted, stats.done, stats.failed, stats.cancelled) == (5, 1, 1, 1)
    assert (stats.running, stats.pending, stats.retried) == (1, 1, 0)
    (worker,) = stats.workers
    assert (worker.pid, worker.task, worker.tasks_done) == (pid, "the slow one", 2)
    assert worker.task_seconds is not None
    gate.open()
    waiting.result(HANG)
    executor.shutdown()
    assert executor.stats().done == 3


def test_names_are_seen_in_dask(dask_executor: Make, gate: Gate, pair_client: Client) -> None:
    dask_executor().options(name="resize image").submit(tasks.stop_at, gate)
    gate.wait_arrivals()
    assert any(key.startswith("resize image-") for keys in pair_client.processing().values() for key in keys)
    gate.open()


# --- refusals -----------------------------------------------------------------------------------------------

ASKING: dict[str, Any] = {
    "initargs": (1,),
    "cancel_running": True,
    "retry_on_timeout": True,
    "forward_logging": True,
    "progress": True,
}


@pytest.mark.parametrize("name", sorted(REFUSED_ARGUMENTS))
def test_an_argument_that_dask_cannot_honour_is_refused(dask_executor: Make, name: str) -> None:
    executor = dask_executor()
    value = ASKING.get(name, 5)
    for ask in (executor.options, dask_executor):
        with pytest.raises(NotSupportedByEngine, match=f"^Dask distributed cannot keep {name}=: ") as caught:
            ask(**{name: value})
        again = pickle.loads(pickle.dumps(caught.value))
        assert (str(again), again.promise) == (str(caught.value), f"{name}=")


def test_an_argument_that_asks_for_nothing_is_taken(dask_executor: Make) -> None:
    neutral = {name: nothing for name, (nothing, _) in REFUSED_ARGUMENTS.items()}
    with dask_executor(**neutral) as executor:
        assert executor.options(timeout=None, cancel_running=False).submit(tasks.square, 3).result(HANG) == 9


@pytest.mark.parametrize("name", sorted(REFUSED_METHODS))
def test_a_method_that_dask_cannot_honour_is_refused(dask_executor: Make, name: str) -> None:
    method = getattr(dask_executor(), name)
    with pytest.raises(NotSupportedByEngine, match=re.escape(f"cannot keep {name}(): ")):
        method(tasks.nothing) if name == "broadcast" else method()


def test_a_name_that_nobody_knows(dask_executor: Make) -> None:
    with pytest.raises(TypeError, match="no_such_option"):
        dask_executor().options(no_such_option=1)
    with pytest.raises(TypeError, match="no_such_option"):
        dask_executor(no_such_option=1)


@pytest.mark.parametrize("options", [{"retries": -1}, {"retries": 1.5}, {"callback": 3}])
def test_wrong_values(dask_executor: Make, options: dict[str, Any]) -> None:
    with pytest.raises((TypeError, ValueError)):
        dask_executor().options(**options)


def test_an_asynchronous_client_is_refused() -> None:
    async def main() -> None:
        async with Client(processes=False, n_workers=0, dashboard_address=None, asynchronous=True) as client:
            with pytest.raises(NotSupportedByEngine, match="asynchronous"):
                DaskExecutor(client)

    asyncio.run(main())


def test_what_belongs_to_one_machine_does_not_travel(dask_executor: Make) -> None:
    with pytest.raises(RuntimeError, match="inheritance"):
        dask_executor().submit(tasks.same, multiprocessing.Lock()).result(HANG)


def test_the_table_of_the_docs_is_complete() -> None:
    table = (ROOT / "docs" / "distributed.md").read_text()
    for name, (_, instead) in REFUSED_ARGUMENTS.items():
        assert f"`{name}`" in table, name
        assert instead in table, name
    for name, instead in REFUSED_METHODS.items():
        assert f"`{name}()`" in table, name
        assert instead in table, name


# --- the connection -----------------------------------------------------------------------------------------


def test_an_address_and_nothing_is_left_behind(pair: Cluster) -> None:
    before = leaks.Snapshot.take()
    with DaskExecutor(pair.address, retries=1) as executor:
        assert list(executor.map(tasks.square, range(5))) == [0, 1, 4, 9, 16]
        executor.fileno()
    del executor
    leak = leaks.leaked_since(before)
    assert (leak.threads, leak.descriptors) == ({}, {})


def test_a_client_of_the_caller_stays_open(pair_client: Client) -> None:
    with DaskExecutor(pair_client) as executor:
        executor.submit(tasks.nothing).result(HANG)
    assert pair_client.submit(tasks.square, 3).result(HANG) == 9


def test_it_does_not_become_dask_default_client(pair: Cluster) -> None:
    with DaskExecutor(pair.address), pytest.raises(ValueError, match="No client"):
        Client.current()


def test_nothing_of_a_call_stays_in_the_scheduler(dask_executor: Make, pair_client: Client) -> None:
    executor = dask_executor()
    first = executor.submit(tasks.square, 2)
    executor.submit(tasks.add, first, 1).result(HANG)
    executor.submit(tasks.raise_value_error, "wrong").exception(HANG)
    eventually(lambda: pair_client.run_on_scheduler(known_keys) == ([], []))


def known_keys(dask_scheduler: Any) -> tuple[list[str], list[str]]:
    ledger = dask_scheduler.plugins["executor-ledger"]
    return list(dask_scheduler.tasks), list(ledger._entries)


def test_no_scheduler_there() -> None:
    soon = dask.config.set({"distributed.comm.timeouts.connect": "200ms"})
    with soon, pytest.raises(OSError, match=re.escape("tcp://127.0.0.1:1")):
        DaskExecutor("tcp://127.0.0.1:1")


def test_a_forked_child_is_told(dask_executor: Make, gate: Gate) -> None:
    executor = dask_executor()
    future = executor.submit(tasks.stop_at, gate, 3)
    for act in (lambda: executor.submit(tasks.square, 3), future.result, future.cancel):
        assert in_forked_child(act).startswith(ForkedExecutor.__name__)
    assert in_forked_child(executor.shutdown) == "returned None"
    gate.open()
    assert future.result(HANG) == 3


def test_two_gates_two_executors_on_one_cluster(dask_executor: Make, tmp_path: Path) -> None:
    """Shutting one down leaves the other's calls alone."""
    gates = [new_gate(tmp_path), new_gate(tmp_path)]
    first, second = dask_executor(), dask_executor()
    futures = [
        executor.submit(tasks.stop_at, gate, i)
        for i, (executor, gate) in enumerate(zip((first, second), gates, strict=True))
    ]
    for gate in gates:
        gate.wait_arrivals()
    gates[0].open()
    first.shutdown(cancel_futures=True)
    assert futures[0].result(HANG) == 0
    gates[1].open()
    assert futures[1].result(HANG) == 1
