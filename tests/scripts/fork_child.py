"""Fork while tasks run; the child ends in the way that is named; the parent finishes its work."""

from __future__ import annotations

import gc
import operator
import os
import sys
from pathlib import Path

from executor import ProcessPoolExecutor
from tests.support import HANG, eventually, new_gate


def main(method: str, how: str, directory: str) -> None:
    gate = new_gate(Path(directory))
    pool = ProcessPoolExecutor(2, mp_context=method)
    pool.__enter__()
    futures = [pool.submit(gate.stop) for _ in range(4)]
    gate.wait_arrivals(2)
    child = os.fork()
    if child == 0:
        if how == "os._exit":
            os._exit(0)
        elif how == "exception":
            raise ValueError("the child's own")
        elif how == "collected":
            del pool, futures
            gc.collect()
        elif how == "with":
            pool.__exit__(None, None, None)
        sys.exit(0)
    eventually(lambda: os.waitpid(child, os.WNOHANG)[0])
    gate.open()
    assert [f.result(HANG) for f in futures] == [None] * 4
    assert pool.submit(operator.neg, 1).result(HANG) == -1
    pool.__exit__(None, None, None)
    sys.stdout.write("parent ok\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
