"""visual_analysis: each slide's image and text layer go to the vision model; one row per slide.

While the model answers for one slide, the document renders the next. Each finished slide is a
checkpoint: a task that is interrupted at slide 17 resumes there. What is done between the last answer
and the end, and between a claim and the first question, the GPU waits for: so the render child ends
during the last question.
"""

import asyncio
from contextlib import aclosing
from functools import partial
from typing import Any

from reveille.documents import Document, Page
from reveille.evidence import DeckIndex
from reveille.outcome import Done, Outcome, ResultRow
from reveille.task_types.handling import HandlerContext, Parts, Usage
from reveille.task_types.prompt import DeckPage, excerpt, room_chars
from reveille.task_types.spec import TaskOptions
from reveille.task_types.visual_analysis import SYSTEM, SlideAnalysis, prompt, slide_filename

TEXT_CONTENT_CHARS_MAX = 100_000  # a slide has 500; what has more is no slide


async def handle(options: TaskOptions, context: HandlerContext) -> Outcome:
    """Analyse every slide, from the first one that no earlier attempt has finished."""
    document, parts = await _document_and_parts(context)
    count = document.page_count
    rows = [parts.recall(_key(number)) for number in range(1, _first_open(parts, count))]
    if len(rows) < count:
        # aclosing: an attempt that ends early must not leave a page rendering behind.
        async with aclosing(document.pages(start=len(rows) + 1)) as pages:
            async for page in pages:
                if page.number == count:
                    document.release()
                work = partial(_analyse, context, page, count)
                rows.append(await parts.once(_key(page.number), work))
                await context.progress(
                    100 * page.number / count,
                    _key(page.number),
                    f"Slide {page.number} of {count}: {_heading(rows[-1])}",
                    data={"slide_number": page.number, "slides": count},
                )
    return Done(
        results=[ResultRow("visual_analysis_results", row) for row in rows],
        metadata={
            **parts.metadata(),
            "slides": count,
            "hidden_text_pages": [row["slide_number"] for row in rows if row["has_hidden_text"]],
            "pages_cut": [row["slide_number"] for row in rows if row["analysis"]["text_layer_cut"]],
            "document_warnings": list(document.warnings),
        },
    )


async def _document_and_parts(context: HandlerContext) -> tuple[Document, Parts]:
    """Both at once. Without the parts nobody may go on opening: the attempt would be over, and the
    render child left to nobody.
    """
    opening = asyncio.create_task(context.document())
    try:
        parts = await Parts.load(context)
        return await opening, parts
    except BaseException:
        opening.cancel()
        await asyncio.gather(opening, return_exceptions=True)
        raise


def _heading(row: dict[str, Any]) -> str:
    return str(row["title"] or row["slide_type"])


def _key(number: int) -> str:
    return f"slide-{number}"


def _first_open(parts: Parts, count: int) -> int:
    return next((n for n in range(1, count + 1) if not parts.has(_key(n))), count + 1)


async def _analyse(context: HandlerContext, page: Page, count: int) -> tuple[Any, Usage]:
    budget = context.model.text_budget_chars(context.model_name, images=1)
    room = room_chars(budget, SYSTEM)
    text = excerpt([DeckPage(page.number, page.text)], budget_chars=room, keywords=())
    answer = await context.model.ask(
        model=context.model_name,
        system=SYSTEM,
        prompt=prompt(page.number, text, page_count=count),
        images=[page.image.data],
        answer=SlideAnalysis,
    )
    slide = answer.value
    return {
        "slide_number": page.number,
        "slide_filename": slide_filename(page.number),
        "title": slide.title.strip(),
        "slide_type": slide.slide_type.value,
        "description": slide.description.strip(),
        "key_points": list(slide.key_points),
        "metrics": _metrics(slide, page),
        "text_content": page.text.strip()[:TEXT_CONTENT_CHARS_MAX] or slide.transcript.strip(),
        "has_hidden_text": bool(page.hidden_text.strip()),
        "image_width": page.image.width,
        "image_height": page.image.height,
        "confidence": slide.confidence,
        "analysis": {**slide.model_dump(mode="json"), "text_layer_cut": bool(text.pages_cut)},
        "model": answer.model,
        "model_digest": answer.digest,
    }, Usage.of(answer)


def _metrics(slide: SlideAnalysis, page: Page) -> list[dict[str, Any]]:
    """The figures, and whether the text layer has them: a chart's often are pixels only."""
    index = DeckIndex({page.number: page.text})
    return [
        {
            "label": metric.label,
            "value": metric.value,
            "in_text_layer": index.holds(page.number, metric.value),
        }
        for metric in slide.metrics
    ]
