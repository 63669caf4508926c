"""healthcare_classification: is this a healthcare company, and of which kind."""

from enum import StrEnum

from reveille.task_types.answers import AnswerModel, Citation, Confidence
from reveille.task_types.extraction import Extraction, Fact
from reveille.task_types.spec import TaskType

TASK_TYPE = TaskType(
    name="healthcare_classification",
    pool="text",
    model_setting="text",
    timeout_seconds=600,
    description="Whether the company works in healthcare, and in which part of it",
)


class HealthcareCategory(StrEnum):
    """The part of healthcare; `not_healthcare` for every other company."""

    DIGITAL_HEALTH = "digital_health"
    MEDICAL_DEVICE = "medical_device"
    DIAGNOSTICS = "diagnostics"
    BIOTECH_PHARMA = "biotech_pharma"
    CARE_DELIVERY = "care_delivery"
    WELLNESS = "wellness"
    OTHER_HEALTHCARE = "other_healthcare"
    NOT_HEALTHCARE = "not_healthcare"


class HealthcareClassification(AnswerModel):
    """The company's place in healthcare; category null when the deck does not let one tell."""

    category: HealthcareCategory | None
    citation: Citation | None
    confidence: Confidence


def _fact(answer: HealthcareClassification) -> Fact:
    if answer.category is None:
        return Fact(value=None, citation=answer.citation)
    is_healthcare = answer.category is not HealthcareCategory.NOT_HEALTHCARE
    return Fact(
        value=answer.category.value,
        normalized={"is_healthcare": is_healthcare, "category": answer.category.value},
        unit="category",
        confidence=answer.confidence,
        citation=answer.citation,
    )


EXTRACTION = Extraction(
    kind="healthcare_classification",
    answer=HealthcareClassification,
    instructions=(
        "Decide whether the company's product serves the prevention, diagnosis, treatment or "
        "administration of human health, and choose the one category that fits best. A company "
        "that merely sells to everybody, hospitals included, is not_healthcare. "
        "Cite the words that decide it."
    ),
    keywords=(
        "patient", "clinic", "health", "medical", "hospital", "therap", "diagnos", "disease",
        "drug", "device", "physician", "care",
    ),
    fact=_fact,
)  # fmt: skip
