"""visual_analysis: what each slide shows, from its image and its text layer."""

from enum import StrEnum
from typing import Annotated

from pydantic import Field

from reveille.task_types.answers import AnswerModel, Confidence, Line
from reveille.task_types.prompt import DATA_RULE, Excerpt, fence
from reveille.task_types.spec import TaskType

TASK_TYPE = TaskType(
    name="visual_analysis",
    pool="visual",
    model_setting="vision",
    timeout_seconds=1800,
    description="Each slide's title, kind, description, key points and figures, from its image",
)


class SlideType(StrEnum):
    """What a slide is for."""

    TITLE = "title"
    SECTION = "section"
    PROBLEM = "problem"
    SOLUTION = "solution"
    PRODUCT = "product"
    TECHNOLOGY = "technology"
    SCIENCE = "science"
    CLINICAL = "clinical"
    REGULATORY = "regulatory"
    MARKET = "market"
    COMPETITION = "competition"
    BUSINESS_MODEL = "business_model"
    TRACTION = "traction"
    ROADMAP = "roadmap"
    TEAM = "team"
    FINANCIALS = "financials"
    ASK = "ask"
    QUOTE = "quote"
    CONTACT = "contact"
    OTHER = "other"


class Metric(AnswerModel):
    """One figure on the slide."""

    label: str = Field(max_length=200, description="what is measured")
    value: str = Field(max_length=80, description="the figure with its unit, as written")


class SlideAnalysis(AnswerModel):
    """What one slide shows."""

    title: str = Field(max_length=300, description="the slide's heading as written, else empty")
    slide_type: SlideType
    description: str = Field(max_length=2000, description="what a reader sees, in 1-4 sentences")
    key_points: Annotated[list[Line], Field(max_length=15)]
    metrics: Annotated[list[Metric], Field(max_length=30)]
    visual_elements: Annotated[list[Line], Field(max_length=15)] = Field(
        description="charts, tables, photos, diagrams: what each one shows"
    )
    transcript: str = Field(
        max_length=6000,
        description="all text visible on the slide; empty when the text layer has it already",
    )
    confidence: Confidence


SYSTEM = (
    "You describe slides of start-up pitch decks for an investor who cannot see them. You get the "
    "image of one slide and the text layer of the same page; trust the image where they differ. "
    "Copy headings, points and figures as they are written; do not judge and do not add.\n"
    f"{DATA_RULE}"
)


def slide_filename(number: int) -> str:
    """The name under which results know a slide: slide_001.png is page 1."""
    return f"slide_{number:03}.png"


def prompt(number: int, text: Excerpt, *, page_count: int) -> str:
    """The question about one slide; its image goes beside it."""
    return f"Describe slide {number} of {page_count}.\n{fence(text.text)}"
