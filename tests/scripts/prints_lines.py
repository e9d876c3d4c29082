"""Arguments: a start method, a length. Many workers, each with several threads, print lines of that length."""

from __future__ import annotations

import io
import os
import sys
import threading

from executor import ProcessPoolExecutor, current_worker

LINES = 50
THREADS = 3
WORKERS = 4


def print_lines(number: int, length: int) -> int:
    threads = [threading.Thread(target=print_in_thread, args=(f"{number}.{i}", length)) for i in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert current_worker() is not None
    return os.getpid()


def print_in_thread(name: str, length: int) -> None:
    for line in range(LINES):
        head = f"{name}.{line}:"
        print(head, end="")
        print("x" * (length - len(head) - 1))
        print(head, file=sys.stderr)


def print_without_end() -> None:
    print("no end", end="")


class Held(io.TextIOWrapper):
    """Standard output of a parent that has just printed something when it forks, in another thread."""

    pid = os.getpid()
    held = True

    def flush(self) -> None:
        if not self.held or os.getpid() != self.pid:
            super().flush()


if __name__ in ("__main__", "__mp_main__"):  # not in the test that imports this
    print("the main module")

if __name__ == "__main__":
    sys.stdout = held = Held(sys.stdout.detach(), encoding="utf-8")
    print("the parent's own line")
    with ProcessPoolExecutor(WORKERS, sys.argv[1]) as pool:
        list(pool.map(print_lines, range(WORKERS * 2), [int(sys.argv[2])] * WORKERS * 2, chunksize=1))
        pool.submit(print_without_end).result()
    held.held = False
