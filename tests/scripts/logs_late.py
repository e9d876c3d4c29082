"""Argument: a start method. Nothing that its workers import has a use for logging, but a task of theirs does."""

from __future__ import annotations

import sys


def is_there() -> bool:
    return "logging" in sys.modules


def log() -> None:
    import logging

    logging.getLogger("late").debug("not to be seen")
    logging.getLogger("late").info("from %s", logging.getLogger("late").name)


if __name__ == "__main__":
    import logging

    from executor import ProcessPoolExecutor

    logging.basicConfig(format="%(worker)s %(task)s %(levelname)s %(message)s", level=logging.INFO)
    with ProcessPoolExecutor(1, sys.argv[1]) as pool:
        sys.stdout.write(f"{pool.submit(is_there).result()}\n")
        pool.submit(log).result()
        pool.submit(log).result()
