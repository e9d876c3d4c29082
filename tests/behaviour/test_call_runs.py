"""Quick calls of one function, which go to a worker together: each is a task of its own all the same."""

from __future__ import annotations

import json
import os
import signal
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError
from pathlib import Path
from typing import Any

import pytest

from executor import Future, ProcessPoolExecutor, WorkerLost, as_completed, current_task, report_progress, wait
from tests import tasks
from tests.behaviour.test_series import FAULTY, forking, numbers, of_many_types, often_another, raising, texts, told
from tests.support import HANG, Gate, eventually


def noted(file: str, bad: int, x: int) -> int:
    """One line for each that began; the bad one kills its worker."""
    with open(file, "ab", buffering=0) as lines:
        lines.write(b"%d\n" % x)
    if x == bad:
        os.kill(os.getpid(), signal.SIGKILL)
    return -x


def killing_once(mark: str, bad: int, x: int) -> int:
    if x == bad and not os.path.exists(mark):
        Path(mark).touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return -x


def stopping(directory: str, bad: int, x: int) -> int:
    if x >= bad:
        Gate(directory).stop(str(x))
    return -x


def known_as(x: int) -> str:
    task = current_task()
    return f"{task.name} {task.attempt}" if task is not None else ""


def reporting(x: int) -> int:
    report_progress(x, 1000)
    return x


def submit_many(pool: ProcessPoolExecutor, fn: Callable[..., Any], *args: Any, count: int) -> list[Future[Any]]:
    """Calls of which it is known by then how quick they are."""
    wait([pool.submit(fn, *args, -1 - x) for x in range(50)], HANG)
    return [pool.submit(fn, *args, x) for x in range(count)]


@pytest.fixture
def pool(start_method: str) -> Iterator[ProcessPoolExecutor]:
    with ProcessPoolExecutor(2, mp_context=start_method) as pool:
        yield pool


def results_of(futures: list[Future[Any]]) -> list[Any]:
    return [future.result(HANG) for future in futures]


# --- what comes back ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fn", [of_many_types, often_another, numbers, texts])
def test_each_future_has_its_own_result(pool: ProcessPoolExecutor, fn: Any) -> None:
    found = results_of(submit_many(pool, fn, count=3000))
    assert found == list(map(fn, range(3000)))
    assert list(map(type, found)) == list(map(type, map(fn, range(3000))))
    assert (pool.stats().submitted, pool.stats().done) == (3050, 3050)


def test_of_any_number_of_arguments(pool: ProcessPoolExecutor) -> None:
    calls = [(), (1,), ("a", 2), (None, True, b"c", 4.5)] * 500
    futures = [pool.submit(tasks.capture, *args) for args in calls]
    assert results_of(futures) == [(args, {}) for args in calls]


def test_arguments_that_go_one_by_one(pool: ProcessPoolExecutor) -> None:
    values: list[Any] = [1, [1], {2: 3}, "a" * 5000, b"b" * 300_000, (1, 2), 2.5] * 200
    assert results_of([pool.submit(tasks.same, value) for value in values]) == values


def test_several_functions_take_turns(pool: ProcessPoolExecutor) -> None:
    futures = [(fn, x, pool.submit(fn, x)) for x in range(1500) for fn in (numbers, texts)]
    assert [future.result(HANG) for _, _, future in futures] == [fn(x) for fn, x, _ in futures]


@FAULTY
def test_each_has_its_own_error(pool: ProcessPoolExecutor, fn: Any, errors: dict[int, str]) -> None:
    futures = submit_many(pool, fn, count=2000)
    found = {x: future.exception(HANG) for x, future in enumerate(futures)}
    assert {x: told(error) for x, error in found.items() if error is not None} == errors
    assert len({id(error) for error in found.values() if error is not None}) == len(errors)
    assert all(futures[x].result() == fn(x) for x in range(2000) if x not in errors)


def test_waiting_and_callbacks(pool: ProcessPoolExecutor) -> None:
    called: list[int] = []
    some = ProcessPoolExecutor.options(pool, callback=called.append)
    futures = [some.submit(numbers, x) for x in range(1000)]
    done: list[Future[int]] = []
    for future in futures[::10]:
        future.add_done_callback(done.append)
    assert {future.result() for future in as_completed(futures, HANG)} == {-x for x in range(1000)}
    assert wait(futures, HANG).not_done == set()
    assert sorted(called) == sorted(-x for x in range(1000))
    eventually(lambda: sorted(map(id, done)) == sorted(map(id, futures[::10])))


def test_a_task_knows_what_it_is(pool: ProcessPoolExecutor) -> None:
    assert set(results_of(submit_many(pool, known_as, count=500))) == {"tests.behaviour.test_call_runs.known_as 1"}


def test_what_tasks_report(pool: ProcessPoolExecutor) -> None:
    futures = submit_many(pool, reporting, count=300)
    assert results_of(futures) == list(range(300))
    assert all(future.progress in (None, (x, 1000)) for x, future in enumerate(futures))


# --- what befalls one of them ---------------------------------------------------------------------------------


