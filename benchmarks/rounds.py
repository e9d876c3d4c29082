"""Runs probes: interleaved rounds, each measurement in a process group of its own with a hard limit."""

from __future__ import annotations

from collections.abc import Callable

from benchmarks.case import Case, Samples
from benchmarks.group import Group

Progress = Callable[[str], None]


def run(case: Case, rounds: int, quick: bool, progress: Progress) -> dict[str, Samples]:
    """Measure every subject once a round; every second round backwards, so that nobody always comes first."""
    samples = {label: Samples() for label in case.subjects}
    for number in range(rounds):
        labels = list(case.subjects)
        if number % 2:
            labels.reverse()
        for label in labels:
            if samples[label].notes:
                continue  # absent, failed or hung once: it would be again
            progress(f"{case.name}: round {number + 1} of {rounds}, {label}")
            collect(case, label, case.quick if quick else case.size, samples[label])
    return samples


def collect(case: Case, label: str, size: int, samples: Samples) -> None:
    """One probe, and what it said, added to the samples."""
    with Group("benchmarks.probe", case.name, label, str(size)) as group:
        answer = group.answer(case.limit)
    match answer:
        case None:
            samples.notes.append(f"no result within {case.limit:g} s")
        case {"value": float() | int() as value}:
            samples.values.append(float(value))
        case {"absent": str() as why}:
            samples.notes.append(f"left out: {why}")
        case {"failed": str() as why}:
            samples.notes.append(f"failed: {why}")
        case _:
            samples.notes.append("its process died")
