"""extractions_and_template: the five extractions, then the template; each part a checkpoint."""

from functools import partial

from reveille.outcome import Done, Outcome, ResultRow
from reveille.task_types.extractions_and_template import EXTRACTIONS
from reveille.task_types.handling import HandlerContext, Parts
from reveille.task_types.template_analysis import TemplateOptions
from text_worker.handlers.extraction import extract
from text_worker.handlers.reading import read_deck
from text_worker.handlers.template_analysis import chosen_template, review

# Five short answers take about as long as three of the template's chapters.
EXTRACTIONS_PERCENT = 30.0


async def handle(options: TemplateOptions, context: HandlerContext) -> Outcome:
    """A template that does not exist is refused before the first model call."""
    template = await chosen_template(options, context)
    deck = await read_deck(context)
    parts = await Parts.load(context)
    results: list[ResultRow] = []
    for number, extraction in enumerate(EXTRACTIONS, start=1):
        work = partial(extract, extraction, context, deck)
        row = await parts.once(f"extraction-{extraction.kind}", work)
        results.append(ResultRow("extraction_results", row))
        await context.progress(
            EXTRACTIONS_PERCENT * number / len(EXTRACTIONS),
            extraction.kind,
            f"{extraction.kind}: {row['value'] or 'not stated'}",
        )
    review_row = await review(template, context, deck, parts, progress_from=EXTRACTIONS_PERCENT)
    results.append(ResultRow("template_analysis_results", review_row))
    return Done(results=results, metadata={**parts.metadata(), **deck.metadata()})
