"""A forked child of the parent that touches the executor gets a clear error and harms nothing."""

from __future__ import annotations

import operator
from collections.abc import Callable
from pathlib import Path

import pytest

from executor import ForkedExecutor, Future, ProcessPoolExecutor, wait
from tests.support import HANG, Gate, cases, in_forked_child, program


def test_the_error_is_what_callers_of_the_standard_pool_catch() -> None:
    assert issubclass(ForkedExecutor, RuntimeError)


Touch = Callable[[ProcessPoolExecutor, Future], object]

TOUCHES: dict[str, Touch] = {
    "submit": lambda pool, pending: pool.submit(operator.neg, 1),
    "map": lambda pool, pending: list(pool.map(operator.neg, range(3))),
    "with": lambda pool, pending: pool.__exit__(None, None, None),
    "shutdown": lambda pool, pending: pool.shutdown(),
    "kill_workers": lambda pool, pending: pool.kill_workers(),
    "terminate_workers": lambda pool, pending: pool.terminate_workers(),
    "result": lambda pool, pending: pending.result(),
    "cancel": lambda pool, pending: pending.cancel(),
    "wait": lambda pool, pending: wait([pending], 0.1),
    "stats": lambda pool, pending: pool.stats(),
}
# These change or answer nothing that would be wrong in the child: they may return, but not hang.
MAY_RETURN = {"shutdown", "with", "kill_workers", "terminate_workers", "cancel", "wait", "stats"}


EVERYWHERE = ["submit", "result", "with"]


@pytest.mark.parametrize(("start_method", "touch"), cases(EVERYWHERE, sorted(TOUCHES.keys() - EVERYWHERE)))
def test_a_touch_in_a_forked_child(start_method: str, touch: str, gate: Gate) -> None:
    with ProcessPoolExecutor(2, mp_context=start_method) as pool:
        held = pool.submit(gate.stop)
        gate.wait_arrivals()
        pending = pool.submit(gate.stop)
        gate.wait_arrivals(2)
        answer = in_forked_child(lambda: TOUCHES[touch](pool, pending))
        assert answer != "hangs"
        assert answer != "died"
        if not (touch in MAY_RETURN and answer.startswith("returned")):
            assert answer.startswith("ForkedExecutor: ")
            assert "forked" in answer
        # The parent's pool has noticed nothing.
        gate.open()
        assert held.result(HANG) is pending.result(HANG) is None
        assert list(pool.map(operator.neg, range(5), timeout=HANG)) == [0, -1, -2, -3, -4]


def test_a_pool_of_its_own_works_in_a_forked_child(start_method: str) -> None:
    def work() -> int:
        with ProcessPoolExecutor(1, mp_context=start_method) as own:
            return own.submit(operator.neg, 7).result(HANG)

    with ProcessPoolExecutor(1, mp_context=start_method) as pool:
        assert pool.submit(operator.neg, 1).result(HANG) == -1
        assert in_forked_child(work) == "returned -7"
        assert pool.submit(operator.neg, 2).result(HANG) == -2


def test_forked_while_its_lock_is_busy(gate: Gate) -> None:
    # The fork happens while tasks are being settled: whatever lock was held then stays held in the child.
    with ProcessPoolExecutor(2) as pool:
        for _ in range(5):
            futures = [pool.submit(operator.neg, i) for i in range(300)]
            answer = in_forked_child(lambda: pool.submit(operator.neg, 1))
            assert answer.startswith("ForkedExecutor: ")
            assert [f.result(HANG) for f in futures] == [-i for i in range(300)]


@pytest.mark.parametrize(("start_method", "how"), cases(["sys.exit"], ["os._exit", "exception", "collected", "with"]))
def test_a_forked_child_that_ends_leaves_the_workers_alone(start_method: str, how: str, tmp_path: Path) -> None:
    with program("fork_child.py", start_method, how, str(tmp_path), directory=tmp_path) as run:
        assert run.wait() == 0, run.err
        assert run.out.splitlines()[-1] == "parent ok"
        run.wait_family_gone()
