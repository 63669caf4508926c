"""A trace as a tree, and the tree as text with a small time bar per span.

`build` is pure: spans in, roots out, whatever arrives (a lost parent, a cycle, a span twice).
`TraceTree` draws the roots with rich, at any width, and folds many like siblings into one line.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from operator import attrgetter

from rich.console import Console, ConsoleOptions, RenderResult
from rich.table import Table
from rich.text import Text

from reveille import semconv
from reveille.span import Span

# From this many like siblings on, one line stands for all.
FOLD_FROM = 4
_BAR_MIN, _BAR_MAX = 10, 40
# Columns from which there is room for the bars, and for the services' names besides.
_WIDE, _ROOMY = 64, 116
_NAME_MIN = 12
_SERVICE_COLORS = ("cyan", "green", "magenta", "yellow", "blue", "bright_cyan", "bright_green")
# A real task's trace is five deep; a deeper one goes on as a further root.
_DEPTH_MAX = 64
_BY_START = attrgetter("start_ns", "end_ns", "span_id")


@dataclass(frozen=True, slots=True)
class Node:
    """A span and what happened below it, in order of start. `orphan`: its parent is not here."""

    span: Span
    children: tuple["Node", ...] = ()
    orphan: bool = False


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the drawing: one span, or several like siblings. `rows` are those below it."""

    spans: tuple[Span, ...]
    rows: tuple["Row", ...]
    orphan: bool

    @property
    def name(self) -> str:
        """The span's name, with the count and the mean where several are folded."""
        first = self.spans[0]
        if len(self.spans) == 1:
            return first.name
        total = sum(span.duration_seconds for span in self.spans)
        mean = total / len(self.spans)
        return f"{first.name} ×{len(self.spans)}, mean {duration(mean)}, total {duration(total)}"


def build(spans: Iterable[Span]) -> tuple[Node, ...]:
    """The roots of the given spans, in order of start; each span is in exactly one place."""
    by_id = {(span.trace_id, span.span_id): span for span in spans}
    below: dict[tuple[str, str] | None, list[Span]] = {}
    for span in sorted(by_id.values(), key=_BY_START):
        below.setdefault(_parent(span, by_id), []).append(span)
    placed: set[tuple[str, str]] = set()

    def grow(span: Span, depth: int = 0) -> Node:
        placed.add(_key(span))
        children = below.get(_key(span), ()) if depth < _DEPTH_MAX else ()
        orphan = span.parent_span_id is not None and _parent(span, by_id) is None
        nodes = tuple(grow(child, depth + 1) for child in children if _key(child) not in placed)
        return Node(span, nodes, orphan)

    roots = [grow(span) for span in below.get(None, ())]
    # What is left hangs on itself, round a cycle, or too deep: go on at its earliest span.
    left = sorted(by_id.values(), key=_BY_START)
    roots.extend(grow(span) for span in left if _key(span) not in placed)
    return tuple(sorted(roots, key=lambda node: _BY_START(node.span)))


def fold(nodes: Sequence[Node]) -> tuple[Row, ...]:
    """Rows for sibling nodes; many of one name, service and status become one row."""
    groups: dict[tuple[str, str, str], list[Node]] = {}
    for node in nodes:
        groups.setdefault((node.span.name, node.span.service, node.span.status), []).append(node)
    rows = []
    for group in groups.values():
        for part in [group] if len(group) >= FOLD_FROM else [[node] for node in group]:
            below = sorted(
                (child for node in part for child in node.children),
                key=lambda child: _BY_START(child.span),
            )
            spans = tuple(node.span for node in part)
            rows.append(Row(spans, fold(below), any(node.orphan for node in part)))
    return tuple(sorted(rows, key=lambda row: _BY_START(row.spans[0])))


def duration(seconds: float) -> str:
    """A duration for people: 0.4 ms, 120 ms, 1.25 s, 2 m 03 s, 1 h 02 m."""
    if seconds < 0.0995:
        return f"{seconds * 1e3:.1f} ms"
    if seconds < 0.9995:
        return f"{seconds * 1e3:.0f} ms"
    if seconds < 59.95:
        return f"{seconds:.2f} s" if seconds < 9.995 else f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} m {rest:02} s"
    return f"{minutes // 60} h {minutes % 60:02} m"


