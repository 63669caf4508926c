"""What the stand-in answers from the words of a deck."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model_stub.rules import answer
from model_stub.rules_text import Page, clip, pages_of
from reveille.evidence import DeckIndex
from reveille.task_types import (
    slide_feedback,
    specialized_clinical,
    specialized_regulatory,
    template_analysis,
    visual_analysis,
)
from reveille.task_types.extractions_and_template import EXTRACTIONS
from reveille.task_types.prompt import DeckPage, Excerpt, excerpt, fence
from reveille.task_types.slide_feedback import SlideFeedbackAnswer
from reveille.task_types.specialized import SpecializedAnalysis, SpecializedAnswer
from reveille.task_types.template_analysis import TemplateChapterAnswers, default_template
from reveille.task_types.visual_analysis import SlideAnalysis

DECK = (
    "PulsePatch\nHeart failure care at home\nSeed pitch deck · March 2026",
    "The problem\n• 1 in 4 heart failure patients is back in hospital within 30 days.\n"
    "• Each readmission costs a hospital about €9,000, and nobody sees it coming before\n"
    "the symptoms are there.",
    "Our solution\nPulsePatch is a wearable patch that detects decompensation ten days before\n"
    "symptoms, for cardiologists and their patients.",
    "Clinical validation\n• Prospective cohort study with 214 patients at two hospitals\n"
    "• Sensitivity 87 % against the gold standard",
    "Regulatory pathway\n• Class IIa medical device under MDR\n• FDA 510(k), submission in 2027",
    "Market\nTAM €4.8B   SAM €1.1B\nSource: own analysis, seeking €9M customers",
    "How it works",
    "“It saved my father's life.”\n— a user",
    "The ask\nWe are raising €2.5M seed\n• €1.1M clinical trial\n€0.6M raised so far from angels",
    "Thank you\nhello@pulsepatch.example",
)
PAGES = [DeckPage(number, text) for number, text in enumerate(DECK, start=1)]
INDEX = DeckIndex({page.number: page.text for page in PAGES})
WHOLE = excerpt(PAGES, budget_chars=10_000, keywords=())


def one_page(page: DeckPage) -> Excerpt:
    return excerpt([page], budget_chars=10_000, keywords=())


def slide(number: int) -> SlideAnalysis:
    prompt = visual_analysis.prompt(number, one_page(PAGES[number - 1]), page_count=len(PAGES))
    return SlideAnalysis.model_validate_json(answer(prompt, SlideAnalysis.model_json_schema(), 1))


@pytest.mark.parametrize(
    ("kind", "value", "page"),
    [
        ("startup_name", "PulsePatch", 1),
        ("healthcare_classification", "medical_device", None),
        ("funding_amount", "€2.5M", 9),
        ("deck_date", "2026-03", 1),
        (
            "company_offering",
            "PulsePatch is a wearable patch that detects decompensation ten days before symptoms, "
            "for cardiologists and their patients.",
            3,
        ),
    ],
)
def test_fact_is_found_with_a_quote_that_holds(kind: str, value: str, page: int | None) -> None:
    """Each extraction finds the deck's fact, and its quote passes the same check as a model's."""
    extraction = next(extraction for extraction in EXTRACTIONS if extraction.kind == kind)
    text = answer(fence(WHOLE.text), extraction.answer.model_json_schema(), 0)
    fact = extraction.fact(extraction.answer.model_validate_json(text))
    assert fact.value == value
    assert fact.citation is not None
    found = INDEX.check(fact.citation.page, fact.citation.quote, must_show=fact.must_show)
    assert found.verified
    assert found.page == fact.citation.page
    assert page is None or found.page == page


@pytest.mark.parametrize("extraction", EXTRACTIONS, ids=lambda extraction: extraction.kind)
def test_fact_is_unknown_when_the_deck_is_empty(extraction: Any) -> None:
    """The stand-in answers null rather than making something up."""
    prompt = fence(excerpt([DeckPage(1, "")], budget_chars=999, keywords=()).text)
    found = json.loads(answer(prompt, extraction.answer.model_json_schema(), 0))
    assert found["citation"] is None
    extraction.answer.model_validate(found)


@pytest.mark.parametrize(
    ("number", "kind", "title"),
    [
        (1, "title", "PulsePatch"),
        (2, "problem", "The problem"),
        (3, "solution", "Our solution"),
        (4, "clinical", "Clinical validation"),
        (5, "regulatory", "Regulatory pathway"),
        (6, "market", "Market"),
        (7, "section", "How it works"),
        (8, "quote", ""),
        (9, "ask", "The ask"),
        (10, "contact", "Thank you"),
    ],
)
def test_slide_is_told_by_its_words(number: int, kind: str, title: str) -> None:
    """Heading and kind of a slide come from its text."""
    found = slide(number)
    assert (found.slide_type.value, found.title) == (kind, title)


def test_slide_key_points_are_the_bullets_with_their_wrapped_lines() -> None:
    """A bullet that the margin broke is one point, and every point stands on the slide."""
    points = slide(2).key_points
    assert len(points) == 2
    assert points[1].endswith("coming before the symptoms are there.")
    assert all(INDEX.check(2, point).verified for point in points)


def test_slide_figures_are_amounts_and_counts_but_not_norms_or_years() -> None:
    """€4.8B is a figure; the k of 510(k), a year and a norm's number are not."""
    assert [metric.value for metric in slide(6).metrics] == ["€4.8B", "€1.1B"]
    assert slide(5).metrics == []
    assert [metric.value for metric in slide(4).metrics] == ["214", "87 %"]


