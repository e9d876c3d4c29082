"""A task takes memory until the kernel kills its worker.  Run in a cgroup with a limit, by test_oom.py.

python out_of_memory.py CGROUP METHOD MEGABYTES
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

from executor import ProcessPoolExecutor, WorkerLost


def take(megabytes: int) -> int:
    held = [b"x" * (1 << 20) for _ in range(megabytes)]
    return len(held)


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    folder, method, megabytes = sys.argv[1:]
    Path(folder, "cgroup.procs").write_text(str(os.getpid()))
    with ProcessPoolExecutor(1, mp_context=method) as pool:
        assert pool.submit(abs, -1).result() == 1
        error = pool.submit(take, int(megabytes)).exception()
        if not isinstance(error, WorkerLost):
            sys.stdout.write("limit: not enforced\n")
            sys.exit()
        sys.stdout.write(f"lost: {error.out_of_memory} {error.signal_name} {error}\n")
        error = pool.submit(die).exception()
        assert isinstance(error, WorkerLost)
        sys.stdout.write(f"after: {error.out_of_memory} {error.signal_name}\n")
