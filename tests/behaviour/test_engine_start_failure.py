"""Workers that cannot start fail the futures with the cause; nothing hangs, nothing starts for ever."""

from __future__ import annotations

import os
from multiprocessing.context import ForkContext, ForkProcess
from pathlib import Path

import pytest

from executor import ProcessPoolExecutor, RestartLimitReached
from tests import tasks
from tests.support import HANG, program


def test_no_descriptors_left(start_method: str, tmp_path: Path) -> None:
    with program("no_descriptors.py", start_method, directory=tmp_path) as run:
        assert run.wait() == 0, run.out + run.err
        assert run.out.splitlines() == ["refused", "works again"]
        run.wait_family_gone()


@pytest.mark.parametrize("method", ["spawn", "loky"])
def test_an_interpreter_that_cannot_start(method: str, tmp_path: Path) -> None:
    with program("no_interpreter.py", method, directory=tmp_path) as run:
        assert run.wait() == 0, run.out + run.err
        assert run.out.splitlines() == ["refused", "refused again", "works again"]
        run.wait_family_gone()


class OnlyTheFirst(ForkProcess):
    """As under Python 3.12 once the program has come to its end: nothing forks any more."""

    started = 0

    def start(self) -> None:
        type(self).started += 1
        if type(self).started > 1:
            raise RuntimeError("can't fork at interpreter shutdown")
        super().start()


class OneForkContext(ForkContext):
    Process = OnlyTheFirst


@pytest.fixture
def one_fork() -> OneForkContext:
    OnlyTheFirst.started = 0
    return OneForkContext()


def test_the_workers_that_are_there_do_the_work_of_one_that_cannot_start(one_fork: OneForkContext) -> None:
    with ProcessPoolExecutor(2, one_fork) as pool:
        futures = [pool.submit(os.getpid) for _ in range(100)]
        assert len({future.result(HANG) for future in futures}) == 1
        assert OnlyTheFirst.started > 1


def test_none_is_there_that_could_do_the_work(one_fork: OneForkContext) -> None:
    with ProcessPoolExecutor(1, one_fork) as pool:
        pool.submit(os._exit, 1).exception(HANG)
        with pytest.raises(RestartLimitReached, match="can't fork at interpreter shutdown"):
            pool.submit(tasks.nothing).result(HANG)


def test_none_is_there_that_may_do_the_work(one_fork: OneForkContext) -> None:
    with ProcessPoolExecutor(2, one_fork) as pool:
        pool.options(slot=0).submit(tasks.nothing).result(HANG)
        with pytest.raises(RestartLimitReached, match="can't fork at interpreter shutdown"):
            pool.options(slot=1).submit(tasks.nothing).result(HANG)
