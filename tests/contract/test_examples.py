"""The example decks: drawn from their YAML, what is committed is what the YAML says."""

import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from reveille.documents import Document, DocumentLimits, PageText

EXAMPLES = Path(__file__).parents[2] / "examples"
NAMES = sorted(path.stem for path in EXAMPLES.glob("*.yaml"))
BYTES_MAX = 500_000


async def read(path: Path) -> tuple[list[PageText], tuple[str, ...]]:
    """The text of all pages, and the warnings."""
    with path.open("rb") as file:
        document = await Document.start(file.fileno(), DocumentLimits())
    async with document:
        return await document.page_texts(), document.warnings


def words(text: str) -> str:
    """Text without its line breaks."""
    return " ".join(text.split())


def told(slide: object) -> list[str]:
    """Every text of a slide's YAML that the slide shows."""
    match slide:
        case str():
            return [slide]
        case list():
            return [text for item in slide for text in told(item)]
        case dict():
            unseen = {"kind", "tricks", "widths", "strong", "done"}
            shown = [item for key, item in slide.items() if key not in unseen]
            return [text for item in shown for text in told(item)]
    return []


@pytest.mark.parametrize("name", NAMES)
async def test_deck_shows_every_text_of_its_yaml(name: str) -> None:
    """The YAML is the ground truth: each slide's text layer holds what its YAML says."""
    slides = yaml.safe_load((EXAMPLES / f"{name}.yaml").read_text(encoding="utf-8"))["slides"]
    texts, _ = await read(EXAMPLES / f"{name}.pdf")

    assert len(texts) == len(slides)
    for slide, text in zip(slides, texts, strict=True):
        for word in [word for item in told(slide) for word in item.split()]:
            assert word in text.text


@pytest.mark.parametrize("name", NAMES)
def test_deck_is_small_enough_for_a_clone(name: str) -> None:
    """Decks are committed, so each stays under half a megabyte."""
    assert (EXAMPLES / f"{name}.pdf").stat().st_size < BYTES_MAX


async def test_drawing_again_gives_the_committed_decks(tmp_path: Path) -> None:
    """Who changes the YAML or the drawing also commits the PDFs."""
    maker = EXAMPLES / "make_decks.py"
    subprocess.run([sys.executable, maker, "--out", tmp_path], check=True)

    assert sorted(path.stem for path in tmp_path.glob("*.pdf")) == NAMES
    for name in NAMES:
        assert await read(tmp_path / f"{name}.pdf") == await read(EXAMPLES / f"{name}.pdf")


async def test_hostile_deck_keeps_its_tricks_out_of_the_visible_text() -> None:
    """Everything the hostile deck hides is found, and nothing of it is read as slide text."""
    deck = yaml.safe_load((EXAMPLES / "hostile_pitch.yaml").read_text(encoding="utf-8"))
    texts, warnings = await read(EXAMPLES / "hostile_pitch.pdf")
    pages = dict(enumerate(deck["slides"], start=1))
    tricks = {
        number: [t for t in slide.get("tricks", []) if "text" in t]
        for number, slide in pages.items()
    }

    for page in texts:
        for trick in tricks[page.number]:
            assert trick["text"] in words(page.hidden_text)
            assert trick["text"] not in words(page.text)
    assert [page.number for page in texts if page.hidden_text] == deck["facts"]["hidden_text_pages"]
    assert len(warnings) == 4


@pytest.mark.parametrize("name", ["template_pitch_short", "template_pitch_medium"])
async def test_real_deck_has_no_hidden_text_but_what_runs_off_the_page(name: str) -> None:
    """On decks by others, with photos and dark grounds, honest text is not taken for hidden."""
    path = EXAMPLES.parent.parent / "shared" / "decks" / f"{name}.pdf"
    if not path.exists():
        pytest.skip("the decks beside the repository are not there")
    texts, _ = await read(path)
    hidden = {page.number: page.hidden_text for page in texts if page.hidden_text}

    # One line of slide 18 of the longer deck is below the edge of its page.
    off_page = {18: "evidence, not a claim about it."}
    assert hidden == (off_page if name == "template_pitch_medium" else {})
    assert sum(len(page.text) for page in texts) > 2000
