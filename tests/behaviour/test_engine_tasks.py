"""What tasks may do to the process they run in."""

from __future__ import annotations

import operator
import os
from pathlib import Path

from executor import ProcessPoolExecutor, WorkerLost
from tests import deaths
from tests.support import HANG, Gate, alive, kill, program, wait_gone


def test_nested_executors(start_method: str) -> None:
    with ProcessPoolExecutor(2, mp_context=start_method) as pool:
        futures = [pool.submit(deaths.nest, start_method, 2, i) for i in range(2)]
        assert [f.result(2 * HANG) for f in futures] == [[0, -1, -2], [0, -2, -4]]


def test_processes_of_multiprocessing_and_subprocess(start_method: str) -> None:
    with ProcessPoolExecutor(1, mp_context=start_method) as pool:
        assert pool.submit(deaths.run_a_process, 5).result(HANG) == 5
        assert pool.submit(deaths.run_a_command, "exit 6").result(HANG) == 6
        assert pool.submit(deaths.use_a_standard_pool).result(HANG) == [0, -1, -2]


def test_a_child_left_behind_that_holds_every_descriptor(start_method: str, gate: Gate) -> None:
    with ProcessPoolExecutor(1, mp_context=start_method) as pool:
        child = pool.submit(deaths.leave_a_child_behind).result(HANG)
        try:
            worker = pool.submit(os.getpid).result(HANG)
            # The child keeps the worker's socket open: its end does not tell that the worker is gone.
            victim = pool.submit(gate.stop)
            gate.wait_arrivals()
            kill(worker)
            lost = victim.exception(HANG)
            assert isinstance(lost, WorkerLost)
            assert lost.pid == worker
            assert pool.submit(operator.neg, 1).result(HANG) == -1
            assert alive(child)
        finally:
            kill(child)
            wait_gone(child)


def test_a_child_left_behind_does_not_hold_up_the_end(start_method: str) -> None:
    with ProcessPoolExecutor(1, mp_context=start_method) as pool:
        child = pool.submit(deaths.leave_a_child_behind).result(HANG)
    kill(child)
    wait_gone(child)


def test_every_descriptor_closed(start_method: str) -> None:
    with ProcessPoolExecutor(2, mp_context=start_method) as pool:
        futures = [pool.submit(operator.neg, i) for i in range(10)]
        closer = pool.submit(deaths.close_every_descriptor)
        futures += [pool.submit(operator.neg, i) for i in range(10, 20)]
        # Its worker cannot speak any more, at least not by its socket.
        error = closer.exception(HANG)
        assert isinstance(error, WorkerLost) if error else closer.result() == "closed"
        assert [f.result(HANG) for f in futures] == [-i for i in range(20)]
        assert pool.submit(operator.neg, 1).result(HANG) == -1


def test_threads_left_behind() -> None:
    # Its interpreter waits for the thread, but nobody waits for ever for the interpreter.
    with ProcessPoolExecutor(1) as pool:
        pid = pool.submit(deaths.leave_a_thread_behind).result(HANG)
        assert pool.submit(os.getpid).result(HANG) == pid
    wait_gone(pid)


def test_signal_handlers_changed(start_method: str) -> None:
    with ProcessPoolExecutor(1, mp_context=start_method) as pool:
        pid = pool.submit(deaths.change_every_signal_handler).result(HANG)
        assert pool.submit(os.getpid).result(HANG) == pid
    wait_gone(pid)


def test_the_directory_changed_and_removed(start_method: str, tmp_path: Path) -> None:
    place = tmp_path / "gone"
    place.mkdir()
    with ProcessPoolExecutor(1, mp_context=start_method) as pool:
        pid = pool.submit(deaths.change_directory, str(place)).result(HANG)
        place.rmdir()
        # A function whose module this worker has not loaded yet is still found.
        assert pool.submit(deaths.import_and_call, "keyword", "iskeyword", "if").result(HANG) is True
        assert isinstance(pool.submit(deaths.die, "SIGKILL").exception(HANG), WorkerLost)
        assert pool.submit(os.getpid).result(HANG) != pid


def test_print_reaches_the_output_once(start_method: str, tmp_path: Path) -> None:
    with program("prints.py", start_method, directory=tmp_path) as run:
        assert run.wait() == 0, run.err
        assert sorted(run.out.split()) == sorted([*(f"task-{i}" for i in range(10)), "before", "after"])
        assert run.err == ""


def test_standard_streams_closed(start_method: str) -> None:
    with ProcessPoolExecutor(1, mp_context=start_method) as pool:
        assert pool.submit(deaths.close_standard_streams).result(HANG) is None
        assert pool.submit(operator.neg, 1).result(HANG) == -1


def test_a_task_that_forks_and_returns_in_both(start_method: str) -> None:
    """The child of a careless fork comes back from the task as well; it must not answer for the worker."""
    with ProcessPoolExecutor(1, mp_context=start_method) as pool:
        pid = pool.submit(os.getpid).result(HANG)
        answers = [pool.submit(deaths.fork_and_return).result(HANG) for _ in range(3)]
        assert all(answer == pid for answer in answers)
        assert list(pool.map(operator.neg, range(20), timeout=HANG)) == [-i for i in range(20)]


def test_a_result_that_is_nested_too_deep() -> None:
    with ProcessPoolExecutor(1) as pool:
        error = pool.submit(deaths.nested_list, 100_000).exception(HANG)
        assert error is not None
        assert not isinstance(error, WorkerLost)
        assert pool.submit(operator.neg, 1).result(HANG) == -1