class TraceTree:
    """A rich renderable: the spans of one trace (or of a few, one below the other)."""

    def __init__(self, spans: Iterable[Span]) -> None:
        self._roots = build(spans)
        self._rows = fold(self._roots)
        flat = [span for _, row in lines(self._rows) for span in row.spans]
        self._start_ns = min((span.start_ns for span in flat), default=0)
        self._end_ns = max((span.end_ns for span in flat), default=0)
        services = sorted({span.service for span in flat})
        self._colors = {
            service: _SERVICE_COLORS[index % len(_SERVICE_COLORS)]
            for index, service in enumerate(services)
        }

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        width = options.max_width
        if not self._rows:
            yield Text("no spans")
            return
        table = Table.grid(padding=(0, 2, 0, 0))
        bar_width = max(_BAR_MIN, min(_BAR_MAX, width // 4)) if width >= _WIDE else 0
        fixed = 22 + (bar_width + 2 if bar_width else 0) + (18 if width >= _ROOMY else 0)
        table.add_column(no_wrap=True, overflow="ellipsis", max_width=max(_NAME_MIN, width - fixed))
        if width >= _ROOMY:
            table.add_column(no_wrap=True, overflow="ellipsis", max_width=16)
        table.add_column(justify="right", no_wrap=True)
        table.add_column(justify="right", no_wrap=True)
        if bar_width:
            table.add_column(no_wrap=True)
        for guide, row in lines(self._rows):
            cells = [self._label(guide, row)]
            if width >= _ROOMY:
                cells.append(Text(plain(row.spans[0].service), style=self._style(row)))
            cells.append(Text(f"+{duration(self._offset(row.spans[0].start_ns))}", style="dim"))
            cells.append(Text(duration(extent(row))))
            if bar_width:
                cells.append(Text(self._bar(row, bar_width), style=self._style(row)))
            table.add_row(*cells)
        yield table

    def _label(self, guide: str, row: Row) -> Text:
        label = Text().append(guide, style="dim")
        label.append(plain(row.name), style=self._style(row))
        for note in notes(row):
            label.append(f" · {plain(note)}", style="red" if failed(row) else "dim")
        return label

    def _style(self, row: Row) -> str:
        return "bold red" if failed(row) else self._colors[row.spans[0].service]

    def _offset(self, moment_ns: int) -> float:
        return (moment_ns - self._start_ns) / 1e9

    def _bar(self, row: Row, width: int) -> str:
        """One character per slice of the trace's time: full, partly, or not covered."""
        total_ns = max(1, self._end_ns - self._start_ns)
        covered = [0.0] * width
        for span in row.spans:
            begin = (span.start_ns - self._start_ns) * width / total_ns
            end = max(begin, (span.end_ns - self._start_ns) * width / total_ns)
            first, last = min(int(begin), width - 1), min(int(end), width - 1)
            for cell in range(first, last + 1):
                share = min(end, cell + 1) - max(begin, cell)
                # What is too short to see is still shown; an end on a cell's edge is not.
                if share > 0 or cell == first:
                    covered[cell] += max(share, 0.01)
        return "".join(" " if not share else "█" if share >= 0.5 else "▌" for share in covered)


def render_text(spans: Iterable[Span], *, width: int = 100) -> str:
    """The tree as plain text, without colours."""
    console = Console(width=width, color_system=None, force_terminal=False, legacy_windows=False)
    with console.capture() as capture:
        console.print(TraceTree(spans))
    return "\n".join(line.rstrip() for line in capture.get().splitlines()) + "\n"


def lines(rows: Sequence[Row], prefix: str = "", *, root: bool = True) -> Iterator[tuple[str, Row]]:
    """Every row with the guide lines before its name, depth first."""
    for index, row in enumerate(rows):
        last = index == len(rows) - 1
        yield ("" if root else prefix + ("└─ " if last else "├─ ")), row
        below = "" if root else prefix + ("   " if last else "│  ")
        yield from lines(row.rows, below, root=False)


def notes(row: Row) -> Iterator[str]:
    """What is said behind a row's name."""
    span = row.spans[0]
    if row.orphan:
        yield "parent not seen"
    attempt = span.attributes.get(semconv.REVEILLE_ATTEMPT)
    if isinstance(attempt, int) and attempt > 1:
        yield f"attempt {attempt}"
    if span.attributes.get(semconv.REVEILLE_BACKFILLED):
        yield "back-filled"
    others = {link.trace_id for link in span.links} - {span.trace_id}
    if others:
        yield f"{len(others)} linked trace{'s' if len(others) > 1 else ''}"
    if failed(row):
        yield str(span.attributes.get(semconv.ERROR_TYPE) or "error")


def failed(row: Row) -> bool:
    """Whether it is shown as an error."""
    return row.spans[0].status == "error"


def extent(row: Row) -> float:
    """From the first start to the last end of what a row stands for, in seconds."""
    start_ns = min(span.start_ns for span in row.spans)
    return max(0, max(span.end_ns for span in row.spans) - start_ns) / 1e9


def _key(span: Span) -> tuple[str, str]:
    return span.trace_id, span.span_id


def _parent(span: Span, by_id: dict[tuple[str, str], Span]) -> tuple[str, str] | None:
    """The key of the span's parent, if that is here."""
    if span.parent_span_id is None or (span.trace_id, span.parent_span_id) not in by_id:
        return None
    return span.trace_id, span.parent_span_id


def plain(text: str) -> str:
    """Names come over the network: what could steer a terminal becomes a dot."""
    return "".join(character if character.isprintable() else "·" for character in text)
