"""The round trip of one task while nothing else happens."""

from __future__ import annotations

import os
import pickle
import socket
import statistics
import time
from collections.abc import Callable

from benchmarks.case import Case, Mark, over
from benchmarks.peers import WITH_SUBMIT, Pool
from benchmarks.tasks import same
from benchmarks.units import Unit

FLOOR = "raw socket pair"
WARM = 50


def median_trip(trip: Callable[[], object], trips: int) -> float:
    """The median of many trips, one at a time."""
    for _ in range(WARM):
        trip()
    times = []
    for _ in range(trips):
        start = time.perf_counter()
        trip()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def round_trip(pool: Pool, trips: int) -> float:
    """Seconds from the call of submit to the result in hand."""
    submit, result = pool.submit, pool.result
    return median_trip(lambda: result(submit(same, 1)), trips)


def raw(trips: int) -> float:
    """Ping-pong of a pickled call over a socket pair: no pool can be faster without pickling less."""
    near, far = socket.socketpair()
    child = os.fork()
    if child == 0:
        near.close()
        answer_until_closed(far)
    far.close()

    def trip() -> object:
        near.sendall(pickle.dumps((same, (1,))))
        return pickle.loads(near.recv(4096))

    try:
        return median_trip(trip, trips)
    finally:
        near.close()
        os.waitpid(child, 0)


def answer_until_closed(far: socket.socket) -> None:
    """The child's side: load the call, make it, send the result."""
    try:
        while message := far.recv(4096):
            function, args = pickle.loads(message)
            far.sendall(pickle.dumps(function(*args)))
    finally:
        os._exit(0)


CASE = Case(
    name="latency",
    title="Round trip of one task",
    unit=Unit.TIME,
    subjects={**over(round_trip, *WITH_SUBMIT), FLOOR: raw},
    size=2_000,
    quick=300,
    marks=(
        Mark("at most", 0.4, "concurrent.futures"),
        Mark("at most", 0.6, "multiprocessing.Pool"),
        Mark("at most", 2, FLOOR),
    ),
)
