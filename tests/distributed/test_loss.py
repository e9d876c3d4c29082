"""Workers that go: what is lost, what runs again, what is told."""

from __future__ import annotations

import os
import pickle
import signal
import threading
from concurrent.futures import Future
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

import dask.config
import pytest
from distributed import Client

from executor._errors import WorkerLost
from executor.distributed import DaskExecutor
from tests import tasks
from tests.distributed.cluster import cluster
from tests.distributed.conftest import Make
from tests.support import HANG, Gate, eventually, kill, new_gate


def note_and_stop(path: str, gate: Gate, value: int) -> int:
    """Leave a line for this run, then wait."""
    tasks.append_line(path, str(value))
    gate.stop(str(value))
    return value


def note_and_die(path: str, times: int) -> int:
    """Die so often, then return how often it ran."""
    tasks.append_line(path, "run")
    runs = len(Path(path).read_text().split())
    if runs <= times:
        os.kill(os.getpid(), signal.SIGKILL)
    return runs


def test_a_worker_killed_in_the_middle_costs_the_task_that_it_ran(
    dask_executor: Make, gate: Gate, tmp_path: Path
) -> None:
    notes = str(tmp_path / "notes")
    executor = dask_executor()
    futures = [executor.submit(note_and_stop, notes, gate, i) for i in range(30)]
    victim, _ = gate.wait_arrivals(2)
    number = next(int(note) for pid, note in gate.arrivals() if pid == victim)
    kill(victim)
    error = futures[number].exception(HANG)
    assert isinstance(error, WorkerLost)
    assert error.pid == victim
    assert error.task == "tests.distributed.test_loss.note_and_stop"
    assert error.worker.startswith("tcp://127.0.0.1:")
    assert error.exitcode is None  # Dask does not tell it
    assert [attempt.pid for attempt in error.attempts] == [victim]
    gate.open()
    assert [f.result(HANG) for f in futures if f is not futures[number]] == [i for i in range(30) if i != number]
    # Dask would have run it again; and nothing else ran twice.
    assert sorted(map(int, Path(notes).read_text().split())) == list(range(30))


def test_it_reads_well_and_pickles(dask_executor: Make) -> None:
    error = dask_executor().submit(tasks.kill_itself, 9).exception(HANG)
    assert isinstance(error, BrokenProcessPool)
    assert str(error).endswith("was lost by the cluster while it ran tests.tasks.kill_itself")
    again = pickle.loads(pickle.dumps(error))
    assert str(again) == str(error)


def test_retries_run_it_again(dask_executor: Make, tmp_path: Path) -> None:
    executor = dask_executor()
    notes = str(tmp_path / "notes")
    assert executor.options(retries=2).submit(note_and_die, notes, 2).result(HANG) == 3
    assert eventually(lambda: executor.stats().retried == 2)


def test_the_last_of_the_retries_tells_all(dask_executor: Make, tmp_path: Path) -> None:
    notes = tmp_path / "notes"
    error = dask_executor(retries=1).submit(note_and_die, str(notes), 9).exception(HANG)
    assert isinstance(error, WorkerLost)
    assert len(error.attempts) == 2
    assert error.attempts[0].pid != error.attempts[1].pid == error.pid
    assert len(notes.read_text().split()) == 2
    assert "2 attempts were lost" in str(error)


def test_the_last_attempt_is_not_lost_with_the_one_before_it(dask_executor: Make, gate: Gate, tmp_path: Path) -> None:
    """Where the first loss is dealt with late, the second attempt has begun by then."""
    executor = dask_executor(retries=1)
    held, late = threading.Event(), threading.Event()

    def hold(_: Future[int]) -> None:  # where losses are dealt with
        held.set()
        late.wait(HANG)

    opener = new_gate(tmp_path)
    executor.submit(tasks.stop_at, opener).add_done_callback(hold)
    opener.open()
    assert held.wait(HANG)
    future = executor.submit(tasks.stop_at, gate, "kept")
    try:
        kill(gate.wait_arrivals(1)[0])
        eventually(lambda: executor.stats().retried == 1)
    finally:
        late.set()
    gate.open()
    assert future.result(HANG) == "kept"


def test_more_retries_than_the_scheduler_allows_failures(dask_executor: Make, tmp_path: Path) -> None:
    # After the first loss Dask gives the call up, with KilledWorker.
    executor = dask_executor(1, task_retries=2)
    assert executor.submit(note_and_die, str(tmp_path / "notes"), 2).result(HANG) == 3


