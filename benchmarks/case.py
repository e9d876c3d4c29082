"""A benchmark as data: whom it measures, how, and which marks must hold."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from benchmarks.peers import OURS, Peer, Pool
from benchmarks.units import Unit

Measure = Callable[[int], float]
"""Takes the size of the measurement (tasks, items, megabytes: the case says), returns one figure."""

BEST_PEER = "the best peer"


class Absent(Exception):
    """What was to be measured does not exist here: a peer or a feature is missing. Left out with a note."""


@dataclass(frozen=True, slots=True)
class Mark:
    """What must hold: a subject's median, as a ratio to another's, or by itself when ``against`` is None."""

    sense: Literal["at least", "at most"]
    bound: float
    against: str | None = None
    subject: str = OURS

    def value(self, medians: Mapping[str, float], higher_is_better: bool) -> float | None:
        """What the mark is about, from this run; None when one of the two was not measured."""
        if self.subject not in medians:
            return None
        mine = medians[self.subject]
        if self.against is None:
            return mine
        if self.against == BEST_PEER:
            others = [value for label, value in medians.items() if label != self.subject]
            if not others:
                return None
            return mine / (max(others) if higher_is_better else min(others))
        other = medians.get(self.against)
        return mine / other if other else None

    def met(self, value: float) -> bool:
        """Whether the value is on the right side of the bound."""
        return value >= self.bound if self.sense == "at least" else value <= self.bound

    def sentence(self, value: float | None, unit: Unit) -> str:
        """The mark and what became of it, for the table."""
        if self.against is None:
            bound, got = unit.text(self.bound), "" if value is None else unit.text(value)
        else:
            bound, got = f"{self.bound:.3g} times {self.against}", "" if value is None else f"{value:.3g}"
        if value is None:
            return f"{self.sense} {bound}: not measured"
        return f"{self.sense} {bound}: {got}, {'met' if self.met(value) else 'not met'}"


@dataclass(frozen=True, slots=True)
class Case:
    """One benchmark.

    ``subjects`` are its rows, each measured in a process of its own. ``size`` and ``quick`` are what a
    measure is given in a full and in a quick run. ``limit`` bounds one measurement in seconds.
    """

    name: str
    title: str
    unit: Unit
    subjects: Mapping[str, Measure]
    size: int
    quick: int
    higher_is_better: bool = False
    marks: tuple[Mark, ...] = ()
    note: str = ""
    limit: float = 120.0
    baseline: str = OURS
    """The subject that the others are compared with in the table."""


@dataclass(slots=True)
class Samples:
    """What came out for one subject: its figures, and why some are missing."""

    values: list[float] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def median(self) -> float:
        """The middle figure."""
        return statistics.median(self.values)

    def best(self, higher_is_better: bool) -> float:
        """The best figure: what the machine can do when nobody disturbs it."""
        return max(self.values) if higher_is_better else min(self.values)


def over(
    measure: Callable[[Pool, int], float], *peers: Peer, scale: Mapping[str, float] | None = None
) -> dict[str, Measure]:
    """One subject a peer: the pool opened, measured and closed.

    ``scale`` gives a share of the size to peers for which all of it would take minutes; only for figures
    that do not depend on the size, such as a rate.
    """

    def of(peer: Peer) -> Measure:
        share = (scale or {}).get(peer.label, 1.0)

        def measured(size: int) -> float:
            with peer.opened() as pool:
                return measure(pool, max(1, int(size * share)))

        return measured

    return {peer.label: of(peer) for peer in peers}
