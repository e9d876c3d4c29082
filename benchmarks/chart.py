"""A bar chart as plain SVG text: one panel a case, one bar a subject. No library, no script, no font file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

from benchmarks.case import Case
from benchmarks.peers import OURS

WIDTH, LABELS, VALUES, BAR, GAP = 760, 190, 90, 18, 8
HEADING, PADDING = 34, 16
STYLE = (
    "text{font:13px system-ui,sans-serif;fill:#24292f}.title{font-weight:600;font-size:14px}"
    ".bar{fill:#9aa5b1}.ours{fill:#0b6bcb}"
    "@media(prefers-color-scheme:dark){text{fill:#e6edf3}.bar{fill:#6e7781}.ours{fill:#4aa3ff}}"
)


@dataclass(frozen=True, slots=True)
class Panel:
    """One case's medians, the best first."""

    case: Case
    medians: Mapping[str, float]

    @property
    def height(self) -> int:
        """Pixels from one panel's top to the next one's."""
        return HEADING + len(self.medians) * (BAR + GAP) + PADDING

    def lines(self, top: int) -> list[str]:
        """The panel's SVG elements."""
        better = "more is better" if self.case.higher_is_better else "less is better"
        lines = [text(PADDING, top + 20, f"{self.case.title} ({better})", "title")]
        largest = max(self.medians.values())
        room = WIDTH - LABELS - VALUES - 2 * PADDING
        order = sorted(self.medians, key=self.medians.__getitem__, reverse=self.case.higher_is_better)
        for place, label in enumerate(order):
            y = top + HEADING + place * (BAR + GAP)
            length = max(1.0, room * self.medians[label] / largest)
            left = PADDING + LABELS
            kind = "ours" if label.startswith(OURS) else "bar"
            lines.append(text(left - 8, y + 14, label, "label", anchor="end"))
            lines.append(f'<rect class="{kind}" x="{left}" y="{y}" width="{length:.1f}" height="{BAR}" rx="2"/>')
            lines.append(text(left + length + 6, y + 14, self.case.unit.text(self.medians[label]), "value"))
        return lines


def text(x: float, y: float, words: str, kind: str, anchor: str = "start") -> str:
    """One line of words."""
    return f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(words)}</text>'


def svg(panels: Sequence[Panel], caption: str) -> str:
    """The whole picture."""
    lines: list[str] = []
    top = PADDING
    for panel in panels:
        lines += panel.lines(top)
        top += panel.height
    lines.append(text(PADDING, top + 8, caption, "caption"))
    height = top + 24
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" '
            f'width="{WIDTH}" height="{height}" role="img">',
            f"<title>{escape(', '.join(panel.case.title for panel in panels))}</title>",
            f"<style>{STYLE}</style>",
            *lines,
            "</svg>\n",
        ]
    )
