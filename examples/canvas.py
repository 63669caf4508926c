"""A slide to draw on: boxes, circles, lines and wrapped text, in points from the top left corner."""

from collections.abc import Sequence

import pymupdf

WIDTH, HEIGHT = 960, 540
FONTS = {
    "regular": pymupdf.Font("helv"),
    "bold": pymupdf.Font("hebo"),
    "italic": pymupdf.Font("heit"),
}
LINE = 1.3  # line height in sizes
RISE = 0.82  # from the top of a line to its baseline, in sizes


class Canvas:
    """One slide. Everything appears in the order in which it was drawn, text on top."""

    def __init__(self, document: pymupdf.Document, palette: dict[str, str]) -> None:
        self.page = document.new_page(width=WIDTH, height=HEIGHT)
        self._shape = self.page.new_shape()
        self._palette = palette
        for name, font in FONTS.items():
            self.page.insert_font(fontname=name, fontbuffer=font.buffer)

    def colour(self, name: str) -> tuple[float, float, float]:
        """A colour of the palette, or `#rrggbb`."""
        value = self._palette.get(name, name).removeprefix("#")
        return tuple(int(value[i : i + 2], 16) / 255 for i in (0, 2, 4))

    def box(
        self,
        x: float,
        y: float,
        width: float,
        height: float,
        fill: str,
        *,
        line: str | None = None,
        radius: float = 0,
    ) -> None:
        """A filled rectangle; `radius` rounds its corners, in points."""
        self._shape.draw_rect(
            pymupdf.Rect(x, y, x + width, y + height),
            radius=min(0.5, radius / min(width, height)) if radius else None,
        )
        self._shape.finish(
            fill=self.colour(fill), color=self.colour(line) if line else None, width=1
        )

    def circle(self, x: float, y: float, radius: float, fill: str) -> None:
        """A filled circle around (x, y)."""
        self._shape.draw_circle((x, y), radius)
        self._shape.finish(fill=self.colour(fill), color=None)

    def line(self, points: Sequence[tuple[float, float]], colour: str, width: float = 1) -> None:
        """A line through the points."""
        self._shape.draw_polyline(points)
        self._shape.finish(
            color=self.colour(colour), width=width, closePath=False, lineCap=1, lineJoin=1
        )

    def area(self, points: Sequence[tuple[float, float]], fill: str) -> None:
        """A filled polygon."""
        self._shape.draw_polyline(points)
        self._shape.finish(fill=self.colour(fill), color=None, closePath=True)

    def text(
        self,
        x: float,
        y: float,
        text: str,
        *,
        size: float = 16,
        font: str = "regular",
        colour: str = "ink",
        width: float | None = None,
        align: str = "left",
    ) -> float:
        """Wrapped text whose first line's top is at y; returns the y below its last line.

        `align` is about the column from x of that width, or about x itself without a width.
        """
        for line in wrap(text, size, font, width):
            free = (width or 0) - FONTS[font].text_length(line, size)
            shift = {"left": 0, "center": free / 2, "right": free}[align]
            self._shape.insert_text(
                (x + shift, y + RISE * size),
                line,
                fontname=font,
                fontsize=size,
                color=self.colour(colour),
            )
            y += LINE * size
        return y

    def height(self, text: str, size: float, width: float, font: str = "regular") -> float:
        """How high `text` would be."""
        return len(wrap(text, size, font, width)) * LINE * size

    def done(self) -> None:
        """Write everything to the page."""
        self._shape.commit()


def wrap(text: str, size: float, font: str, width: float | None) -> list[str]:
    """Lines of at most `width` points. A word longer than that has its own line."""
    if width is None:
        return text.split("\n")
    lines = []
    for paragraph in text.split("\n"):
        line = ""
        for word in paragraph.split():
            longer = f"{line} {word}".strip()
            if line and FONTS[font].text_length(longer, size) > width:
                lines.append(line)
                line = word
            else:
                line = longer
        lines.append(line)
    return lines
