"""`share`: pickled and copied once, a private copy for each task, freed when nobody needs it any more."""

from __future__ import annotations

import gc
import multiprocessing
import os
import pickle
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy
import pytest

import executor
from executor import ProcessPoolExecutor, WorkerLost, _share
from executor._depot import depot
from executor._pickling import Parcel, decode_parcel, encode
from tests import deaths, tasks
from tests.support import HANG, ROOT, Gate, eventually

SIZE = 1_000_000


def segments_of(pid: int | str = "self") -> int:
    """How many descriptors of a process are of files that hold large data."""
    links = []
    for link in Path(f"/proc/{pid}/fd").iterdir():
        try:
            links.append(os.readlink(link))
        except OSError:  # closed meanwhile
            continue
    return sum("executor-segment" in link for link in links)


def total(array: numpy.ndarray, factor: int = 1) -> float:
    return float(array.sum()) * factor


def total_inside(things: dict[str, list[numpy.ndarray]]) -> float:
    return float(things["arrays"][0].sum())


def append(things: list[list[int]]) -> int:
    things[1].append(1)
    return len(things[1])


def overwrite(things: list[numpy.ndarray]) -> None:
    things[0][:] = -1


def segments_here(array: numpy.ndarray) -> int:
    return segments_of()


def mapped_here() -> int:
    """How many mappings this process has of such files, those of which a descriptor is open counted twice."""
    return Path("/proc/self/maps").read_text().count("executor-segment") + segments_of()


def die_with(array: numpy.ndarray) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def same_object(first: numpy.ndarray, second: numpy.ndarray) -> float:
    return float((first - second).sum())


def test_a_task_gets_the_object(start_method: str) -> None:
    array = numpy.arange(SIZE, dtype=float)
    with ProcessPoolExecutor(2, mp_context=start_method) as pool, executor.share(array) as shared:
        futures = [pool.submit(total, shared, factor) for factor in range(10)]
        assert [f.result(HANG) for f in futures] == [array.sum() * factor for factor in range(10)]
        assert pool.submit(total_inside, {"arrays": [shared]}).result(HANG) == array.sum()
        assert pool.submit(same_object, shared, shared).result(HANG) == 0
        assert list(pool.map(total, [shared] * 3, range(3), timeout=HANG)) == [0, array.sum(), 2 * array.sum()]


def scaled(array: numpy.ndarray, scale: Callable[[float], float], lock: Any) -> float:
    with lock:
        return scale(float(array.sum()))


def test_beside_what_cannot_be_pickled_plainly(start_method: str) -> None:
    """A function without a name, a lock, and one that fails after the handle: its descriptor is not left open."""
    lock = multiprocessing.get_context("forkserver").Lock()
    with ProcessPoolExecutor(1, mp_context=start_method) as pool, executor.share(numpy.ones(SIZE)) as shared:
        assert pool.submit(scaled, shared, lambda x: 2 * x, lock).result(HANG) == 2 * SIZE
        assert pool.submit(scaled, shared, abs, lock).result(HANG) == SIZE
        open_now = segments_of()
        with pytest.raises(TypeError, match="generator"):
            pool.submit(tasks.capture, shared, (x for x in ())).result(HANG)
        assert segments_of() == open_now


