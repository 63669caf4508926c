"""startup_name_extraction: the name of the company that pitches."""

from pydantic import Field

from reveille.task_types.answers import AnswerModel, Citation, Confidence
from reveille.task_types.extraction import Extraction, Fact
from reveille.task_types.spec import TaskType

TASK_TYPE = TaskType(
    name="startup_name_extraction",
    pool="text",
    model_setting="text",
    timeout_seconds=600,
    description="The name of the company as the deck writes it",
)


class StartupName(AnswerModel):
    """The name of the company that this deck presents."""

    name: str | None = Field(max_length=120, description="the name alone, as the deck writes it")
    citation: Citation | None
    confidence: Confidence


def _fact(answer: StartupName) -> Fact:
    name = " ".join((answer.name or "").split()).strip(" \"'.,:;|–—-") or None
    return Fact(
        value=name,
        normalized=name,
        confidence=answer.confidence if name else 0.0,
        citation=answer.citation,
        must_show=name,
    )


EXTRACTION = Extraction(
    kind="startup_name",
    answer=StartupName,
    instructions=(
        "Give the name of the company that presents itself in this deck: not a customer, a "
        "partner, a competitor or an investor. Cite words that contain the name."
    ),
    keywords=("what ", " is ", "we ", "team", "contact", "about", "@", "www"),
    fact=_fact,
)
