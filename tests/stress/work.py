"""The task of a storm. It stands alone, so that a worker that loads it loads nothing else."""

from __future__ import annotations

import random
import time

from tests.stress.journal import BEGAN, ENDED, note

SHORTEST, LONGEST = 1e-3, 20e-3


def durations(tasks: int, seed: int) -> list[float]:
    """How long each task of a storm sleeps."""
    source = random.Random(seed)
    return [source.uniform(SHORTEST, LONGEST) for _ in range(tasks)]


def work(journal: str, task: int, seconds: float) -> int:
    """Note the beginning, sleep, note the end, return the answer."""
    note(journal, BEGAN, task)
    time.sleep(seconds)
    note(journal, ENDED, task)
    return answer(task)


def answer(task: int) -> int:
    """What the task's future must hold: not the argument, and not another task's answer."""
    return task * 7919 + 1
