"""``map`` with a buffer over a very long iterable: what the parent's memory grows by on the way."""

from __future__ import annotations

import inspect

from benchmarks.case import Absent, Case, Mark, Measure
from benchmarks.cases.pending import resident
from benchmarks.peers import EXECUTOR, FUTURES, WORKERS, Peer
from benchmarks.tasks import same
from benchmarks.units import Unit

BUFFER = 1_000
SETTLED = 0.05
"""Memory is compared with what it was after this share of the items."""


def growth(peer: Peer) -> Measure:
    """The largest resident memory seen later, less the one seen when things had settled."""

    def measured(items: int) -> float:
        with peer.opened(WORKERS) as pool:
            mapped = pool.submit.__self__.map  # type: ignore[attr-defined]
            if "buffersize" not in inspect.signature(mapped).parameters:
                raise Absent("map has no buffersize before Python 3.14")
            settled, step = int(items * SETTLED), max(1, items // 1000)
            base = largest = 0
            for number, _ in enumerate(mapped(same, range(items), buffersize=BUFFER)):
                if number == settled:
                    base = resident()
                elif base and number % step == 0:
                    largest = max(largest, resident())
            return float(max(0, largest - base))

    return measured


CASE = Case(
    name="flat",
    title=f"Growth of the parent during map(buffersize={BUFFER})",
    unit=Unit.MEMORY,
    subjects={peer.label: growth(peer) for peer in (EXECUTOR, FUTURES)},
    size=10_000_000,
    quick=200_000,
    marks=(Mark("at most", 4e6),),
    note="10 million items in a full run, 200 thousand in a quick one.",
    limit=1200,
)
