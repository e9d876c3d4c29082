"""Who survives a storm of kills: a random worker gets SIGKILL every so often while many tasks run.

Each pool runs in a process of its own, benchmarks/contestant.py. The tasks, their journal and the killer are
those of the project's own stress test, tests/stress.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from benchmarks.contestant import POOLS, STALLED, Fate
from benchmarks.group import Group
from benchmarks.machine import Machine
from benchmarks.peers import WORKERS
from benchmarks.report import bulleted, table
from tests.stress.journal import BEGAN, read
from tests.stress.killer import Killer
from tests.stress.work import LONGEST, SHORTEST

NAME = "storm"


@dataclass(frozen=True, slots=True)
class Settings:
    """How many tasks, and the seconds between two kills."""

    tasks: int = 10_000
    every: float = 0.05
    seed: int = 1

    @property
    def limit(self) -> float:
        """Seconds one pool may take: some ten times what nobody's interference would need."""
        return 60.0 + 10 * self.tasks * (SHORTEST + LONGEST) / 2 / WORKERS


def run(settings: Settings, progress: Callable[[str], None]) -> str:
    """The section with the table of all pools."""
    before = Machine.now()
    rows, notes = [], []
    for label in POOLS:
        progress(f"{NAME}: {label}")
        with tempfile.TemporaryDirectory() as folder:
            row = weather(label, settings, str(Path(folder, "journal")))
        if isinstance(row, str):
            notes.append(f"{label}: {row}")
        else:
            rows.append([label, *row])
    header = ("", "right", "failed", "never resolved", "kills", "runs", "seconds", "usable after")
    parts = (
        f"### {settings.tasks:,} tasks of 1 to 20 ms, a random worker killed every "
        f"{settings.every * 1e3:g} ms (`{NAME}`)",
        table(header, rows),
        bulleted(notes),
        f"Seed {settings.seed}. The last {STALLED:g} seconds of a pool that hangs are its silence.",
        Machine.now().sentence(before.load, 1),
    )
    return "\n\n".join(part for part in parts if part)


def weather(label: str, settings: Settings, journal: str) -> list[str] | str:
    """One pool in the storm: its row, or why it has none."""
    arguments = (label, str(settings.tasks), str(settings.seed), journal)
    with Group("benchmarks.contestant", *arguments) as group:
        with Killer(journal, settings.every, settings.seed) as killer:
            facts = group.answer(settings.limit)
            killer.stop()
        if facts is None:
            return f"no answer within {settings.limit:g} s, after {len(killer.killed)} kills"
        if "absent" in facts:
            return f"left out: {facts['absent']}"
        if not facts:
            return "its process died"
        fate = Fate(**facts)
        group.go_on()
        still = group.answer(4 * STALLED)
    works = "hangs" if still is None else "yes" if still.get("usable") else "no"
    runs = sum(entry.event == BEGAN for entry in read(journal))
    counts = [f"{count:,}" for count in (fate.right, fate.failed, fate.unresolved, len(killer.killed), runs)]
    return [*counts, f"{fate.seconds:.1f}", works]
