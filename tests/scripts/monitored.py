"""A monitored pool with a task that lasts.

argv[1]: "exit" leaves without shutdown, "child" forks a child that exits, anything else waits.
"""

from __future__ import annotations

import os
import sys
import time

from executor import ProcessPoolExecutor
from tests import tasks

if __name__ == "__main__":
    pool = ProcessPoolExecutor(1, monitor=True)
    how = sys.argv[1]
    last = pool.submit(tasks.pause, 0.01 if how in ("exit", "child") else 600)
    if how == "child" and os.fork() == 0:
        sys.exit(0)
    while not last.running() and not last.done():
        time.sleep(0.01)
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    if how == "child":
        os.wait()
        sys.stdout.write("child gone\n")
        sys.stdout.flush()
        time.sleep(600)
    last.result()
