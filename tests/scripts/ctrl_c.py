"""Wait in the way that is named for tasks that take ten minutes, until Ctrl-C."""

from __future__ import annotations

import concurrent.futures
import operator
import signal
import sys
import tempfile
import threading
import time
from pathlib import Path

from executor import Future, ProcessPoolExecutor, as_completed, wait
from tests.support import Gate, new_gate

MINUTES = 600


def sleep(gate: Gate) -> None:
    gate.arrive()
    time.sleep(MINUTES)


def deaf_sleep(gate: Gate) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    sleep(gate)


def wait_in(waits: str, pool: ProcessPoolExecutor, futures: list[Future], gate: Gate) -> None:
    if waits == "map":
        list(pool.map(sleep, [gate] * 10))
    elif waits == "as_completed":
        list(as_completed(futures))
    elif waits == "wait":
        wait(futures)
    elif waits == "standard wait":
        concurrent.futures.wait(futures)
    elif waits == "shutdown":
        pool.shutdown()
    elif waits != "end of with":
        futures[0].result()


def tell_when_ready(gate: Gate) -> None:
    """Ctrl-C is to come once two tasks run and this program waits: a thread looks after the first."""

    def tell() -> None:
        gate.wait_arrivals(2)
        sys.stdout.write("ready\n")
        sys.stdout.flush()

    threading.Thread(target=tell, daemon=True).start()


def main(method: str, waits: str) -> None:
    with tempfile.TemporaryDirectory() as directory:
        gate = new_gate(Path(directory))
        tell_when_ready(gate)
        if waits in ("terminate_workers", "kill_workers"):
            ended_by_hand(method, waits, gate)
            return
        if waits == "without with":
            pool = ProcessPoolExecutor(2, mp_context=method)
            futures = [pool.submit(sleep, gate) for _ in range(8)]
            futures[0].result()
        with ProcessPoolExecutor(2, mp_context=method) as pool:
            task = deaf_sleep if waits == "ignores SIGTERM" else sleep
            futures = [pool.submit(task, gate) for _ in range(8)]
            if waits == "many pending":
                futures += [pool.submit(operator.neg, i) for i in range(20_000)]
            if waits == "large argument":
                futures += [pool.submit(len, bytes(50_000_000)) for _ in range(3)]
            wait_in(waits, pool, futures, gate)


def ended_by_hand(method: str, verb: str, gate: Gate) -> None:
    pool = ProcessPoolExecutor(2, mp_context=method)
    futures = [pool.submit(sleep, gate) for _ in range(8)]
    try:
        futures[0].result()
    except KeyboardInterrupt:
        getattr(pool, verb)()
        sys.stdout.write("ended its workers\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
