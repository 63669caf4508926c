"""The stand-in's mind: answers by rules, so that a demo without a model shows real facts.

It dispatches on the title of the JSON schema that the reply has to fit. It quotes only what stands
in the prompt, looks at no pixels, and says nothing that it has not found.
"""

import json
from collections.abc import Callable
from typing import Any

from model_stub import rules_facts, rules_review, rules_slides
from model_stub.filler import fill
from model_stub.rules_text import clip, pages_of

_RULES: dict[str, Callable[[str], dict[str, Any]]] = {
    "SlideFeedbackAnswer": rules_slides.slide_feedback,
    "CompanyOffering": rules_facts.company_offering,
    "StartupName": rules_facts.startup_name,
    "HealthcareClassification": rules_facts.healthcare,
    "FundingAmount": rules_facts.funding_amount,
    "DeckDate": rules_facts.deck_date,
    "TemplateChapterAnswers": rules_review.template_answers,
    "SpecializedAnswer": rules_review.specialized,
}


def answer(prompt: str, schema: dict[str, Any] | None, image_count: int) -> str:
    """The reply to a prompt: JSON that fits the schema, or a sentence when there is none."""
    if schema is None:
        return _sentence(prompt, image_count)
    title = schema.get("title")
    if title == "SlideAnalysis":
        return json.dumps(rules_slides.slide_analysis(prompt, image_count), ensure_ascii=False)
    rule = _RULES.get(str(title))
    return json.dumps(rule(prompt) if rule else fill(schema), ensure_ascii=False)


def _sentence(prompt: str, image_count: int) -> str:
    pictures = f" and {image_count} images" if image_count else ""
    pages = pages_of(prompt)
    title = clip(pages[0].title, 80)
    about = f" It begins with “{title}”." if title else ""
    return f"The stand-in read {len(prompt)} characters{pictures}.{about}"
