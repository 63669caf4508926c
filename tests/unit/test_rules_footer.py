"""The stand-in's rules on decks with a footer."""

import json

from model_stub import rules
from reveille.task_types.company_offering_extraction import EXTRACTION


def test_footer_on_every_page_is_no_company_offering() -> None:
    """What stands on each slide describes the deck, not what the company does."""
    footer = "Acme · Seed pitch · An invented company for demonstration only"
    pages = ["Acme", "Solution\nAcme builds a patch that watches hearts at home", "Team", "Market"]
    prompt = "\n".join(f"[page {n}]\n{text}\n{footer}" for n, text in enumerate(pages, 1))

    answer = json.loads(rules.answer(prompt, EXTRACTION.answer.model_json_schema(), 0))

    assert "watches hearts" in answer["offering"]
