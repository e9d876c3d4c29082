"""Keep workers busy, say "ready", and die in the way that is named (or wait to be killed)."""

from __future__ import annotations

import ctypes
import operator
import os
import signal
import sys
import tempfile
import time
from pathlib import Path

from executor import ProcessPoolExecutor
from tests import deaths
from tests.support import Gate, new_gate


def busy(gate: Gate) -> None:
    gate.arrive()
    limit = time.monotonic() + 600
    while time.monotonic() < limit:
        pass


def sleepy(gate: Gate) -> None:
    gate.arrive()
    time.sleep(600)


def deaf(gate: Gate) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    gate.arrive()
    time.sleep(600)


def holding_gil(gate: Gate) -> None:
    gate.arrive()
    ctypes.PyDLL(None).usleep(1_500_000)
    time.sleep(600)


def with_children(gate: Gate) -> None:
    pool = ProcessPoolExecutor(1, mp_context="fork")
    pool.submit(sleepy, gate)
    time.sleep(600)


def sleep_in_initializer(gate: Gate) -> None:
    gate.arrive()
    time.sleep(600)


def prepare(method: str, scene: str, gate: Gate) -> ProcessPoolExecutor:
    """An executor whose workers are in the state that is named; the result keeps it alive."""
    if scene == "initializing":
        pool = ProcessPoolExecutor(2, mp_context=method, initializer=sleep_in_initializer, initargs=(gate,))
        pool.submit(operator.neg, 1)
        gate.wait_arrivals()
        return pool
    pool = ProcessPoolExecutor(4, mp_context=method)
    if scene == "starting":
        for _ in range(4):
            pool.submit(sleepy, gate)
    elif scene == "stopped reading":
        pool.submit(time.sleep, 600)
        pool.submit(len, bytes(50_000_000))
        pool.submit(sleepy, gate)
        gate.wait_arrivals()
    elif scene == "holding the GIL":
        pool.submit(holding_gil, gate)
        gate.wait_arrivals()
    elif scene == "children":
        pool.submit(with_children, gate)
        gate.wait_arrivals()
    else:
        for task in (busy, sleepy, deaf):
            pool.submit(task, gate)
        gate.wait_arrivals(3)
        pool.submit(operator.neg, 1).result(30)  # and one that is idle
    return pool


def main(method: str, scene: str) -> None:
    with tempfile.TemporaryDirectory() as directory:
        gate = new_gate(Path(directory))
        pool = prepare(method, scene, gate)
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        if scene == "_exit":
            os._exit(0)
        deaths.hang()
        del pool


if __name__ == "__main__":
    main(*sys.argv[1:])
