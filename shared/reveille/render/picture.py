"""A drawing of our own as pixels: SVG to PNG. Never for what a stranger sent."""

import pymupdf


def png_of(svg: str, scale: float = 1.5) -> bytes:
    """The PNG of an SVG that this project drew, `scale` pixels per unit."""
    with pymupdf.open(stream=svg.encode(), filetype="svg") as drawing:
        pixels: bytes = drawing[0].get_pixmap(matrix=pymupdf.Matrix(scale, scale)).tobytes("png")
    return pixels