def test_a_death_costs_the_call_that_ran_and_none_runs_twice(pool: ProcessPoolExecutor, tmp_path: Path) -> None:
    file = tmp_path / "began"
    futures = submit_many(pool, noted, str(file), 700, count=1500)
    lost = futures.pop(700).exception(HANG)
    assert isinstance(lost, WorkerLost)
    assert lost.task == "tests.behaviour.test_call_runs.noted"
    assert results_of(futures) == [-x for x in range(1500) if x != 700]
    assert Counter(map(int, file.read_bytes().split())) == Counter(range(-50, 1500))


def test_one_that_kills_its_worker_runs_again(start_method: str, tmp_path: Path) -> None:
    with ProcessPoolExecutor(2, mp_context=start_method, task_retries=2) as pool:
        futures = submit_many(pool, killing_once, str(tmp_path / "mark"), 300, count=1000)
        assert results_of(futures) == [-x for x in range(1000)]
        assert [len(future.attempts) for future in futures] == [int(x == 300) for x in range(1000)]
        assert pool.stats().retried == 1


def test_a_slow_call_holds_up_none_before_it_nor_those_behind_it(pool: ProcessPoolExecutor, gate: Gate) -> None:
    futures = submit_many(pool, stopping, gate.directory, 10_000, count=700)
    slow = pool.submit(stopping, gate.directory, 0, 1)
    futures += [pool.submit(stopping, gate.directory, 10_000, x) for x in range(700, 1500)]
    assert results_of(futures) == [-x for x in range(1500)]
    assert slow.running()
    assert not slow.cancel()
    gate.open()
    assert slow.result(HANG) == -1


def test_what_has_not_begun_can_be_cancelled(start_method: str, gate: Gate) -> None:
    with ProcessPoolExecutor(1, mp_context=start_method) as pool:
        futures = submit_many(pool, stopping, gate.directory, 100, count=200)
        gate.wait_arrivals(1)  # of number 100: it had the next ones behind it
        assert results_of(futures[:100]) == [-x for x in range(100)]
        assert not futures[100].cancel()
        assert all(future.cancel() for future in futures[150:])
        gate.open()
        assert results_of(futures[100:150]) == [-x for x in range(100, 150)]
        for future in futures[150:]:
            with pytest.raises(CancelledError):
                future.result(HANG)
    assert sorted(int(note) for _, note in gate.arrivals()) == list(range(100, 150))


def test_cancelled_while_they_run(pool: ProcessPoolExecutor, tmp_path: Path) -> None:
    """Each that was cancelled has not run, each that was not has."""
    file = tmp_path / "began"
    futures = submit_many(pool, noted, str(file), -1000, count=2000)
    cancelled = {x for x in range(1999, 0, -50) if futures[x].cancel()}
    wait(futures, HANG)
    assert {x for x, future in enumerate(futures) if future.cancelled()} == cancelled
    assert Counter(map(int, file.read_bytes().split())) == Counter(set(range(-50, 2000)) - cancelled)


def test_a_child_that_comes_back_says_nothing(pool: ProcessPoolExecutor) -> None:
    for x in range(50):
        pool.submit(forking, -1, x)
    assert results_of([pool.submit(forking, 300, x) for x in range(1000)]) == list(range(1000))


# --- beside all else that a pool does -------------------------------------------------------------------------


def test_a_worker_takes_no_more_than_its_quota(start_method: str) -> None:
    with ProcessPoolExecutor(2, mp_context=start_method, max_tasks_per_child=60) as pool:
        pids = Counter(results_of(submit_many(pool, tasks.pid, count=200)))
        assert max(pids.values()) <= 60


def test_many_threads_submit(pool: ProcessPoolExecutor) -> None:
    found: dict[int, list[int]] = {}

    def work(number: int) -> None:
        found[number] = results_of([pool.submit(tasks.add, number, x) for x in range(1000)])

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(HANG)
    assert found == {number: [number + x for x in range(1000)] for number in range(4)}


def test_higher_priorities_come_first(start_method: str, gate: Gate, tmp_path: Path) -> None:
    with ProcessPoolExecutor(1, mp_context=start_method) as pool:
        results_of([pool.submit(noted, str(tmp_path / "warm"), -1, x) for x in range(50)])
        blocker = pool.submit(tasks.stop_at, gate)
        gate.wait_arrivals()
        file = str(tmp_path / "began")
        for x in range(300):
            pool.options(priority=x % 3).submit(noted, file, -1, x)
        gate.open()
        blocker.result(HANG)
    order = [int(line) for line in Path(file).read_bytes().split()]
    assert order == sorted(range(300), key=lambda x: (-(x % 3), x))


def test_a_trace_has_each(start_method: str, tmp_path: Path) -> None:
    path = tmp_path / "trace.json"
    with ProcessPoolExecutor(2, mp_context=start_method) as pool:
        early = submit_many(pool, numbers, count=500)
        with pool.trace(path):
            futures = submit_many(pool, raising, count=1000)
            assert sum(future.exception(HANG) is not None for future in futures) == 100
        results_of(early)
    rows = [row for row in json.loads(path.read_text()) if row.get("cat") == "task"]
    mine = [row for row in rows if row["name"].endswith("raising")]
    assert len(mine) == 1050
    assert sum(row["args"]["outcome"] == "error" for row in mine) == 105
    assert all(row["tid"] for row in mine)
