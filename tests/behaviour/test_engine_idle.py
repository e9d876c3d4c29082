"""No polling, and nothing left behind."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path

import pytest

from executor import ProcessPoolExecutor
from tests.support import HANG, Gate, cases, eventually, program, switches


def wait_silent(pids: list[int]) -> None:
    """Until for a second no thread of these processes was woken, this one apart.  Whoever polls never is."""

    def silent() -> bool:
        before = switches(pids, skip_thread=threading.get_native_id())
        time.sleep(1)  # the length of the look, not a wait for something
        return switches(pids, skip_thread=threading.get_native_id()) - before <= 1

    assert eventually(silent, every=0)


def test_idle_threads_and_workers_sleep(start_method: str, gate: Gate) -> None:
    with ProcessPoolExecutor(2, mp_context=start_method) as pool:
        futures = [pool.submit(gate.stop) for _ in range(2)]
        gate.wait_arrivals(2)
        gate.open()
        assert [f.result(HANG) for f in futures] == [None, None]
        wait_silent([os.getpid(), *(w.pid for w in pool.stats().workers)])


def test_waiting_for_a_long_task_sleeps_too(gate: Gate) -> None:
    with ProcessPoolExecutor(1) as pool:
        future = pool.submit(gate.wait_open)
        thread = threading.Thread(target=future.result)
        thread.start()
        wait_silent([os.getpid()])
        gate.open()
        thread.join(HANG)
        assert not thread.is_alive()


EVERYWHERE, ONCE = ["crash", "initializer", "no shutdown"], ["work", "crash while pickling", "large"]


@pytest.mark.parametrize(("start_method", "scene"), cases(EVERYWHERE, ONCE))
def test_a_program_leaves_no_process_no_file_and_no_word(start_method: str, scene: str, tmp_path: Path) -> None:
    with program("leaves_nothing.py", start_method, scene, directory=tmp_path) as run:
        assert run.wait() == 0, run.err
        assert run.err == ""
        assert run.out == "done\n"
        run.wait_family_gone()
    # Files in /dev/shm: the check after every test looks for them.
