"""A task registers an atexit function that never returns; the program ends all the same."""

from __future__ import annotations

import atexit
import os
import sys
from multiprocessing.util import Finalize

from executor import ProcessPoolExecutor
from tests import deaths


def spoil_the_exit() -> int:
    atexit.register(deaths.hang)
    Finalize(None, deaths.hang, exitpriority=1)
    return os.getpid()


def main() -> None:
    with ProcessPoolExecutor(1) as pool:
        pid = pool.submit(spoil_the_exit).result(30)
        sys.stdout.write(f"worker {pid}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
