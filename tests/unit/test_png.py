"""png.py against MuPDF, which reads every PNG."""

import pymupdf
import pytest

from reveille.render import png


@pytest.mark.parametrize("size", [(1, 1), (5, 3), (64, 7), (1024, 576)])
def test_png_has_the_pixels_of_the_page(size: tuple[int, int]) -> None:
    """Another encoder, the same image, whatever the length of a row."""
    width, height = size
    pixmap = pymupdf.Pixmap(pymupdf.csRGB, pymupdf.IRect(0, 0, width, height), False)
    pixmap.clear_with(255)
    for x, y in ((0, 0), (width - 1, height - 1), (width // 2, height // 3)):
        pixmap.set_pixel(x, y, (x % 256, y % 256, 17))
    read = pymupdf.Pixmap(png.encode(pixmap))
    assert (read.width, read.height, read.n, read.alpha) == (width, height, 3, 0)
    assert bytes(read.samples) == bytes(pixmap.samples)
