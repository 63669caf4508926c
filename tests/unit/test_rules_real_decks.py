"""The stand-in's rules on real decks, against the sources those decks were rendered from."""

from pathlib import Path
from typing import Any

import pymupdf
import pytest
import yaml

from model_stub.rules import answer
from reveille.evidence import DeckIndex, normalise
from reveille.task_types.extractions_and_template import EXTRACTIONS
from reveille.task_types.prompt import DeckPage, excerpt, fence
from reveille.task_types.visual_analysis import SlideAnalysis, prompt

DECKS = Path(__file__).parents[2].parent / "shared" / "decks"
NAMES = ["template_pitch_short", "template_pitch_medium"]
pytestmark = pytest.mark.skipif(not DECKS.is_dir(), reason="no ../shared/decks beside the checkout")


def pages_of(name: str) -> list[DeckPage]:
    with pymupdf.open(DECKS / f"{name}.pdf") as document:
        return [DeckPage(number, page.get_text()) for number, page in enumerate(document, start=1)]


def slides_of(name: str) -> list[dict[str, Any]]:
    source: dict[str, Any] = yaml.safe_load((DECKS / f"{name}.yaml").read_text(encoding="utf-8"))
    slides: list[dict[str, Any]] = source["slides"]
    return slides


def analysed(pages: list[DeckPage]) -> list[SlideAnalysis]:
    schema = SlideAnalysis.model_json_schema()
    found = []
    for page in pages:
        text = excerpt([page], budget_chars=10_000, keywords=())
        asked = prompt(page.number, text, page_count=len(pages))
        found.append(SlideAnalysis.model_validate_json(answer(asked, schema, 1)))
    return found


@pytest.mark.parametrize("name", NAMES)
def test_slide_titles_and_sections_are_those_of_the_source(name: str) -> None:
    """Every heading that the source spells out is found word for word."""
    pairs = list(zip(analysed(pages_of(name)), slides_of(name), strict=True))
    plain = [(found, slide) for found, slide in pairs if "{{" not in slide["title"]]
    assert len(plain) >= 9
    assert [found.title for found, _ in plain] == [slide["title"] for _, slide in plain]
    sections = [found.slide_type.value for found, slide in pairs if slide["kind"] == "section"]
    assert set(sections) <= {"section"}


@pytest.mark.parametrize("name", NAMES)
def test_slide_key_points_are_the_bullets_of_the_source(name: str) -> None:
    """Each bullet without a variable is one key point, wrapped lines joined."""
    found = {normalise(point) for slide in analysed(pages_of(name)) for point in slide.key_points}
    wanted = {
        normalise(bullet)
        for slide in slides_of(name)
        for bullet in slide.get("bullets", ())
        if "{{" not in bullet and len(bullet) < 400
    }
    assert len(wanted & found) >= 0.95 * len(wanted)


@pytest.mark.parametrize("name", NAMES)
def test_facts_of_a_deck_that_asks_for_no_money_are_true(name: str) -> None:
    """The project's name is found; an amount, a date and a trade that are not there are not."""
    pages = pages_of(name)
    index = DeckIndex({page.number: page.text for page in pages})
    text = fence(excerpt(pages, budget_chars=100_000, keywords=()).text)
    facts = {}
    for extraction in EXTRACTIONS:
        said = answer(text, extraction.answer.model_json_schema(), 0)
        fact = extraction.fact(extraction.answer.model_validate_json(said))
        facts[extraction.kind] = fact
        if fact.citation:
            assert index.check(fact.citation.page, fact.citation.quote).verified
    assert facts["startup_name"].value == "template_template"
    assert facts["healthcare_classification"].value == "not_healthcare"
    assert "generated FROM the repository" in str(facts["company_offering"].value)
    assert facts["funding_amount"].value is None
    assert facts["deck_date"].value is None
