"""What the figures were taken on. A figure without this is a rumour."""

from __future__ import annotations

import os
import platform
import time
from dataclasses import dataclass

from benchmarks.peers import PEERS, version


@dataclass(frozen=True, slots=True)
class Machine:
    """The machine and its software, as they were at one moment."""

    date: str
    cores: int
    load: float
    python: str
    kernel: str
    packages: tuple[str, ...]

    @classmethod
    def now(cls) -> Machine:
        """Look."""
        return cls(
            date=time.strftime("%Y-%m-%d %H:%M", time.localtime()),
            cores=len(os.sched_getaffinity(0)),
            load=os.getloadavg()[0],
            python=f"{platform.python_implementation()} {platform.python_version()}",
            kernel=f"{platform.system()} {platform.release()}",
            packages=tuple(packages()),
        )

    def sentence(self, load_before: float, rounds: int) -> str:
        """One line to stand under a table."""
        load = f"load average {load_before:.1f} before and {self.load:.1f} after"
        return (
            f"{self.date}, {self.cores} cores, {load}, {self.kernel}, {self.python}, "
            f"{', '.join(self.packages)}; {rounds} interleaved round{'s' if rounds != 1 else ''}."
        )


def packages() -> list[str]:
    """The distributions that take part, with their versions."""
    names = [peer.distribution for peer in PEERS if peer.distribution] + ["numpy"]
    found = ((name, version(name)) for name in names)
    return [f"{name} {number}" for name, number in found if number]
