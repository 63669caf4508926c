"""Which text of a page a person sees, and which is there for machines only.

A deck is written by somebody who wants a good review, and text that only a model reads is the
cheapest way to talk to it. So text counts as hidden when it is outside the page, drawn without ink
(render mode 3, transparent), under 4 pt, on a layer that is switched off, or cannot be told from
what is around it. The last is judged on the rendered pixels, not on the page's colour: white text
is fine on a dark photograph, and black text is hidden under a white box drawn over it.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from itertools import compress
from typing import Any

import pymupdf

# Without these two, MuPDF drops text outside the page and puts ActualText (another place to hide
# words in) for what is drawn.
_FLAGS = (
    pymupdf.TEXTFLAGS_DICT & ~pymupdf.TEXT_MEDIABOX_CLIP & ~pymupdf.TEXT_PRESERVE_IMAGES
) | pymupdf.TEXT_IGNORE_ACTUALTEXT

SAME_LINE_POINTS = 6.0  # blocks that begin this close stand side by side
POINTS_MIN = 4.0
PAGE_POINTS_USUAL = 720.0  # a slide of 10 inches; smaller pages may have smaller print
PAGE_LINES_MAX = 512  # print of less than the page's longest side through this is dust
ALPHA_MIN = 26  # of 255
CONTRAST_MIN = 20  # of 255, in the channel that differs most
INK_SHARE_MAX = 0.7  # bold capitals cover under half of their box
ROWS_MAX = 48  # of pixels looked at per span
SHARE_ROWS = 12
_FILLED_OR_STROKED_OR_CLIP = 16 | 32 | 64  # bits of a span's char_flags


@dataclass(frozen=True, slots=True)
class Reading:
    """The two texts of a page."""

    visible: str
    hidden: str


def read_page(page: Any, pixmap: Any | None, all_layers: Any | None) -> Reading:
    """Split the page's text. `all_layers` is the same page with every layer switched on.

    `pixmap` is the rendered page (RGB, no alpha) that the colours are judged on.
    """
    visible: list[str] = []
    hidden: list[str] = []
    seen: set[tuple[str, int, int]] = set()
    for lines in _blocks(page):
        shown = []
        for line in lines:
            hides = [_is_hidden(span, page, pixmap) for span in line]
            seen.update(_identity(span) for span in line)
            shown.extend(_text([[s for s, hide in zip(line, hides, strict=True) if not hide]]))
            hidden.extend(_text([list(compress(line, hides))]))
        if shown:
            visible.append("\n".join(shown))
    if all_layers is not None:
        for lines in _blocks(all_layers):
            hidden.extend(_text([[s for s in line if _identity(s) not in seen] for line in lines]))
    return Reading("\n".join(visible), "\n".join(hidden))


def _blocks(page: Any) -> Iterator[list[list[dict[str, Any]]]]:
    """Blocks in reading order, as lines of spans.

    By their upper left corners: PyMuPDF's own sort goes by the lower edge, which puts the shortest
    of three columns first.
    """

    def place(block: dict[str, Any]) -> tuple[int, float]:
        box = pymupdf.Rect(block["bbox"]) * page.rotation_matrix
        return round(box.y0 / SAME_LINE_POINTS), box.x0

    found = page.get_text("dict", flags=_FLAGS, clip=pymupdf.INFINITE_RECT())
    for block in sorted(found["blocks"], key=place):
        yield [line["spans"] for line in block.get("lines", ())]


def _text(lines: list[list[dict[str, Any]]]) -> list[str]:
    joined = ("".join(span["text"] for span in line).rstrip() for line in lines)
    return [line for line in joined if line.strip()]


def _identity(span: dict[str, Any]) -> tuple[str, int, int]:
    return span["text"].strip(), round(span["bbox"][0]), round(span["bbox"][1])


def _is_hidden(span: dict[str, Any], page: Any, pixmap: Any | None) -> bool:
    if not span["text"].strip():
        return False
    inkless = not span["char_flags"] & _FILLED_OR_STROKED_OR_CLIP
    clip_only = span["char_flags"] & _FILLED_OR_STROKED_OR_CLIP == 64
    transparent = span["alpha"] < ALPHA_MIN and not clip_only
    box = pymupdf.Rect(span["bbox"]) * page.rotation_matrix
    if inkless or transparent or _is_tiny(span, page) or _is_outside(box, page.rect):
        return True
    return pixmap is not None and _is_lost_in_background(span, box, page, pixmap)


def _is_tiny(span: dict[str, Any], page: Any) -> bool:
    longest = max(page.rect.width, page.rect.height)
    points_min = POINTS_MIN * min(1.0, longest / PAGE_POINTS_USUAL)
    return bool(span["size"] < max(points_min, longest / PAGE_LINES_MAX))


def _is_outside(box: Any, page_rect: Any) -> bool:
    """True when less than half of the box is on the page."""
    area = abs(box.width * box.height)
    inside = box & page_rect
    if inside.is_empty or area == 0:
        return True
    return bool(abs(inside.width * inside.height) < area / 2)


def _is_lost_in_background(span: dict[str, Any], box: Any, page: Any, pixmap: Any) -> bool:
    """True when the box shows one colour only, or nearly only the colour of the text."""
    scale_x = pixmap.width / page.rect.width
    scale_y = pixmap.height / page.rect.height
    left = max(0, round((box.x0 - page.rect.x0) * scale_x))
    right = min(pixmap.width, round((box.x1 - page.rect.x0) * scale_x))
    top = max(0, round((box.y0 - page.rect.y0) * scale_y))
    bottom = min(pixmap.height, round((box.y1 - page.rect.y0) * scale_y))
    if right - left < 2 or bottom - top < 2:
        return False  # too small to judge by pixels; _is_tiny has judged it
    samples, stride = pixmap.samples_mv, pixmap.stride
    step = max(1, (bottom - top) // ROWS_MAX)
    rows = [
        bytes(samples[y * stride + left * 3 : y * stride + right * 3])
        for y in range(top, bottom, step)
    ]
    # From the middle on, where the letters are.
    if _is_uniform(rows[len(rows) // 2 :] + rows[: len(rows) // 2]):
        return True
    clip_only = span["char_flags"] & _FILLED_OR_STROKED_OR_CLIP == 64
    return not clip_only and _share_of(span["color"], rows) > INK_SHARE_MAX


def _is_uniform(rows: list[bytes]) -> bool:
    for channel in range(3):
        low, high = 255, 0
        for row in rows:
            values = row[channel::3]
            darkest, brightest = min(values), max(values)
            low, high = min(low, darkest), max(high, brightest)
            if high - low >= CONTRAST_MIN:
                return False  # nearly all text ends here, in its first rows
    return True


def _share_of(colour: int, rows: list[bytes]) -> float:
    """The share of pixels that are nearly `colour` (0xRRGGBB).

    One byte per pixel and channel, 1 where it is near, the channels combined as one long integer:
    37 dense slides took 56 ms each with a loop over pixels, and take 3 ms so.
    """
    sample = b"".join(rows[:: max(1, len(rows) // SHARE_ROWS)])
    near = -1
    for channel, shift in enumerate((16, 8, 0)):
        marks = sample[channel::3].translate(_near((colour >> shift) & 255))
        near &= int.from_bytes(marks, "little")
    return near.bit_count() / (len(sample) // 3)


@cache
def _near(value: int) -> bytes:
    return bytes(abs(byte - value) < CONTRAST_MIN for byte in range(256))
