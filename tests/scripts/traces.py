"""Ten tasks and one that lasts, traced to argv[1]. argv[2]: "end" leaves without shutdown, anything else waits."""

from __future__ import annotations

import sys
import time

from executor import ProcessPoolExecutor
from tests import tasks

if __name__ == "__main__":
    pool = ProcessPoolExecutor(1, trace=sys.argv[1])
    for number in range(10):
        pool.submit(tasks.square, number).result()
    last = pool.submit(tasks.pause, 0.1 if sys.argv[2:] == ["end"] else 600)
    while not last.running():
        time.sleep(0.01)
    sys.stdout.write("done\n")
    sys.stdout.flush()
    if sys.argv[2:] != ["end"]:
        last.result()
