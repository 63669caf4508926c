"""The waterfall: every row, bars where they belong, and nothing in it that a name brought along."""

from dataclasses import replace
from xml.etree import ElementTree

import pytest
from tests.unit.test_trace_tree import a_retried_task, span

from reveille.span import Span
from reveille.trace_picture import NAMES, PHASES, SECONDS, WIDTH, svg
from reveille.trace_tree import build, fold, lines

SVG = "{http://www.w3.org/2000/svg}"


def bars(spans: list[Span]) -> dict[str, tuple[float, float, str]]:
    """Left edge, width and colour of the last bar of each name."""
    picture = ElementTree.fromstring(svg(spans, title="t"))  # noqa: S314 - ours
    found = {}
    for rect in picture.iter(f"{SVG}rect"):
        title = rect.find(f"{SVG}title")
        if title is not None and title.text:
            place = float(rect.attrib["x"]), float(rect.attrib["width"])
            found[title.text.split(",")[0]] = *place, rect.attrib["fill"]
    return found


def test_every_row_has_a_name_and_every_span_a_bar() -> None:
    """What the tree shows the picture shows."""
    spans = a_retried_task()
    picture = ElementTree.fromstring(svg(spans, title="a retried task"))  # noqa: S314 - ours
    texts = [text.text or "" for text in picture.iter(f"{SVG}text")]
    for _, row in lines(fold(build(spans))):
        assert any(text.startswith(row.name) for text in texts)
    assert sum(rect.find(f"{SVG}title") is not None for rect in picture.iter(f"{SVG}rect")) == len(
        spans
    )


def test_bars_stand_in_proportion_and_phases_have_their_own_colours() -> None:
    """A quarter of the time is a quarter of the room, one phase ends where the next begins."""
    drawn = bars(
        [
            span(1, None, "container cold start", 0, 8),
            span(2, 1, "container waiting", 0, 2),
            span(3, 1, "container pulling", 2, 8),
        ]
    )
    left, width, colour = drawn["container waiting"]
    assert left == NAMES + SECONDS
    assert width == pytest.approx(drawn["container cold start"][1] / 4, abs=0.1)
    assert drawn["container pulling"][0] == pytest.approx(left + width, abs=0.1)
    assert colour == PHASES["container waiting"] != drawn["container pulling"][2]


def test_span_without_length_is_seen_and_none_leaves_the_picture() -> None:
    """A `send` at one moment, also at the very end."""
    drawn = bars([span(1, None, "whole", 0, 10), span(2, 1, "last", 10, 10)])
    left, width, _ = drawn["last"]
    assert width > 1
    assert left + width <= WIDTH


@pytest.mark.parametrize("name", ['</text><script>alert("x")</script>', "a\x1b[2Jb\x00", "&amp; <"])
def test_hostile_name_is_text(name: str) -> None:
    """Task types and models are named by others."""
    hostile = replace(span(1, None, "x", 0, 1), name=name, service=name)
    picture = ElementTree.fromstring(svg([hostile], title=name))  # noqa: S314 - ours
    assert {element.tag.removeprefix(SVG) for element in picture.iter()} == {
        *("svg", "title", "style", "rect", "text", "line")
    }


def test_no_spans_make_an_empty_picture() -> None:
    """A collector that was away is no error."""
    assert ElementTree.fromstring(svg([], title="nothing")).tag == f"{SVG}svg"  # noqa: S314
