"""Small charts as SVG paths: numbers in, coordinates out. Pure.

The drawing is as many units wide as there are values and 100 high; the page stretches it.
"""

from collections.abc import Sequence
from dataclasses import dataclass

HEIGHT = 100.0


@dataclass(frozen=True, slots=True)
class Chart:
    """`line` and `area` are path data, `bars` are (x, y, height) with a width of 0.8."""

    width: int
    top: float
    last: float
    most: float
    total: float
    line: str
    area: str
    bars: tuple[tuple[float, float, float], ...]


def chart(values: Sequence[float | None], top: float | None = None) -> Chart:
    """Draw values from 0 to `top` (unset: the largest of them). None is not drawn: not known."""
    known = [value for value in values if value is not None]
    most = max(known, default=0.0)
    scale = top or most or 1.0
    heights = [None if v is None else min(HEIGHT, HEIGHT * v / scale) for v in values]
    points = [(at + 0.5, HEIGHT - high) for at, high in enumerate(heights) if high is not None]
    line = "M" + "L".join(f"{x:g},{y:.1f}" for x, y in points) if points else ""
    area = f"{line}L{points[-1][0]:g},{HEIGHT:g}L{points[0][0]:g},{HEIGHT:g}Z" if points else ""
    bars = tuple(
        (at + 0.1, round(HEIGHT - high, 1), round(high, 1))
        for at, high in enumerate(heights)
        if high
    )
    last = known[-1] if known else 0.0
    return Chart(len(values), scale, last, most, sum(known), line, area, bars)


def added(rows: Sequence[Sequence[float | None]]) -> list[float | None]:
    """Sums of several series of one length; unknown where none of them is known."""
    sums: list[float | None] = []
    for column in zip(*rows, strict=True):
        known = [value for value in column if value is not None]
        sums.append(sum(known) if known else None)
    return sums
