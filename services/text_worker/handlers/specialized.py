"""The specialised analyses: an expert's findings on fixed aspects, each with checked evidence."""

import time
from typing import Any

from reveille.model import Answer
from reveille.outcome import Done, Outcome, ResultRow
from reveille.task_types.handling import Handler, HandlerContext, Usage
from reveille.task_types.spec import TaskOptions
from reveille.task_types.specialized import (
    Finding,
    SpecializedAnalysis,
    SpecializedAnswer,
    report_text,
)
from text_worker.handlers.reading import Deck, read_deck


def handler(analysis: SpecializedAnalysis) -> Handler:
    """The handler of the task type that makes this analysis."""

    async def handle(options: TaskOptions, context: HandlerContext) -> Outcome:
        started = time.monotonic()
        deck = await read_deck(context)
        beside = (analysis.system, analysis.aspects_text())
        text = deck.excerpt(*beside, keywords=analysis.keywords)
        answer = await context.model.ask(
            model=context.model_name,
            system=analysis.system,
            prompt=analysis.prompt(text),
            answer=SpecializedAnswer,
        )
        seconds = round(time.monotonic() - started, 3)
        row = _row(analysis, answer, deck, processing_seconds=seconds)
        return Done(
            results=[ResultRow("specialized_analysis_results", row)],
            metadata={**Usage.of(answer).metadata(), **deck.metadata()},
        )

    return handle


def _row(
    analysis: SpecializedAnalysis,
    answer: Answer[SpecializedAnswer],
    deck: Deck,
    *,
    processing_seconds: float,
) -> dict[str, Any]:
    given = answer.value
    return {
        "analysis_type": analysis.analysis_type,
        "analysis_result": report_text(given),
        "structured_result": {
            "summary": given.summary,
            "findings": [_finding(finding, deck) for finding in given.findings],
            "open_questions": list(given.open_questions),
        },
        "confidence_score": given.confidence,
        "model_used": answer.model,
        "processing_time": processing_seconds,
        "model": answer.model,
        "model_digest": answer.digest,
    }


def _finding(finding: Finding, deck: Deck) -> dict[str, Any]:
    evidence = deck.check(finding.citation)
    return {
        "aspect": finding.aspect,
        "statement": finding.statement,
        "assessment": finding.assessment.value,
        "evidence_page": evidence.page,
        "evidence_quote": evidence.quote,
        "evidence_verified": evidence.verified,
    }
