"""A program that uses a cluster and ends in one of several ways.  Run by test_programs.py.

python program.py ADDRESS SCENARIO DIRECTORY
"""

# ruff: noqa: T201  # what it says is what the test looks at

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

from executor.distributed import DaskExecutor
from tests import tasks
from tests.support import Gate


def local_square(x: int) -> int:
    """A function of this program's own __main__."""
    return x * x


class LocalError(Exception):
    """A class of it."""


def local_failure(text: str) -> None:
    raise LocalError(text)


def uses_its_own_functions(address: str, directory: Path) -> None:
    with DaskExecutor(address) as executor:
        print(sum(executor.map(local_square, range(10))))
        print(type(executor.submit(local_failure, "wrong").exception()) is LocalError)


def uses_a_cluster_of_its_own(address: str, directory: Path) -> None:
    with DaskExecutor() as executor:
        print(sum(executor.map(local_square, range(10))))


def submit_notes(executor: DaskExecutor, directory: Path) -> None:
    asked = executor.options(callback=lambda _: print("called back", flush=True))
    for i in range(5):
        asked.submit(tasks.append_line, str(directory / "notes"), str(i))


def falls_off_the_end(address: str, directory: Path) -> None:
    executor = DaskExecutor(address)
    submit_notes(executor, directory)


def drops_the_executor(address: str, directory: Path) -> None:
    submit_notes(DaskExecutor(address), directory)


def is_interrupted(address: str, directory: Path) -> None:
    with DaskExecutor(address) as executor:
        running = executor.submit(tasks.stop_at, Gate(str(directory)))
        executor.submit(tasks.append_line, str(directory / "notes"), "never")
        print("running", flush=True)
        running.result()


def is_interrupted_without_with(address: str, directory: Path) -> None:
    executor = DaskExecutor(address)
    running = executor.submit(tasks.stop_at, Gate(str(directory)))
    executor.submit(tasks.append_line, str(directory / "notes"), "never")
    print("running", flush=True)
    running.result()


SCENARIOS: dict[str, Callable[[str, Path], None]] = {
    scenario.__name__: scenario
    for scenario in (
        uses_its_own_functions,
        uses_a_cluster_of_its_own,
        falls_off_the_end,
        drops_the_executor,
        is_interrupted,
        is_interrupted_without_with,
    )
}

if __name__ == "__main__":
    SCENARIOS[sys.argv[2]](sys.argv[1], Path(sys.argv[3]))
