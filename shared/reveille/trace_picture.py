"""A trace as a picture: the same rows as the tree in the terminal, drawn as an SVG waterfall.

`reveille demo --picture FILE` and the pictures in docs/ are made with it. Phases of a cold start
have a colour each; everything else has that of its service, and red when it failed. The colours
follow the viewer's light or dark scheme.
"""

from collections.abc import Iterable, Iterator
from xml.sax.saxutils import escape

from reveille.span import Span
from reveille.trace_tree import Row, build, duration, extent, failed, fold, lines, notes, plain

WIDTH = 1080
ROW, HEAD, EDGE = 22, 44, 14
NAMES, SECONDS = 400, 76  # widths of the columns before the bars
BAR_MIN = 2.0
LABEL_CHARACTERS_MAX = 58
_INDENT = 16
_TICKS_MAX = 8
_TICK_ROOM = 60  # what the longest label of the axis takes
_STEPS = (1.0, 2.0, 5.0)

PHASES = {
    "container intended": "#8b949e",
    "container creating": "#6e7781",
    "container waiting": "#d29922",
    "container pulling": "#1f6feb",
    "container starting": "#2da8a0",
    "container booting": "#1f6feb",
    "container loading": "#a371f7",
}
_SERVICES = ("#2da44e", "#0969da", "#bf8700", "#8250df", "#1b7c83", "#cf6a00")
_FAILED = "#cf222e"
_STYLE = (
    "text{font:13px ui-monospace,SFMono-Regular,Menlo,Consolas,monospace;fill:#1f2328}"
    ".dim{fill:#59636e}.bad{fill:#cf222e}.head{font-weight:600}"
    ".page{fill:#fff}.grid{stroke:#d1d9e0;stroke-width:1}.even{fill:#f6f8fa}"
    "@media (prefers-color-scheme:dark){text{fill:#f0f6fc}.dim{fill:#9198a1}.bad{fill:#ff7b72}"
    ".page{fill:#0d1117}.grid{stroke:#3d444d}.even{fill:#151b23}}"
)


def svg(spans: Iterable[Span], *, title: str) -> str:
    """The picture of one trace (or of a few, one below the other), as a whole SVG document."""
    rows = list(lines(fold(build(spans))))
    flat = [span for _, row in rows for span in row.spans]
    begin_ns = min((span.start_ns for span in flat), default=0)
    total_ns = max(1, max((span.end_ns for span in flat), default=1) - begin_ns)
    colours = _colours(flat)
    height = HEAD + ROW * len(rows) + EDGE
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" '
        f'width="{WIDTH}" height="{height}" role="img" aria-label="{_text(title)}">',
        f"<title>{_text(title)}</title><style>{_STYLE}</style>",
        f'<rect class="page" width="{WIDTH}" height="{height}"/>',
        f'<text class="head" x="{EDGE}" y="18">{_text(title)}</text>',
        *_grid(total_ns / 1e9, height),
    ]
    for index, (guide, row) in enumerate(rows):
        top = HEAD + ROW * index
        if index % 2:
            parts.append(f'<rect class="even" y="{top}" width="{NAMES + SECONDS}" height="{ROW}"/>')
        parts += _label(guide, row, top)
        for span in row.spans:
            colour = _FAILED if failed(row) else PHASES.get(span.name) or colours[span.service]
            parts.append(_bar(span, begin_ns, total_ns, top, colour))
    return "\n".join([*parts, "</svg>\n"])


def _colours(spans: Iterable[Span]) -> dict[str, str]:
    services = sorted({span.service for span in spans})
    return {name: _SERVICES[index % len(_SERVICES)] for index, name in enumerate(services)}


def _label(guide: str, row: Row, top: int) -> Iterator[str]:
    """The name, indented as the tree has it, and how long it took."""
    x = EDGE + _INDENT * (len(guide) // 3)
    said = " · ".join([row.name, *notes(row)])
    most = LABEL_CHARACTERS_MAX - 2 * (len(guide) // 3)
    short = said if len(said) <= most else said[: most - 1] + "…"
    style = ' class="bad"' if failed(row) else ""
    yield f'<text{style} x="{x}" y="{top + 15}">{_text(short)}</text>'
    yield (
        f'<text class="dim" x="{NAMES + SECONDS - 10}" y="{top + 15}" text-anchor="end">'
        f"{duration(extent(row))}</text>"
    )


def _bar(span: Span, begin_ns: int, total_ns: int, top: int, colour: str) -> str:
    room = WIDTH - NAMES - SECONDS - EDGE
    left = NAMES + SECONDS + room * (span.start_ns - begin_ns) / total_ns
    width = max(BAR_MIN, room * (span.end_ns - span.start_ns) / total_ns)
    left = min(left, WIDTH - EDGE - width)
    about = f"{plain(span.name)}, {plain(span.service)}, {duration(span.duration_seconds)}"
    return (
        f'<rect x="{left:.1f}" y="{top + 5}" width="{width:.1f}" height="{ROW - 10}" rx="2" '
        f'fill="{colour}"><title>{_text(about)}</title></rect>'
    )


def _grid(seconds: float, height: int) -> Iterator[str]:
    room = WIDTH - NAMES - SECONDS - EDGE
    step = _step(seconds)
    at = 0.0
    while at <= seconds:
        x = NAMES + SECONDS + room * at / seconds
        yield f'<line class="grid" x1="{x:.1f}" x2="{x:.1f}" y1="{HEAD - 6}" y2="{height - EDGE}"/>'
        anchor = ' text-anchor="end"' if x > WIDTH - _TICK_ROOM else ""
        yield f'<text class="dim" x="{x:.1f}" y="{HEAD - 10}"{anchor}>{at:g} s</text>'
        at = round(at + step, 9)


def _step(seconds: float) -> float:
    """A round number that divides the time into no more than so many parts."""
    size = 1e-6
    while True:
        for step in _STEPS:
            if seconds / (step * size) <= _TICKS_MAX:
                return step * size
        size *= 10


def _text(said: str) -> str:
    """Names come over the network: none of them is markup, and none steers anything."""
    return escape(plain(said), {'"': "&quot;"})
