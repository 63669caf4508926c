"""One picture of a run: who drains how fast and wakes how soon, as bars, without a library."""

from html import escape

from tests.bench.results import RunResult, ScenarioResult

PANELS = (
    ("enqueue-peers", "per second", "Enqueue, 32 writers, tasks/s"),
    ("drain-1", "per second", "Drain, one process, tasks/s"),
    ("wake-up", "p50", "Wake-up of an idle worker, p50, ms (less is better)"),
)
WIDTH, LABEL, BAR, ROW, HEAD = 760, 290, 380, 20, 34
OURS, LIMIT, OTHERS = "#2f6f4f", "#9aa5a0", "#c98a3d"


def chart(run: RunResult) -> str | None:
    """SVG, or None when nothing that it shows was measured."""
    found = {s.name: s for s in run.scenarios}
    panels = [(found[n], m, says) for n, m, says in PANELS if n in found and _bars(found[n], m)]
    if not panels:
        return None
    parts: list[str] = []
    top = 8
    for scenario, measure, says in panels:
        bars = _bars(scenario, measure)
        parts.append(
            f'<text x="8" y="{top + 18}" font-size="14" font-weight="600">{escape(says)}</text>'
        )
        longest = max(value for _, value in bars)
        for number, (name, value) in enumerate(bars):
            parts += _bar(name, value, longest, top + HEAD + number * ROW)
        top += HEAD + len(bars) * ROW + 14
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {top}" width="{WIDTH}" '
        f'height="{top}" font-family="system-ui, sans-serif" font-size="12" role="img">'
        f'<title>Benchmark of {run.date}</title><rect width="100%" height="100%" fill="#fff"/>'
        + "".join(parts)
        + "</svg>\n"
    )


def _bars(scenario: ScenarioResult, measure: str) -> list[tuple[str, float]]:
    bars = [(name, case.median(measure)) for name, case in scenario.cases.items()]
    known = [(name, value) for name, value in bars if value is not None]
    return sorted(known, key=lambda bar: bar[1], reverse=scenario.better == "more")


def _bar(name: str, value: float, longest: float, top: float) -> list[str]:
    color = OURS if name.startswith("reveille") else OTHERS
    if name.startswith(("bare", "notify")):
        color = LIMIT
    width = max(1.0, BAR * value / longest)
    said = f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
    return [
        f'<text x="{LABEL - 8}" y="{top + 13}" text-anchor="end">{escape(name)}</text>',
        f'<rect x="{LABEL}" y="{top + 2}" width="{width:.1f}" height="14" rx="2" fill="{color}"/>',
        f'<text x="{LABEL + width + 6:.1f}" y="{top + 13}">{said}</text>',
    ]
