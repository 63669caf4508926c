"""Draws the example decks from their YAML: `python examples/make_decks.py [--out FOLDER] [NAME …]`.

The YAML is also the ground truth: what a deck says about its company stands under `facts`. The same
YAML gives the same bytes every time. All companies are invented.
"""

import argparse
from pathlib import Path
from typing import Any

import pymupdf
import yaml
from canvas import HEIGHT, Canvas
from layouts import draw

HERE = Path(__file__).parent
EPOCH = "D:20260301000000Z"


def main() -> None:
    """Draw the named decks, or all."""
    parser = argparse.ArgumentParser(description="Draw the example decks.")
    parser.add_argument("names", nargs="*", help="decks to draw; all when left out")
    parser.add_argument("--out", type=Path, default=HERE, help="folder for the PDFs")
    arguments = parser.parse_args()
    for source in sorted(HERE.glob("*.yaml")):
        if not arguments.names or source.stem in arguments.names:
            deck = yaml.safe_load(source.read_text(encoding="utf-8"))
            (arguments.out / f"{source.stem}.pdf").write_bytes(make(deck))


def make(deck: dict[str, Any]) -> bytes:
    """The deck as a PDF."""
    document = pymupdf.open()
    for number, slide in enumerate(deck["slides"], start=1):
        canvas = Canvas(document, deck["palette"])
        draw(canvas, slide, company=deck["footer"], number=number)
        canvas.done()
        for trick in slide.get("tricks", []):
            _play(document, canvas, trick)
    for name, text in deck.get("embedded_files", {}).items():
        document.embfile_add(name, text.encode(), filename=name)
    for xref in range(1, document.xref_length()):
        if document.xref_get_key(xref, "Type")[1] == "/EmbeddedFile":
            document.xref_set_key(xref, "Params", "null")  # it holds the time of day
    if "javascript" in deck:
        script = pymupdf.get_pdf_str(deck["javascript"])
        action = f"<</S/JavaScript/JS{script}>>"
        document.xref_set_key(document.pdf_catalog(), "OpenAction", action)
    document.set_metadata({"title": deck["title"], "creationDate": EPOCH, "modDate": EPOCH})
    return bytes(document.tobytes(garbage=4, deflate=True, use_objstms=1, no_new_id=True))


def _play(document: pymupdf.Document, canvas: Canvas, trick: dict[str, Any]) -> None:
    """Add what a hostile deck hides on a slide."""
    page, text = canvas.page, trick.get("text", "")
    options: dict[str, Any] = {"fontname": "regular", "fontsize": trick.get("size", 12)}
    where = trick.get("at", [60, 300])
    match trick["how"]:
        case "link":
            area = pymupdf.Rect(where[0], where[1], where[0] + 300, where[1] + 24)
            page.insert_link({"kind": pymupdf.LINK_URI, "from": area, "uri": trick["uri"]})
            return
        case "colour":
            options["color"] = canvas.colour(trick["colour"])
        case "tiny":
            options["fontsize"] = 1.5
        case "invisible":
            options["render_mode"] = 3
        case "outside":
            where = [60, HEIGHT + 200]
        case "layer":
            options["oc"] = document.add_ocg("Notes", on=False)
        case "visible":
            options["color"] = canvas.colour("muted")
        case other:
            raise ValueError(f"unknown trick {other!r}")
    page.insert_text(tuple(where), text, **options)


if __name__ == "__main__":
    main()
