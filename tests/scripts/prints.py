"""Tasks that print, unflushed; each line must come out once."""

from __future__ import annotations

import sys

from executor import ProcessPoolExecutor


def say(number: int) -> None:
    sys.stdout.write(f"task-{number}\n")


def main(method: str) -> None:
    # Still in the buffer when the workers start: a forked worker must not write it again.
    sys.stdout.write("before\n")
    with ProcessPoolExecutor(2, mp_context=method) as pool:
        for future in [pool.submit(say, i) for i in range(10)]:
            future.result(30)
    sys.stdout.write("after\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
