"""Every way for a worker to die, at every moment: it costs the task that it ran and nothing else."""

from __future__ import annotations

import operator
import os
import signal
from pathlib import Path

import pytest

from executor import Future, InitializerError, ProcessPoolExecutor, WorkerLost
from tests import deaths
from tests.support import HANG, Gate, cases, chain, kill, new_gate, wait_gone, wait_stopped

MOMENTS = ["unpickle call", "run", "pickle outcome"]


def submit_death(pool: ProcessPoolExecutor, moment: str, how: str) -> Future:
    if moment == "unpickle call":
        return pool.submit(id, deaths.DiesOnLoad(how))
    if moment == "run":
        return pool.submit(deaths.die, how)
    return pool.submit(deaths.make_dies_on_dump, how)


def assert_says_who_died(lost: BaseException | None, how: str, function: str) -> None:
    assert isinstance(lost, WorkerLost)
    assert lost.exitcode == deaths.DEATHS[how]
    assert lost.pid not in (None, os.getpid())
    assert function in str(lost.task)
    sentence = str(lost)
    assert str(lost.pid) in sentence
    assert function in sentence
    if lost.exitcode < 0:
        assert lost.signal_name == signal.Signals(-lost.exitcode).name
        assert lost.signal_name in sentence
    else:
        assert lost.signal_name is None
        assert str(lost.exitcode) in sentence


@pytest.mark.parametrize(("start_method", "how"), cases(deaths.COMMON, deaths.RARE))
@pytest.mark.parametrize("moment", MOMENTS)
def test_a_death_costs_only_its_own_task(start_method: str, moment: str, how: str, gate: Gate) -> None:
    with ProcessPoolExecutor(2, mp_context=start_method) as pool:
        neighbour = pool.submit(gate.stop)
        gate.wait_arrivals()
        victim = submit_death(pool, moment, how)
        behind = [pool.submit(operator.neg, i) for i in range(20)]
        function = {"unpickle call": "id", "run": "die", "pickle outcome": "make_dies_on_dump"}[moment]
        assert_says_who_died(victim.exception(HANG), how, function)
        assert [f.result(HANG) for f in behind] == [-i for i in range(20)]
        gate.open()
        assert neighbour.result(HANG) is None
        assert list(pool.map(abs, range(-5, 0), timeout=HANG)) == [5, 4, 3, 2, 1]


@pytest.mark.parametrize(("start_method", "how"), cases(deaths.COMMON, deaths.RARE))
def test_an_idle_death_costs_nothing(start_method: str, how: str, gate: Gate) -> None:
    with ProcessPoolExecutor(1, mp_context=start_method) as pool:
        pid = pool.submit(deaths.die_later, how, gate).result(HANG)
        gate.open()
        wait_gone(pid)
        assert pool.submit(os.getpid).result(HANG) not in (pid, os.getpid())


@pytest.mark.parametrize(("start_method", "how"), cases(["SIGKILL"], ["exit-0", "segfault", "abort"]))
def test_an_initializer_that_dies_once_is_forgiven(start_method: str, how: str, tmp_path: Path) -> None:
    flag = str(tmp_path / "died")
    with ProcessPoolExecutor(1, mp_context=start_method, initializer=deaths.die_once, initargs=(how, flag)) as pool:
        assert pool.submit(operator.neg, 3).result(HANG) == -3
    assert os.path.exists(flag)


@pytest.mark.parametrize(("start_method", "how"), cases(["SIGKILL"], ["exit-0", "exit-7", "segfault"]))
def test_an_initializer_that_always_dies_fails_what_is_pending(start_method: str, how: str) -> None:
    with ProcessPoolExecutor(2, mp_context=start_method, initializer=deaths.die, initargs=(how,)) as pool:
        futures = submit_while_it_takes(pool, 5)
        errors = [f.exception(HANG) for f in futures]
    assert errors
    for error in errors:
        assert isinstance(error, InitializerError)
        assert any(getattr(cause, "exitcode", None) == deaths.DEATHS[how] for cause in chain(error))


def submit_while_it_takes(pool: ProcessPoolExecutor, count: int) -> list[Future]:
    """Up to ``count`` futures: a pool that has failed meanwhile may refuse, as the standard pool does."""
    futures: list[Future] = []
    for i in range(count):
        try:
            futures.append(pool.submit(operator.neg, i))
        except InitializerError:
            break
    return futures


