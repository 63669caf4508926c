"""One extraction: ask for a fact, normalise it, check its evidence, give one result row."""

from typing import Any

from reveille.outcome import Done, Outcome, ResultRow
from reveille.task_types.extraction import Extraction
from reveille.task_types.handling import Handler, HandlerContext, Usage
from reveille.task_types.prompt import fence
from reveille.task_types.spec import TaskOptions
from text_worker.handlers.reading import Deck, read_deck


def handler(extraction: Extraction) -> Handler:
    """The handler of the task type that extracts this one fact."""

    async def handle(options: TaskOptions, context: HandlerContext) -> Outcome:
        deck = await read_deck(context)
        row, usage = await extract(extraction, context, deck)
        return Done(
            results=[ResultRow("extraction_results", row)],
            metadata={**usage.metadata(), **deck.metadata()},
        )

    return handle


async def extract(
    extraction: Extraction, context: HandlerContext, deck: Deck
) -> tuple[dict[str, Any], Usage]:
    """The result row of one fact, and what asking for it used."""
    text = deck.excerpt(extraction.system, keywords=extraction.keywords)
    answer = await context.model.ask(
        model=context.model_name,
        system=extraction.system,
        prompt=f"{fence(text.text)}\nExtract the fact.",
        answer=extraction.answer,
    )
    fact = extraction.fact(answer.value)
    evidence = deck.check(fact.citation, must_show=fact.must_show)
    return {
        "kind": extraction.kind,
        "value": fact.value,
        "normalized_value": fact.normalized,
        "unit": fact.unit,
        "evidence_page": evidence.page,
        "evidence_quote": evidence.quote,
        "evidence_verified": evidence.verified,
        "confidence": fact.confidence,
        "model": answer.model,
        "model_digest": answer.digest,
    }, Usage.of(answer)
