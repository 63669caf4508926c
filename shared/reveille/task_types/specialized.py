"""What the three specialised analyses share: findings on fixed aspects, each with its evidence."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Literal

from pydantic import Field

from reveille.task_types.answers import AnswerModel, Citation, Confidence, Line
from reveille.task_types.prompt import DATA_RULE, Excerpt, fence

AnalysisType = Literal["clinical_validation", "regulatory_pathway", "scientific_hypothesis"]


class Assessment(StrEnum):
    """How well the deck supports an aspect."""

    STRONG = "strong"
    ADEQUATE = "adequate"
    WEAK = "weak"
    MISSING = "missing"


class Finding(AnswerModel):
    """What the deck says on one aspect."""

    aspect: str = Field(max_length=120, description="the aspect's name as given")
    statement: str = Field(max_length=1200, description="what the deck states, in 1-3 sentences")
    assessment: Assessment
    citation: Citation | None = Field(description="null when the deck is silent on it")


class SpecializedAnswer(AnswerModel):
    """An expert's reading of one side of the deck."""

    summary: str = Field(min_length=1, max_length=3000)
    findings: Annotated[list[Finding], Field(max_length=12)]
    open_questions: Annotated[list[Line], Field(max_length=12)] = Field(
        description="what the investor should ask the founders"
    )
    confidence: Confidence


@dataclass(frozen=True, slots=True, kw_only=True)
class Aspect:
    """One side of the matter. `looks_for` names what would support it."""

    name: str
    looks_for: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SpecializedAnalysis:
    """One specialised analysis: who reads, and for which aspects."""

    analysis_type: AnalysisType
    role: str
    aspects: tuple[Aspect, ...]
    keywords: tuple[str, ...]

    @property
    def system(self) -> str:
        """The system prompt."""
        return (
            f"{self.role} You read a start-up pitch deck for an investor. Give one finding for "
            "each aspect named below the deck: what the deck states, how well it is supported, and "
            "the words that state it. Where the deck is silent, say so, assess it as missing and "
            f"cite nothing. Add nothing from general knowledge about the company.\n{DATA_RULE}"
        )

    def aspects_text(self) -> str:
        """The aspects as numbered lines."""
        return "\n".join(
            f"Aspect {number}: {aspect.name} (Looks for: {aspect.looks_for})"
            for number, aspect in enumerate(self.aspects, start=1)
        )

    def prompt(self, deck: Excerpt) -> str:
        """The deck, then the aspects."""
        return f"{fence(deck.text)}\n{self.aspects_text()}\nGive one finding for each aspect."


def report_text(answer: SpecializedAnswer) -> str:
    """The analysis as text for a reader: summary, findings, open questions."""
    lines = [answer.summary.strip(), ""]
    lines += [f"{f.aspect} ({f.assessment.value}): {f.statement.strip()}" for f in answer.findings]
    if answer.open_questions:
        lines += ["", "Open questions:", *(f"- {line.strip()}" for line in answer.open_questions)]
    return "\n".join(lines)
