"""The tree of a trace: built from whatever arrives, drawn at any width."""

from dataclasses import replace

import pytest
from rich.console import Console

from reveille import semconv
from reveille.span import Span, SpanLink, SpanStatus
from reveille.trace_tree import TraceTree, build, duration, fold, render_text

SECOND = 1_000_000_000


def span(
    number: int,
    parent: int | None,
    name: str,
    start: float,
    end: float,
    *,
    service: str = "visual_worker",
    status: SpanStatus = "unset",
    attributes: dict[str, object] | None = None,
) -> Span:
    """A span of trace aa… with times in seconds."""
    return Span(
        trace_id="a" * 32,
        span_id=f"{number:016x}",
        parent_span_id=None if parent is None else f"{parent:016x}",
        name=name,
        service=service,
        start_ns=int(start * SECOND),
        end_ns=int(end * SECOND),
        status=status,
        attributes=attributes or {},
    )


def a_retried_task() -> list[Span]:
    """Cold start, a failed attempt, a second one with eight slides."""
    failure: dict[str, object] = {semconv.ERROR_TYPE: "model_busy"}
    second: dict[str, object] = {semconv.REVEILLE_ATTEMPT: 2}
    spans = [
        span(1, None, "send visual_analysis", 0, 0),
        span(2, 1, "queued visual_analysis", 0, 4),
        span(3, 1, "container cold start", 0.1, 3.9, service="autoscaler"),
        span(4, 3, "container creating", 0.1, 1, service="autoscaler"),
        span(5, 3, "container booting", 1, 3.9, service="autoscaler"),
        span(6, 1, "process visual_analysis", 4, 6, status="error", attributes=failure),
        span(7, 1, "queued visual_analysis", 6, 8, attributes=second),
        span(8, 1, "process visual_analysis", 8, 20, attributes=second),
    ]
    spans += [span(100 + slide, 8, "chat", 8 + slide, 9 + slide) for slide in range(8)]
    return [*spans, span(9, 8, "settle", 19.99, 20)]


def test_tree_of_a_retried_task_reads_as_its_story() -> None:
    """The drawing at an ordinary terminal's width, character by character."""
    assert render_text(a_retried_task(), width=100) == (
        """\
send visual_analysis                      +0.0 ms   0.0 ms  ▌
├─ queued visual_analysis                 +0.0 ms   4.00 s  █████
├─ container cold start                   +100 ms   3.80 s  █████
│  ├─ container creating                  +100 ms   900 ms  █▌
│  └─ container booting                   +1.00 s   2.90 s   ████
├─ process visual_analysis · model_busy   +4.00 s   2.00 s       ███
├─ queued visual_analysis · attempt 2     +6.00 s   2.00 s         ███
└─ process visual_analysis · attempt 2    +8.00 s   12.0 s            ███████████████
   ├─ chat ×8, mean 1.00 s, total 8.00 s  +8.00 s   8.00 s            ██████████
   └─ settle                              +20.0 s  10.0 ms                          ▌
"""
    )


@pytest.mark.parametrize("width", [24, 40, 64, 80, 116, 200])
def test_no_line_is_wider_than_the_terminal(width: int) -> None:
    """Names are cut, bars and services left out, before a line breaks."""
    lines = render_text(a_retried_task(), width=width).splitlines()
    assert len(lines) == 10
    assert max(map(len, lines)) <= width


def test_failed_spans_are_red() -> None:
    """An error is seen without reading."""
    console = Console(width=100, color_system="standard", force_terminal=True)
    with console.capture() as capture:
        console.print(TraceTree(a_retried_task()))
    failed = next(line for line in capture.get().splitlines() if "model_busy" in line)
    assert "\x1b[1;31mprocess visual_analysis" in failed


def test_span_whose_parent_is_missing_becomes_a_marked_root() -> None:
    """A lost batch must not hide what arrived."""
    roots = build([span(1, None, "send", 0, 1), span(2, 99, "lost", 0.5, 1)])
    assert [(root.span.name, root.orphan) for root in roots] == [("send", False), ("lost", True)]
    assert "lost · parent not seen" in render_text([roots[1].span])


def test_spans_in_a_cycle_are_each_drawn_once() -> None:
    """A faulty client cannot make the drawing endless, or lose a span."""
    roots = build([span(1, 2, "a", 0, 1), span(2, 1, "b", 1, 2), span(3, 3, "self", 3, 4)])
    assert [root.span.name for root in roots] == ["a", "self"]
    assert [child.span.name for child in roots[0].children] == ["b"]


def test_endless_chain_of_spans_is_drawn_without_an_error() -> None:
    """A chain deeper than Python's stack goes on as further roots."""
    chain = [span(1, None, "s0", 0, 1)]
    chain += [span(n + 1, n, f"s{n}", n, n + 1) for n in range(1, 3000)]
    assert len(render_text(chain).splitlines()) == 3000


def test_span_that_arrives_twice_is_drawn_once() -> None:
    """Exporters repeat a batch whose answer was lost."""
    once = span(1, None, "send", 0, 1)
    assert len(build([once, replace(once)])) == 1


def test_few_like_siblings_and_failed_ones_are_not_folded_together() -> None:
    """Folding hides repetition, not a failure."""
    chats = [span(n, None, "chat", n, n + 1) for n in range(1, 4)]
    assert [row.name for row in fold(build(chats))] == ["chat", "chat", "chat"]
    failed = span(9, None, "chat", 9, 10, status="error")
    rows = fold(build([*chats, span(4, None, "chat", 4, 5), failed]))
    assert [row.name for row in rows] == ["chat ×4, mean 1.00 s, total 4.00 s", "chat"]


def test_children_of_folded_spans_are_folded_below_them() -> None:
    """A slide's steps stay visible when the slides are one line."""
    slides = [span(n, None, "slide", n, n + 1) for n in range(1, 6)]
    steps = [span(10 + n, n, "render page", n, n + 0.5) for n in range(1, 6)]
    (row,) = fold(build([*slides, *steps]))
    assert [below.name for below in row.rows] == ["render page ×5, mean 500 ms, total 2.50 s"]


def test_link_to_another_trace_is_said() -> None:
    """A pipeline's tasks have their own traces; the drawing says that there are others."""
    linked = replace(
        span(1, None, "process", 0, 1), links=(SpanLink("b" * 32, "1" * 16), SpanLink("a" * 32, ""))
    )
    assert "process · 1 linked trace " in render_text([linked])


def test_control_characters_in_names_cannot_steer_the_terminal() -> None:
    """Span names come over the network; they must not clear the screen or use markup."""
    drawn = render_text([span(1, None, "evil\x1b[2J\r\n[red]x", 0, 1)])
    assert "evil·[2J··[red]x" in drawn
    assert len(drawn.splitlines()) == 1


def test_empty_trace_is_said_to_be_empty() -> None:
    """No spans is an answer, not an error."""
    assert render_text([]) == "no spans\n"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0.0 ms"),
        (0.0004, "0.4 ms"),
        (0.12, "120 ms"),
        (0.99951, "1.00 s"),
        (1.25, "1.25 s"),
        (42.04, "42.0 s"),
        (59.96, "1 m 00 s"),
        (123, "2 m 03 s"),
        (3720, "1 h 02 m"),
    ],
)
def test_durations_are_short_and_never_sixty_seconds(seconds: float, text: str) -> None:
    """Three digits say enough, and rounding never shows 60.0 s or 1000 ms."""
    assert duration(seconds) == text
