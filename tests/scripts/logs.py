"""Argument: a start method. Logs and warns in workers, in a program that has set up no logging."""

from __future__ import annotations

import logging
import sys
import warnings

from executor import ProcessPoolExecutor


def work(number: int) -> int:
    logging.getLogger("work").info("not to be seen")
    logging.getLogger("work").warning("seen once %d", number)
    warnings.warn("look out", FutureWarning, stacklevel=1)
    return number


if __name__ == "__main__":
    with ProcessPoolExecutor(2, sys.argv[1]) as pool:
        pool.submit(work, 1).result()
