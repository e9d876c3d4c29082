"""A program that ends in one of several ways while a pool is at work.  Run by test_exit.py.

python program.py MODULE START_METHOD SCENARIO NOTES
"""

from __future__ import annotations

import atexit
import sys
from collections.abc import Callable
from typing import Any

from tests import tasks
from tests.contract.face import Face


def local_square(x: int) -> int:
    """A function of this program's own __main__."""
    return x * x


def submit_notes(pool: Any, notes: str) -> list[Any]:
    return [pool.submit(tasks.append_line, notes, str(i)) for i in range(10)]


def falls_off_the_end(face: Face, notes: str) -> None:
    submit_notes(face.pool(), notes)


def shuts_down_without_waiting(face: Face, notes: str) -> None:
    pool = face.pool()
    submit_notes(pool, notes)
    pool.shutdown(wait=False)


def drops_the_executor(face: Face, notes: str) -> None:
    submit_notes(face.ProcessPoolExecutor(2, mp_context=face.context()), notes)


def raises_in_with(face: Face, notes: str) -> None:
    with face.pool() as pool:
        submit_notes(pool, notes)
        raise LookupError("the program failed")


def leaves_with_exit(face: Face, notes: str) -> None:
    with face.pool() as pool:
        submit_notes(pool, notes)
        sys.exit(3)


def calls_back_at_the_end(face: Face, notes: str) -> None:
    for future in submit_notes(face.pool(), notes):
        future.add_done_callback(lambda f: print("done", f.result(), flush=True))


def uses_its_own_functions(face: Face, notes: str) -> None:
    with face.pool() as pool:
        print(sum(pool.map(local_square, range(10))))
    submit_notes(face.pool(), notes)


def submits_too_late(face: Face, notes: str) -> None:
    pool = face.pool()
    submit_notes(pool, notes)

    def submit() -> None:
        try:
            pool.submit(tasks.nothing)
        except RuntimeError as error:
            print(error)

    atexit.register(submit)


SCENARIOS: dict[str, Callable[[Face, str], None]] = {
    scenario.__name__: scenario
    for scenario in (
        falls_off_the_end,
        shuts_down_without_waiting,
        drops_the_executor,
        raises_in_with,
        leaves_with_exit,
        calls_back_at_the_end,
        uses_its_own_functions,
        submits_too_late,
    )
}

if __name__ == "__main__":
    module, method, scenario, notes = sys.argv[1:]
    SCENARIOS[scenario](Face(module, method), notes)
