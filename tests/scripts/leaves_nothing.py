"""Use an executor in the way that is named, and end: nothing may be left, and nothing said."""

from __future__ import annotations

import multiprocessing
import operator
import sys
from typing import Any

import loky.backend.context

from executor import BrokenProcessPool, ProcessPoolExecutor
from tests import deaths


def context_of(method: str) -> Any:
    if method == "loky":
        return loky.backend.context.get_context("loky")
    return multiprocessing.get_context(method)


def main(method: str, scene: str) -> None:
    pool = ProcessPoolExecutor(2, mp_context=method)
    if scene == "initializer":
        pool.shutdown()
        context = context_of(method)
        lock = context.RLock()
        pool = ProcessPoolExecutor(2, mp_context=context, initializer=deaths.remember, initargs=(lock,))
    assert list(pool.map(operator.neg, range(20), timeout=30)) == [-i for i in range(20)]
    if scene.startswith("crash"):
        task = deaths.make_dies_on_dump if scene.endswith("pickling") else deaths.die
        for how in ("SIGKILL", "exit-0"):
            assert isinstance(pool.submit(task, how).exception(30), BrokenProcessPool)
        assert pool.submit(operator.neg, 1).result(30) == -1
    if scene == "large":
        assert len(pool.submit(bytes, 30_000_000).result(30)) == 30_000_000
    if scene != "no shutdown":
        pool.shutdown()
    sys.stdout.write("done\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
