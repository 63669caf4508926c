"""company_offering_extraction: what the company offers, in one sentence."""

from pydantic import Field

from reveille.task_types.answers import AnswerModel, Citation, Confidence
from reveille.task_types.extraction import Extraction, Fact
from reveille.task_types.spec import TaskType

TASK_TYPE = TaskType(
    name="company_offering_extraction",
    pool="text",
    model_setting="text",
    timeout_seconds=600,
    description="What the company offers, in one sentence, with the words that say so",
)


class CompanyOffering(AnswerModel):
    """What the company offers and to whom."""

    offering: str | None = Field(max_length=600, description="one plain sentence, no advertising")
    citation: Citation | None
    confidence: Confidence


def _fact(answer: CompanyOffering) -> Fact:
    offering = " ".join((answer.offering or "").split()) or None
    return Fact(
        value=offering,
        normalized=offering,
        confidence=answer.confidence if offering else 0.0,
        citation=answer.citation,
    )


EXTRACTION = Extraction(
    kind="company_offering",
    answer=CompanyOffering,
    instructions=(
        "Say in one plain sentence what product or service the company offers and to whom. "
        "Cite the sentence of the deck that says it most directly."
    ),
    keywords=("solution", "product", "platform", "we ", "offer", "what ", "is a ", "how it works"),
    fact=_fact,
)