def test_slide_without_text_says_that_no_pixel_was_looked_at() -> None:
    """The stand-in does not pretend to see."""
    prompt = visual_analysis.prompt(2, one_page(DeckPage(2, "")), page_count=3)
    found = SlideAnalysis.model_validate_json(answer(prompt, SlideAnalysis.model_json_schema(), 1))
    assert "not looked at" in found.description
    assert found.confidence < 0.2


@pytest.mark.parametrize(("number", "tenor"), [(1, "neutral"), (2, "strength"), (7, "neutral")])
def test_feedback_depends_on_the_slide(number: int, tenor: str) -> None:
    """A title is not criticised for being short; a clear slide is praised."""
    prompt = slide_feedback.prompt(number, one_page(PAGES[number - 1]), page_count=len(PAGES))
    text = answer(prompt, SlideFeedbackAnswer.model_json_schema(), 1)
    said = SlideFeedbackAnswer.model_validate_json(text)
    assert said.feedback_type.value == tenor
    assert said.has_issues is bool(said.issues) is False


def test_feedback_names_the_issues_of_an_overloaded_slide() -> None:
    """Too many words and long points are issues that the founders can mend."""
    page = DeckPage(2, "Traction\n• " + "many words without any number at all " * 20)
    text = answer(
        slide_feedback.prompt(2, one_page(page), page_count=9),
        SlideFeedbackAnswer.model_json_schema(),
        1,
    )
    said = SlideFeedbackAnswer.model_validate_json(text)
    assert said.feedback_type.value == "improvement"
    assert len(said.issues) == 3


def test_template_chapters_are_answered_by_number_with_quotes() -> None:
    """Every question has an answer; those the deck addresses have a score and a true quote."""
    scores: dict[str, float] = {}
    for chapter in default_template().chapters:
        prompt = template_analysis.prompt(chapter, WHOLE)
        text = answer(prompt, TemplateChapterAnswers.model_json_schema(), 0)
        said = TemplateChapterAnswers.model_validate_json(text).answers
        assert [one.number for one in said] == list(range(1, len(chapter.questions) + 1))
        for one, question in zip(said, chapter.questions, strict=True):
            scores[question.question] = one.score
            assert (one.citation is None) == (one.score == 0)
            assert (
                one.citation is None or INDEX.check(one.citation.page, one.citation.quote).verified
            )
    assert scores["How much money is asked for, and in which form?"] > 5
    assert scores["How large is the damage that the problem causes today?"] > 5
    assert scores["What protects the advantage?"] == 0


@pytest.mark.parametrize(
    ("analysis", "aspect", "page"),
    [
        (specialized_clinical.ANALYSIS, "Study design", 4),
        (specialized_regulatory.ANALYSIS, "Pathway", 5),
        (specialized_clinical.ANALYSIS, "Safety", None),
    ],
)
def test_specialized_finding_cites_the_slide_or_is_missing(
    analysis: SpecializedAnalysis, aspect: str, page: int | None
) -> None:
    """An aspect is supported by a quote from its slide; without one it is called missing."""
    text = answer(analysis.prompt(WHOLE), SpecializedAnswer.model_json_schema(), 0)
    said = SpecializedAnswer.model_validate_json(text)
    assert [finding.aspect for finding in said.findings] == [a.name for a in analysis.aspects]
    finding = next(finding for finding in said.findings if finding.aspect == aspect)
    assert (finding.assessment.value == "missing") == (page is None)
    assert (finding.citation.page if finding.citation else None) == page


@given(st.lists(st.text(max_size=300), max_size=4))
def test_every_rule_gives_a_valid_answer_whatever_the_deck_says(texts: list[str]) -> None:
    """No deck makes the stand-in fail or break the bounds of an answer."""
    pages = [DeckPage(number, text) for number, text in enumerate(texts, start=1)]
    prompt = fence(excerpt(pages, budget_chars=5_000, keywords=()).text)
    prompt += "\n" + specialized_clinical.ANALYSIS.aspects_text()
    for model in (SlideAnalysis, SlideFeedbackAnswer, SpecializedAnswer, TemplateChapterAnswers):
        model.model_validate_json(answer(prompt, model.model_json_schema(), 0))
    for extraction in EXTRACTIONS:
        schema = extraction.answer.model_json_schema()
        extraction.fact(extraction.answer.model_validate_json(answer(prompt, schema, 0)))


def test_pages_are_read_from_the_first_fence_only() -> None:
    """The question, an earlier answer and a repair request are not part of the deck."""
    deck = "[page 2]\nTwo\n[seen on page 2]\nchart\n[page 5]\nFive"
    prompt = f"Question\n{fence(deck)}\n[page 9]\nno"
    pages = pages_of(prompt)
    assert pages == (Page(2, "Two", "chart"), Page(5, "Five"))


def test_unknown_schema_is_filled_and_no_schema_gets_a_sentence() -> None:
    """Any other client of the stand-in gets a valid answer too."""
    schema = {
        "title": "Other",
        "type": "object",
        "properties": {"n": {"type": "integer"}},
        "required": ["n"],
    }
    assert isinstance(json.loads(answer("hello", schema, 0))["n"], int)
    assert "2 images" in answer("hello", None, 2)


def test_clip_keeps_whole_words() -> None:
    """A shortened quote is still verbatim."""
    assert clip("alpha beta gamma", 11) == "alpha beta"
    assert clip("alphabetagamma", 5) == "alpha"
    assert clip("short", 99) == "short"