def test_it_takes_no_cloudpickle() -> None:
    """Which takes 50 ms to import."""
    code = """
import sys, executor
from tests import tasks
with executor.ProcessPoolExecutor(1, "fork") as pool, executor.share(b"x" * 10**6) as shared:
    assert len(pool.submit(tasks.same, shared).result()) == 10**6
print("cloudpickle" in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, timeout=HANG)
    assert (done.stdout, done.stderr) == ("False\n", "")


def test_no_task_sees_what_another_has_written() -> None:
    with ProcessPoolExecutor(1) as pool, executor.share([numpy.ones(SIZE), []]) as shared:
        assert [pool.submit(append, shared).result(HANG) for _ in range(3)] == [1, 1, 1]
        with pytest.raises(ValueError, match="read-only"):
            pool.submit(overwrite, shared).result(HANG)


def test_an_idle_worker_lets_go_of_it() -> None:
    with ProcessPoolExecutor(1) as pool:
        worker = pool.submit(os.getpid).result(HANG)
        with executor.share(numpy.ones(SIZE)) as shared:
            assert pool.submit(total, shared).result(HANG) == SIZE
        eventually(lambda: segments_of(worker) == 0)


def test_a_worker_does_not_keep_everything() -> None:
    with ProcessPoolExecutor(1) as pool:
        for number in range(12):
            shared = executor.share(numpy.full(SIZE // 8, number, dtype=float))
            assert pool.submit(total, shared).result(HANG) == SIZE // 8 * number
            assert pool.submit(total, shared).result(HANG) == SIZE // 8 * number


def test_it_is_copied_once_and_freed_with_the_handle() -> None:
    array = numpy.ones(SIZE)
    before = segments_of()
    shared = executor.share(array)
    assert segments_of() == before + 1
    with ProcessPoolExecutor(2) as pool:
        assert list(pool.map(total, [shared] * 20, timeout=HANG)) == [SIZE] * 20
        assert segments_of() == before + 1
        del shared
        gc.collect()
        eventually(lambda: segments_of() == before)
        assert pool.submit(segments_here, array[:1]).result(HANG) == 0


@pytest.fixture
def written_before() -> Iterator[None]:
    """There is a file in the depot, larger than what the test shares: it is written again, through a mapping."""
    depot.release()
    with ProcessPoolExecutor(1) as pool:
        assert pool.submit(total, numpy.ones(2 * SIZE)).result(HANG) == 2 * SIZE
        yield


def test_a_file_that_was_written_before_goes_with_the_handle(written_before: None) -> None:
    with executor.share(numpy.ones(SIZE)), ProcessPoolExecutor(1, mp_context="fork") as forked:
        assert len(depot) == 0  # it was that file
        assert mapped_here() > 0
        assert forked.submit(mapped_here).result(HANG) == 0  # a mapping would be inherited, and keep the memory
    assert mapped_here() == 0


def test_a_mapping_of_it_is_kept_until_the_handle_is_closed(written_before: None) -> None:
    with executor.share(numpy.ones(SIZE)) as shared:
        parcel = encode(shared)
        assert isinstance(parcel, Parcel)
        assert decode_parcel(parcel.data, parcel.fds).sum() == SIZE  # as in a worker
        _share.release_closed()
        assert len(_share.kept) == 1
    _share.release_closed()
    assert not _share.kept


def test_a_pending_task_keeps_it(gate: Gate) -> None:
    with ProcessPoolExecutor(1) as pool:
        running = pool.submit(deaths.stop_and_neg, gate, 1)
        gate.wait_arrivals(1)
        future = pool.submit(total, executor.share(numpy.ones(SIZE)))
        gc.collect()
        gate.open()
        assert running.result(HANG) == -1
        assert future.result(HANG) == SIZE


def test_nothing_is_left_when_workers_are_killed() -> None:
    before = segments_of()
    with ProcessPoolExecutor(2) as pool, executor.share(numpy.ones(SIZE)) as shared:
        futures = [pool.submit(die_with, shared) for _ in range(4)]
        assert [type(f.exception(HANG)) for f in futures] == [WorkerLost] * 4
        assert pool.submit(total, shared).result(HANG) == SIZE
    eventually(lambda: segments_of() == before)


def test_small_objects_and_functions_of_main_can_be_shared_too() -> None:
    with ProcessPoolExecutor(1) as pool, executor.share({"a": 1}) as shared:
        assert pool.submit(deaths.same, shared).result(HANG) == {"a": 1}
        assert shared.get() == {"a": 1}


def test_get_returns_the_object() -> None:
    with executor.share([numpy.ones(SIZE)]) as shared:
        first, second = shared.get(), shared.get()
        assert first is not second
        assert first[0].sum() == second[0].sum() == SIZE
    assert first[0].sum() == SIZE


def test_a_closed_handle_says_so() -> None:
    with ProcessPoolExecutor(1) as pool:
        shared = executor.share(numpy.ones(SIZE))
        shared.close()
        with pytest.raises(ValueError, match="closed"):
            shared.get()
        with pytest.raises(ValueError, match="closed"):
            pool.submit(total, shared).result(HANG)
        assert "closed" in repr(shared)


def test_what_cannot_be_shared_is_named() -> None:
    with pytest.raises(TypeError, match="pickle"):
        executor.share(threading.Lock())
    near, far = socket.socketpair()
    with near, far, pytest.raises(pickle.PicklingError, match="open descriptor"):
        executor.share(near)


def test_plain_pickle_refuses_a_handle() -> None:
    with executor.share(numpy.ones(SIZE)) as shared, pytest.raises(pickle.PicklingError):
        pickle.dumps(shared)
