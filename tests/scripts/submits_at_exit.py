"""Submit once more from an atexit function, which is too late."""

from __future__ import annotations

import atexit
import operator
import sys

from executor import ProcessPoolExecutor


def main() -> None:
    pool = ProcessPoolExecutor(1)

    @atexit.register
    def late() -> None:
        try:
            pool.submit(operator.neg, 1)
        except RuntimeError as error:
            sys.stdout.write(f"{type(error).__name__}: {error}\n")

    assert pool.submit(operator.neg, 1).result(30) == -1


if __name__ == "__main__":
    main()
