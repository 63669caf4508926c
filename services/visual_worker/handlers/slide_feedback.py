"""slide_feedback: feedback on each slide, over what was seen on it before, else its image."""

from functools import partial
from typing import Any

from reveille.documents import Document
from reveille.outcome import Done, Outcome, ResultRow
from reveille.task_types.handling import HandlerContext, Parts, Usage
from reveille.task_types.prompt import DeckPage, excerpt, room_chars
from reveille.task_types.seen import seen_by_page
from reveille.task_types.slide_feedback import SYSTEM, SlideFeedbackAnswer, feedback_text, prompt
from reveille.task_types.spec import TaskOptions
from reveille.task_types.visual_analysis import slide_filename


async def handle(options: TaskOptions, context: HandlerContext) -> Outcome:
    """Give feedback on every slide that no earlier attempt has done."""
    document = await context.document()
    parts = await Parts.load(context)
    seen = seen_by_page(await context.visual_results())
    rows: list[dict[str, Any]] = []
    texts = await document.page_texts()
    for text in texts:
        page = DeckPage(text.number, text.text, seen.get(text.number, ""))
        work = partial(_feedback, context, document, page)
        rows.append(await parts.once(f"slide-{page.number}", work))
        await context.progress(
            100 * page.number / document.page_count,
            f"slide-{page.number}",
            f"Slide {page.number} of {document.page_count}: {rows[-1]['feedback_type']}",
        )
    return Done(
        results=[ResultRow("slide_feedback", row) for row in rows],
        metadata={
            **parts.metadata(),
            "slides": document.page_count,
            "hidden_text_pages": [text.number for text in texts if text.hidden_text.strip()],
            "document_warnings": list(document.warnings),
            "with_issues": sum(row["has_issues"] for row in rows),
            "from_images": sum(text.number not in seen for text in texts),
        },
    )


async def _feedback(
    context: HandlerContext, document: Document, page: DeckPage
) -> tuple[Any, Usage]:
    """One slide: the image is rendered only where no visual analysis stands in for it."""
    images = [] if page.seen else [(await document.image(page.number)).data]
    budget = context.model.text_budget_chars(context.model_name, images=len(images))
    room = room_chars(budget, SYSTEM)
    text = excerpt([page], budget_chars=room, keywords=())
    answer = await context.model.ask(
        model=context.model_name,
        system=SYSTEM,
        prompt=prompt(page.number, text, page_count=document.page_count),
        images=images,
        answer=SlideFeedbackAnswer,
    )
    return {
        "slide_number": page.number,
        "slide_filename": slide_filename(page.number),
        "feedback_text": feedback_text(answer.value),
        "feedback_type": answer.value.feedback_type.value,
        "has_issues": answer.value.has_issues or bool(answer.value.issues),
        "model": answer.model,
        "model_digest": answer.digest,
    }, Usage.of(answer)
