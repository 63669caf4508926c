"""PDFs for tests, written by hand: good ones, damaged ones, hostile ones.

Written as bytes, not with a PDF library, because most of them are what a library refuses to write;
and so a test, or the demo, can have a broken deck without PyMuPDF.

    deck("Hello", "World")          a slide per text
    pages([content, …], …)          a slide per content stream
    zero_pages(), huge_page(), nested_forms(), hidden_texts(), …
"""

import zlib
from collections.abc import Mapping, Sequence

WIDTH, HEIGHT = 960, 540
FIRST_PAGE = 4  # object number; 1 catalog, 2 page tree, 3 font


def deck(*texts: str) -> bytes:
    """A good PDF with one slide per text, set in 32 pt."""
    return pages([text_at(60, 440, text, size=32) for text in texts])


def pages(
    contents: Sequence[str | bytes],
    *,
    box: tuple[float, float] = (WIDTH, HEIGHT),
    page: str = "",
    catalog: str = "",
    resources: str = "",
    objects: Mapping[int, bytes] | None = None,
) -> bytes:
    """A PDF with one page per content stream.

    `page`, `catalog` and `resources` are entries added to each page, to the catalog and to each
    page's resources; `objects` are further objects by number, from 1000 on.
    """
    numbered = {
        1: f"<</Type/Catalog/Pages 2 0 R {catalog}>>".encode(),
        3: b"<</Type/Font/Subtype/Type1/BaseFont/Helvetica/Encoding/WinAnsiEncoding>>",
    }
    kids = []
    for index, content in enumerate(contents):
        number = FIRST_PAGE + 2 * index
        kids.append(f"{number} 0 R")
        numbered[number] = (
            f"<</Type/Page/Parent 2 0 R/MediaBox[0 0 {box[0]} {box[1]}]/Contents {number + 1} 0 R"
            f"/Resources<</Font<</F1 3 0 R>>{resources}>>{page}>>"
        ).encode()
        numbered[number + 1] = stream(content)
    tree = f"<</Type/Pages/Count {len(kids)}/Kids[{' '.join(kids)}]>>"
    return write({**numbered, 2: tree.encode(), **(objects or {})})


def stream(content: str | bytes, entries: str = "") -> bytes:
    """The body of a stream object."""
    data = content.encode("cp1252") if isinstance(content, str) else content
    return f"<</Length {len(data)}{entries}>>stream\n".encode() + data + b"\nendstream"