def test_what_waited_at_a_lost_worker_is_not_lost(dask_executor: Make, single_client: Client, gate: Gate) -> None:
    # Dask gives these calls up as well: it does not know that they had not begun.
    executor = dask_executor(1)
    lost = executor.submit(tasks.stop_at, gate)
    (victim,) = gate.wait_arrivals()
    behind = [executor.submit(tasks.square, i) for i in range(3)]
    eventually(lambda: sum(map(len, single_client.processing().values())) >= 3)
    kill(victim)
    assert isinstance(lost.exception(HANG), WorkerLost)
    assert [f.result(HANG) for f in behind] == [0, 1, 4]


def test_no_retry_after_an_exception_of_its_own(dask_executor: Make, tmp_path: Path) -> None:
    path = tmp_path / "notes"

    def fail() -> None:
        tasks.append_line(str(path), "run")
        raise ValueError("its own")

    error = dask_executor(retries=3).submit(fail).exception(HANG)
    assert repr(error) == "ValueError('its own')"
    assert path.read_text() == "run\n"


def test_a_chunk_is_lost_as_a_whole(dask_executor: Make) -> None:
    results = list(dask_executor().map(die_on, [3] * 6, range(6), chunksize=2, return_exceptions=True))
    assert [r for r in results if not isinstance(r, BaseException)] == [0, 1, 4, 5]
    assert [type(r) for r in results[2:4]] == [WorkerLost, WorkerLost]


def die_on(bad: int, value: int) -> int:
    if value == bad:
        os.kill(os.getpid(), signal.SIGKILL)
    return value


def test_no_worker_is_left(tmp_path: Path) -> None:
    """The error comes at once; it does not wait for a worker that could be told not to run the call again."""
    with cluster(1, tmp_path, nanny=False) as alone, DaskExecutor(alone.address) as executor:
        lost = executor.submit(tasks.kill_itself, 9)
        assert isinstance(lost.exception(HANG), WorkerLost)
        waiting = executor.submit(tasks.square, 3)
        assert waiting.cancel()


def test_a_dependency_whose_worker_is_lost_later_does_not_run_again(
    dask_executor: Make, gate: Gate, tmp_path: Path
) -> None:
    executor = dask_executor()
    notes = str(tmp_path / "notes")
    blocker = new_gate(tmp_path)
    first = executor.submit(note_and_stop, notes, gate, 7)
    (victim,) = gate.wait_arrivals(1)
    # Occupies the other worker, so that Dask places what depends on the first result beside that result.
    other = executor.submit(tasks.stop_at, blocker)
    blocker.wait_arrivals(1)
    dependent = executor.submit(stop_with, first, new_gate(tmp_path), str(tmp_path / "second"))
    gate.open()
    assert first.result(HANG) == 7
    eventually((tmp_path / "second").exists)
    kill(victim)
    assert isinstance(dependent.exception(HANG), WorkerLost)
    after = executor.submit(tasks.add, first, 1)
    blocker.open()
    other.result(HANG)
    assert after.result(HANG) == 8
    assert Path(notes).read_text() == "7\n"


def stop_with(value: int, gate: Gate, path: str) -> int:
    Path(path).touch()
    gate.stop()
    return value


def test_many_kills_with_retries(dask_executor: Make, gate: Gate) -> None:
    """Kill every worker that begins something, four times: every result arrives, and is right."""
    executor = dask_executor(retries=4)
    futures = [executor.submit(tasks.stop_at, gate, i) for i in range(12)]
    for i in range(4):
        kill(gate.wait_arrivals(i + 1)[i])
    gate.open()
    assert [f.result(HANG) for f in futures] == list(range(12))


def test_the_scheduler_goes(tmp_path: Path, gate: Gate) -> None:
    with (
        cluster(1, tmp_path) as doomed,
        dask.config.set({"distributed.comm.timeouts.connect": "2s"}),
        DaskExecutor(doomed.address) as executor,
    ):
        address = doomed.address
        running = executor.submit(tasks.stop_at, gate)
        waiting = executor.submit(tasks.square, 3)
        gate.wait_arrivals()
        doomed.stop_scheduler()
        for future in (running, waiting):
            error = future.exception(HANG)
            assert isinstance(error, BrokenProcessPool)
            assert address in str(error)
        with pytest.raises(BrokenProcessPool, match=address):
            executor.submit(tasks.square, 4)
        gate.open()
