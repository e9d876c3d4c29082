"""Start workers from an executable that ends at once, then from the right one."""

from __future__ import annotations

import multiprocessing.spawn
import operator
import sys

from executor import BrokenProcessPool, ProcessPoolExecutor, RestartLimitReached


def outcome(pool: ProcessPoolExecutor) -> object:
    try:
        return pool.submit(operator.neg, 1).result(60)
    except BrokenProcessPool as error:
        return error


def set_executable(path: str) -> None:
    multiprocessing.spawn.set_executable(path)
    sys.executable = path  # loky looks here


def main(method: str) -> None:
    right = sys.executable
    with ProcessPoolExecutor(2, mp_context=method) as pool:
        set_executable("/bin/false")
        assert isinstance(error := outcome(pool), RestartLimitReached), error
        assert error.__cause__ is not None
        sys.stdout.write("refused\n")
        assert isinstance(error := outcome(pool), RestartLimitReached), error
        sys.stdout.write("refused again\n")
        set_executable(right)
        assert outcome(pool) == -1
        sys.stdout.write("works again\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
