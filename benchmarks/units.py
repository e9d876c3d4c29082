"""How a figure is written. Figures are kept in base units: seconds, bytes, items a second, a plain ratio."""

from __future__ import annotations

import enum
from typing import assert_never


class Unit(enum.Enum):
    """What a figure counts."""

    RATE = "per second"
    TIME = "seconds"
    MEMORY = "bytes"
    RATIO = "times"
    SHARE = "percent"

    def text(self, value: float) -> str:
        """The figure as a reader wants it: three digits that matter and a unit."""
        match self:
            case Unit.RATE:
                return f"{three_digits(value)}/s"
            case Unit.TIME:
                return scaled(value, ((1.0, "s"), (1e-3, "ms"), (1e-6, "µs")))
            case Unit.MEMORY:
                return scaled(value, ((1e9, "GB"), (1e6, "MB"), (1e3, "kB"), (1.0, "B")))
            case Unit.RATIO:
                return f"{value:.3f}"
            case Unit.SHARE:
                return f"{value * 100:.0f} %"
            case _:
                assert_never(self)


def scaled(value: float, scales: tuple[tuple[float, str], ...]) -> str:
    """The value in the largest of the scales that it fills, or in the smallest of them."""
    scale, name = next((pair for pair in scales if abs(value) >= pair[0]), scales[-1])
    return f"{three_digits(value / scale)} {name}"


def three_digits(value: float) -> str:
    """Three digits that matter, never an exponent: 8,130 and 40.2 and 0.871."""
    if abs(value) >= 100:
        return f"{float(f'{value:.3g}'):,.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"
