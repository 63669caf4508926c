"""The soak as a picture: what should be flat, over time; grey is where the reader reads."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape
from math import ceil, log10

from tests.soak.kept import Kept
from tests.soak.sample import Sample

WIDTH, LEFT, RIGHT, PANEL, GAP, HEAD = 820, 64, 150, 110, 44, 26
COLORS = ("#2f6f4f", "#c98a3d", "#4a6fa5", "#a5524a", "#7a5ea8", "#6b7a3a", "#444444")
READER = "#eceff1"
MIB = 2**20


@dataclass(frozen=True, slots=True)
class Line:
    """One curve."""

    name: str
    of: Callable[[Sample], float | None]


@dataclass(frozen=True, slots=True)
class Panel:
    """Curves that share an axis."""

    title: str
    lines: Sequence[Line]
    decades: bool = False  # a logarithmic axis, from 1


def panels(kept: Kept) -> Sequence[Panel]:
    """From what a user feels down to what the machine holds."""
    names = list(kept.samples[-1].processes)
    memory = [Line(name, _memory_of(name)) for name in names if name != "postgres"]
    return (
        Panel(
            "INSERT sent → handler starts, ms",
            [
                Line("p50", lambda s: s.waits and s.waits.p50),
                Line("p95", lambda s: s.waits and s.waits.p95),
                Line("p99", lambda s: s.waits and s.waits.p99),
            ],
            decades=True,
        ),
        Panel(
            "Dead rows of the queue, thousands",
            [Line("dead", lambda s: s.database["dead_rows"] / 1000)],
        ),
        Panel(
            "The queue's size, MiB",
            [
                Line("table", lambda s: s.database["table_bytes"] / MIB),
                Line("indexes", lambda s: s.database["index_bytes"] / MIB),
            ],
        ),
        Panel("Memory of each service, MiB", memory),
        Panel(
            "Memory of Postgres' own, all backends, MiB", [Line("postgres", _memory_of("postgres"))]
        ),
        Panel("The machine's load (2 cores, shared)", [Line("load", lambda s: s.load)]),
    )


def _memory_of(name: str) -> Callable[[Sample], float | None]:
    return lambda s: s.processes[name].memory_mib if name in s.processes else None


def picture(kept: Kept) -> str:
    """SVG."""
    drawn = panels(kept)
    height = len(drawn) * (PANEL + GAP) + 30
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" '
        'font-family="system-ui, sans-serif" font-size="11" role="img"><title>A soak over time</title>'
        '<rect width="100%" height="100%" fill="#fff"/>'
    ]
    for number, panel in enumerate(drawn):
        parts += _draw(kept, panel, HEAD + number * (PANEL + GAP))
    return "\n".join([*parts, "</svg>"]) + "\n"


def _draw(kept: Kept, panel: Panel, top: float) -> list[str]:
    setting, inner = kept.setting, WIDTH - LEFT - RIGHT
    values = [v for line in panel.lines for s in kept.samples if (v := line.of(s)) is not None]
    most = _nice(max(values, default=1.0))
    if panel.decades:
        most = 10.0 ** ceil(log10(max(10.0, *values)))

    def x(seconds: float) -> float:
        return LEFT + inner * seconds / setting.seconds

    def y(value: float) -> float:
        share = log10(max(1.0, value)) / log10(most) if panel.decades else value / most
        return top + PANEL * (1 - share)

    since, until = x(setting.reader_from_seconds), x(setting.reader_until_seconds)
    parts = [
        f'<text x="8" y="{top - 8}" font-size="13" font-weight="600">{escape(panel.title)}</text>',
        f'<rect x="{since:.1f}" y="{top}" width="{until - since:.1f}" height="{PANEL}" fill="{READER}"/>',
    ]
    decades = [10.0**power for power in range(round(log10(most)) + 1)]
    for tick in decades if panel.decades else (0.0, most / 2, most):
        at = y(tick)
        parts += [
            f'<line x1="{LEFT}" x2="{LEFT + inner}" y1="{at:.1f}" y2="{at:.1f}" stroke="#ccc" stroke-width="0.5"/>',
            f'<text x="{LEFT - 6}" y="{at + 4:.1f}" text-anchor="end">{tick:g}</text>',
        ]
    for minute in range(0, int(setting.seconds / 60) + 1, 5):
        parts.append(
            f'<text x="{x(minute * 60):.1f}" y="{top + PANEL + 14}" text-anchor="middle">{minute} min</text>'
        )
    for number, line in enumerate(panel.lines):
        color = COLORS[number % len(COLORS)]
        points = [
            f"{x(s.at_seconds):.1f},{y(v):.1f}"
            for s in kept.samples
            if (v := line.of(s)) is not None
        ]
        parts += [
            f'<polyline points="{" ".join(points)}" fill="none" stroke="{color}" stroke-width="1.3"/>',
            f'<text x="{LEFT + inner + 8}" y="{top + 10 + number * 14}" fill="{color}">{escape(line.name)}</text>',
        ]
    return parts


def _nice(value: float) -> float:
    """A round number at or above it."""
    size = 1.0
    while size < value:
        size *= 10
    return next(
        size * share for share in (0.1, 0.2, 0.25, 0.4, 0.5, 0.75, 1.0) if size * share >= value
    )
