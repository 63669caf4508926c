"""template_analysis: one model call per chapter; quotes checked and scores added up in code."""

from functools import partial
from typing import Any

from pydantic import ValidationError

from reveille.errors import TaskRejected
from reveille.evidence import Evidence
from reveille.outcome import Done, Outcome, ResultRow
from reveille.task_types.handling import HandlerContext, Parts, Usage
from reveille.task_types.template_analysis import (
    SYSTEM,
    Chapter,
    Question,
    QuestionAnswer,
    Template,
    TemplateChapterAnswers,
    TemplateOptions,
    default_template,
    keywords,
    prompt,
    questions_text,
    weighted_score,
)
from text_worker.handlers.reading import Deck, read_deck


async def handle(options: TemplateOptions, context: HandlerContext) -> Outcome:
    """Review the deck against the template of the options, else the default one."""
    template = await chosen_template(options, context)
    deck = await read_deck(context)
    parts = await Parts.load(context)
    row = await review(template, context, deck, parts)
    return Done(
        results=[ResultRow("template_analysis_results", row)],
        metadata={**parts.metadata(), **deck.metadata()},
    )


async def chosen_template(options: TemplateOptions, context: HandlerContext) -> Template:
    """The template to use. Raises TaskRejected when it is unknown or malformed."""
    found = await context.template(options.template_id)
    if found is None and options.template_id is None:
        return default_template()
    if found is None:
        raise TaskRejected(
            "unknown_template",
            f"there is no analysis template {options.template_id!r}: insert it into "
            "analysis_templates or leave template_id out to use the default one",
        )
    try:
        return Template.of_row(found)
    except (ValidationError, TypeError) as error:
        raise TaskRejected(
            "bad_template", f"analysis template {found.get('id')!r} is malformed: {error}"
        ) from error


async def review(
    template: Template,
    context: HandlerContext,
    deck: Deck,
    parts: Parts,
    *,
    progress_from: float = 0.0,
) -> dict[str, Any]:
    """The row of template_analysis_results. Progress runs from `progress_from` to 100."""
    chapters: list[dict[str, Any]] = []
    for number, chapter in enumerate(template.chapters, start=1):
        work = partial(_review_chapter, chapter, context, deck)
        chapters.append(await parts.once(f"chapter-{template.id}-{number}", work))
        await context.progress(
            progress_from + (100 - progress_from) * number / len(template.chapters),
            f"chapter-{number}",
            f"{chapter.name}: {_score_text(chapters[-1]['score'])}",
        )
    return {
        "template_id": template.id,
        "template_name": template.name,
        "overall_score": weighted_score([(c["weight"], c["score"]) for c in chapters]),
        "chapters": chapters,
        "model": parts.usage.model,
        "model_digest": parts.usage.model_digest,
    }


def _score_text(score: float | None) -> str:
    return "no score" if score is None else f"{score:.1f} of 10"


async def _review_chapter(
    chapter: Chapter, context: HandlerContext, deck: Deck
) -> tuple[dict[str, Any], Usage]:
    text = deck.excerpt(SYSTEM, questions_text(chapter), keywords=keywords(chapter))
    answer = await context.model.ask(
        model=context.model_name,
        system=SYSTEM,
        prompt=prompt(chapter, text),
        answer=TemplateChapterAnswers,
    )
    by_number = {given.number: given for given in answer.value.answers}
    questions = [
        _answered(question, by_number.get(number), deck)
        for number, question in enumerate(chapter.questions, start=1)
    ]
    return {
        "name": chapter.name,
        "weight": chapter.weight,
        "score": weighted_score([(q["weight"], q["score"]) for q in questions]),
        "questions": questions,
    }, Usage.of(answer)


def _answered(question: Question, given: QuestionAnswer | None, deck: Deck) -> dict[str, Any]:
    """A question that the model passed over has no score: it must not count against the deck."""
    evidence = deck.check(given.citation) if given else Evidence()
    return {
        "question": question.question,
        "weight": question.weight,
        "answer": given.answer.strip() if given else None,
        "score": given.score if given else None,
        "evidence_page": evidence.page,
        "evidence_quote": evidence.quote,
        "evidence_verified": evidence.verified,
    }