def write(objects: Mapping[int, bytes]) -> bytes:
    """Objects by number as a PDF file with a correct cross-reference table."""
    body = bytearray(b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n")
    offsets = {}
    for number in sorted(objects):
        offsets[number] = len(body)
        body += f"{number} 0 obj\n".encode() + objects[number] + b"\nendobj\n"
    start, size = len(body), max(objects) + 1
    body += f"xref\n0 {size}\n".encode()
    body += b"0000000000 65535 f \n"
    for number in range(1, size):
        used = number in offsets
        body += f"{offsets.get(number, 0):010} {'00000 n' if used else '65535 f'} \n".encode()
    body += f"trailer\n<</Size {size}/Root 1 0 R>>\nstartxref\n{start}\n%%EOF\n".encode()
    return bytes(body)


def text_at(
    x: float, y: float, text: str, *, size: float = 16, colour: str = "0 0 0", before: str = ""
) -> str:
    """Operators that show `text` at a point; `before` goes in front, inside the text object."""
    escaped = text.replace("\\", r"\\").replace("(", r"\(").replace(")", r"\)")
    return f"q {colour} rg BT {before} /F1 {size} Tf {x} {y} Td ({escaped}) Tj ET Q\n"


def zero_pages() -> bytes:
    """A correct PDF whose page tree is empty."""
    return pages([])


def huge_page(side_points: int = 50_000) -> bytes:
    """One page, as large as asked."""
    return pages([text_at(60, 440, "far away")], box=(side_points, side_points))


def truncated() -> bytes:
    """Three slides, cut off where the cross-references begin: can be repaired."""
    whole = deck("First", "Second", "Third")
    return whole[: whole.index(b"xref\n")]


def cut_before_pages() -> bytes:
    """Begins like a PDF and ends before the first page."""
    whole = deck("First")
    return whole[: whole.index(b"2 0 obj")]


def nested_forms(depth: int = 12, *, first: int = 10) -> bytes:
    """A few kB that ask for 10 to the power of `depth` drawing operations, for each of `first`."""
    calls = "/X Do " * 10
    objects = {}
    for level in range(depth):
        entries = "/Type/XObject/Subtype/Form/BBox[0 0 960 540]"
        if level < depth - 1:
            entries += f"/Resources<</XObject<</X {1001 + level} 0 R>>>>"
        content = calls if level < depth - 1 else "0 0 m 960 540 l S"
        objects[1000 + level] = stream(content, entries)
    return pages(["/X Do " * first], resources="/XObject<</X 1000 0 R>>", objects=objects)


def swollen_stream(gigabytes: float = 4) -> bytes:
    """A content stream of some kB that unpacks to that many gigabytes of spaces."""
    return _one_page(stream(*_packed(b" ", round(gigabytes * 1024**3))))


def text_flood(characters: int = 200_000_000) -> bytes:
    """A page of some kB whose text layer has that many characters."""
    head, tail = b"BT /F1 1 Tf (", b") Tj ET"
    runs = bytes([len(head) - 1]) + head + b"\x81A" * (characters // 128)
    runs += bytes([len(tail) - 1]) + tail
    filters = "/Filter[/FlateDecode/RunLengthDecode]"
    return _one_page(stream(zlib.compress(runs, 9), filters))


def _one_page(content: bytes) -> bytes:
    """A PDF whose only page has this stream object as content."""
    return write(
        {
            1: b"<</Type/Catalog/Pages 2 0 R>>",
            2: b"<</Type/Pages/Count 1/Kids[3 0 R]>>",
            3: b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 960 540]/Contents 4 0 R"
            b"/Resources<</Font<</F1 5 0 R>>>>>>",
            4: content,
            5: b"<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>",
        }
    )


def giant_image(side_pixels: int = 30_000) -> bytes:
    """A page with a black image of some kB that takes gigabytes once unpacked."""
    data, filters = _packed(b"\0", side_pixels * side_pixels * 3)
    entries = (
        f"/Type/XObject/Subtype/Image/Width {side_pixels}/Height {side_pixels}"
        f"/ColorSpace/DeviceRGB/BitsPerComponent 8{filters}"
    )
    return pages(
        ["q 960 0 0 540 0 0 cm /I Do Q"],
        resources="/XObject<</I 1000 0 R>>",
        objects={1000: stream(data, entries)},
    )


def _packed(byte: bytes, count: int) -> tuple[bytes, str]:
    """`count` times `byte` in two layers of compression, and the stream entries that unpack it."""
    runs = (b"\x81" + byte) * (count // 128)  # one run of 128 is two bytes
    return zlib.compress(zlib.compress(runs, 1), 9), (
        "/Filter[/FlateDecode/FlateDecode/RunLengthDecode]"
    )


def hidden_texts() -> bytes:
    """One slide that hides a sentence in every way that a reader of the slide cannot see."""
    content = (
        text_at(60, 480, "Visible title", size=32)
        + "0.1 0.1 0.4 rg 60 300 400 100 re f\n"
        + text_at(80, 340, "White on blue is visible", colour="1 1 1")
        + text_at(60, 260, "White on white", colour="1 1 1")
        + text_at(60, 230, "Almost white", colour="0.97 0.97 0.97")
        + text_at(60, 200, "Tiny print", size=1.5)
        + text_at(60, 170, "Render mode three", before="3 Tr")
        + text_at(60, -300, "Below the page")
        + text_at(60, 140, "Covered by a box")
        + "1 1 1 rg 50 130 300 30 re f\n"
        + "q /Clear gs\n"
        + text_at(60, 100, "Transparent")
        + "Q\n/OC /Off BDC\n"
        + text_at(60, 60, "On a layer that is off")
        + "EMC\n"
    )
    return pages(
        [content],
        catalog="/OCProperties<</OCGs[1000 0 R]/D<</OFF[1000 0 R]/Order[1000 0 R]>>>>",
        resources="/ExtGState<</Clear<</ca 0.01>>>>/Properties<</Off 1000 0 R>>",
        objects={1000: b"<</Type/OCG/Name(Notes)>>"},
    )


def with_extras() -> bytes:
    """One slide in a PDF with a script, an embedded file and a link."""
    return pages(
        [text_at(60, 440, "Ordinary slide", size=32)],
        page="/Annots[1003 0 R]",
        catalog=(
            "/OpenAction<</S/JavaScript/JS(app.alert\\(1\\))>>"
            "/Names<</EmbeddedFiles<</Names[(notes.txt) 1000 0 R]>>>>"
        ),
        objects={
            1000: b"<</Type/Filespec/F(notes.txt)/UF(notes.txt)/EF<</F 1001 0 R>>>>",
            1001: stream("ignore the slides", "/Type/EmbeddedFile"),
            1003: (
                b"<</Type/Annot/Subtype/Link/Rect[60 430 300 470]"
                b"/A<</S/URI/URI(https://example.com/)>>>>"
            ),
        },
    )
