"""deck_date_extraction: when the deck was made."""

from pydantic import Field

from reveille.task_types.answers import AnswerModel, Citation, Confidence
from reveille.task_types.dates import parse_date
from reveille.task_types.extraction import Extraction, Fact
from reveille.task_types.spec import TaskType

TASK_TYPE = TaskType(
    name="deck_date_extraction",
    pool="text",
    model_setting="text",
    timeout_seconds=600,
    description="The date of the deck, as precise as the deck states it",
)


class DeckDate(AnswerModel):
    """The date of the deck itself, not one that it talks about."""

    as_written: str | None = Field(max_length=60, description="the date as the deck writes it")
    citation: Citation | None
    confidence: Confidence


def _fact(answer: DeckDate) -> Fact:
    """`value` is the ISO date where the words can be read as one, else the words themselves."""
    written = (answer.as_written or "").strip() or None
    found = parse_date(written) if written else None
    return Fact(
        value=found.iso if found else written,
        normalized={"date": found.iso, "as_written": written} if found else None,
        unit=found.precision if found else None,
        confidence=answer.confidence if written else 0.0,
        citation=answer.citation,
        must_show=written,
    )


EXTRACTION = Extraction(
    kind="deck_date",
    answer=DeckDate,
    instructions=(
        "Find the date of this deck: the date on its first or last page, or in its footers. "
        "Copy it exactly as written. Dates of plans, forecasts, trials or the founding are not the "
        "answer. Cite words that contain the date."
    ),
    keywords=(
        "20", "january", "february", "march", "april", "may", "june", "july", "august",
        "september", "october", "november", "december", "date", "confidential",
    ),
    fact=_fact,
)  # fmt: skip