@pytest.mark.parametrize("moment", ["unpickle call", "run", "pickle outcome"])
def test_raising_costs_no_worker(start_method: str, moment: str) -> None:
    with ProcessPoolExecutor(1, mp_context=start_method) as pool:
        pid = pool.submit(os.getpid).result(HANG)
        if moment == "unpickle call":
            victim = pool.submit(id, deaths.RaisesOnLoad(SystemExit, "leave me"))
        elif moment == "run":
            victim = pool.submit(deaths._raise, SystemExit, "leave me")
        else:
            victim = pool.submit(deaths.make_raises_on_dump, SystemExit, "leave me")
        error = victim.exception(HANG)
        assert not isinstance(error, WorkerLost)
        assert any("leave me" in str(e) for e in chain(error))
        assert pool.submit(os.getpid).result(HANG) == pid


@pytest.mark.parametrize("moment", ["unpickle call", "run", "pickle outcome"])
def test_a_hanging_worker_holds_up_nobody_and_dies_when_killed(start_method: str, moment: str, gate: Gate) -> None:
    with ProcessPoolExecutor(2, mp_context=start_method) as pool:
        if moment == "unpickle call":
            victim = pool.submit(id, deaths.HangsOnLoad(gate))
        elif moment == "run":
            victim = pool.submit(gate.stop)
        else:
            victim = pool.submit(deaths.make_hangs_on_dump, gate)
        (pid,) = gate.wait_arrivals()
        assert list(pool.map(operator.neg, range(20), timeout=HANG)) == [-i for i in range(20)]
        assert not victim.done()
        kill(pid)
        lost = victim.exception(HANG)
        assert isinstance(lost, WorkerLost)
        assert (lost.pid, lost.exitcode) == (pid, -signal.SIGKILL)
        assert pool.submit(operator.neg, 1).result(HANG) == -1


def test_each_of_several_workers_is_missed(start_method: str, tmp_path: Path) -> None:
    """A forked worker inherits what its elder siblings have open: their sockets must end with them all the same."""
    gates = [new_gate(tmp_path) for _ in range(3)]
    with ProcessPoolExecutor(3, mp_context=start_method) as pool:
        futures, pids = [], []
        for gate in gates:
            futures.append(pool.submit(gate.stop))
            pids += gate.wait_arrivals()
        for future, pid in zip(futures, pids, strict=True):
            kill(pid)
            lost = future.exception(HANG)
            assert isinstance(lost, WorkerLost)
            assert lost.pid == pid


def test_an_idle_worker_that_is_stopped_holds_up_nobody(start_method: str, tmp_path: Path) -> None:
    first, second = new_gate(tmp_path), new_gate(tmp_path)
    with ProcessPoolExecutor(2, mp_context=start_method) as pool:
        pair = [pool.submit(first.stop), pool.submit(first.stop)]
        stopped, _ = first.wait_arrivals(2)
        first.open()
        assert [f.result(HANG) for f in pair] == [None, None]
        os.kill(stopped, signal.SIGSTOP)
        wait_stopped(stopped)
        # One of these two goes to the worker that is stopped, and stays there; the other runs.
        tasks = [pool.submit(second.stop, str(i)) for i in range(2)]
        second.wait_arrivals()
        second.open()
        assert any_done(tasks)
        assert list(pool.map(operator.neg, range(3), timeout=HANG)) == [0, -1, -2]
        kill(stopped)
        assert [f.result(HANG) for f in tasks] == [None, None]


def any_done(futures: list[Future]) -> bool:
    from executor import FIRST_COMPLETED, wait

    return bool(wait(futures, HANG, FIRST_COMPLETED).done)


def test_an_initializer_that_hangs_ends_when_the_workers_are_killed(start_method: str, gate: Gate) -> None:
    pool = ProcessPoolExecutor(1, mp_context=start_method, initializer=gate.stop)
    pending = pool.submit(operator.neg, 1)
    (pid,) = gate.wait_arrivals()
    pool.kill_workers()
    wait_gone(pid)
    assert pending.cancelled() or pending.exception(HANG) is not None
