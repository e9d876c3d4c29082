"""The Markdown table of one case."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from benchmarks.case import Case, Samples
from benchmarks.peers import OURS


def table(header: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """A Markdown table: the first column to the left, the others to the right."""
    header = list(header)
    lines = [header, ["---"] + ["---:"] * (len(header) - 1), *(list(row) for row in rows)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def medians_of(samples: Mapping[str, Samples]) -> dict[str, float]:
    """The median of each subject that has figures."""
    return {label: one.median() for label, one in samples.items() if one.values}


def section(case: Case, samples: Mapping[str, Samples], machine: str) -> str:
    """Heading, table, marks, notes and the state of the machine."""
    medians = medians_of(samples)
    rows = [row(case, label, one, medians) for label, one in samples.items() if one.values]
    header = ("", "median", "best", f"{case.baseline} / it")
    parts = [f"### {case.title} (`{case.name}`)"]
    if rows:
        parts.append(table(header, rows))
    parts += [bulleted(marks(case, medians)), bulleted(notes(samples)), case.note, machine]
    return "\n\n".join(part for part in parts if part)


def row(case: Case, label: str, one: Samples, medians: Mapping[str, float]) -> list[str]:
    """One subject's line."""
    mine = medians.get(case.baseline)
    ratio = f"{mine / medians[label]:.2f}" if mine and medians[label] else ""
    best = case.unit.text(one.best(case.higher_is_better))
    return [label, case.unit.text(medians[label]), best, ratio if label != case.baseline else ""]


def marks(case: Case, medians: Mapping[str, float]) -> list[str]:
    """Each mark with what became of it."""
    lines = []
    for mark in case.marks:
        who = "mark" if mark.subject == OURS else f"mark, {mark.subject}"
        value = mark.value(medians, case.higher_is_better)
        lines.append(f"{who}: {mark.sentence(value, case.unit)}")
    return lines


def notes(samples: Mapping[str, Samples]) -> list[str]:
    """Why some subjects have no figures, or fewer."""
    return [f"{label}: {note}" for label, one in samples.items() for note in one.notes]


def bulleted(lines: Iterable[str]) -> str:
    """The lines as a Markdown list."""
    return "\n".join(f"- {line}" for line in lines)
