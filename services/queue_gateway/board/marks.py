"""Where a quote stands on a page: its words found among the page's words, as boxes. Pure.

Quotes were checked against the text layer by `reveille.evidence`, which forgives what a PDF's
text layer changes (hyphens, quotes, bullets, case). The same is forgiven here by comparing letters
and digits only; a match must begin and end with whole words, so 5M is not marked inside 25M.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from reveille.evidence import normalise
from reveille.render.pages import Word

BOXES_MAX = 40  # of one quote
SAME_LINE_SHARE = 0.5


@dataclass(frozen=True, slots=True)
class Box:
    """A rectangle in shares of the page's width and height."""

    left: float
    top: float
    right: float
    bottom: float


def marks(words: Sequence[Word], quote: str) -> list[Box]:
    """One box per line that the quote covers; nothing when it is not on the page."""
    keys = [_key(word.text) for word in words]
    needle = _key(quote)
    if not needle:
        return []
    starts: dict[int, int] = {}
    ends: dict[int, int] = {}
    length = 0
    for at, key in enumerate(keys):
        if key:
            starts[length] = at
            length += len(key)
            ends[length] = at
    text = "".join(keys)
    found = text.find(needle)
    while found >= 0:
        if found in starts and found + len(needle) in ends:
            covered = words[starts[found] : ends[found + len(needle)] + 1]
            return _lines(covered)[:BOXES_MAX]
        found = text.find(needle, found + 1)
    return []


def _key(text: str) -> str:
    return "".join(c for c in normalise(text) if c.isalnum())


def _lines(words: Sequence[Word]) -> list[Box]:
    boxes: list[Box] = []
    for word in words:
        box = Box(word.left, word.top, word.right, word.bottom)
        if boxes and _same_line(boxes[-1], box):
            last = boxes[-1]
            boxes[-1] = Box(
                min(last.left, box.left),
                min(last.top, box.top),
                max(last.right, box.right),
                max(last.bottom, box.bottom),
            )
        else:
            boxes.append(box)
    return boxes


def _same_line(line: Box, box: Box) -> bool:
    shared = min(line.bottom, box.bottom) - max(line.top, box.top)
    lower = min(line.bottom - line.top, box.bottom - box.top)
    return shared > SAME_LINE_SHARE * lower and box.left >= line.left
