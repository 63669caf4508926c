"""slide_feedback: what is good about each slide and what should be better."""

from enum import StrEnum
from typing import Annotated

from pydantic import Field

from reveille.task_types.answers import AnswerModel, Line
from reveille.task_types.prompt import DATA_RULE, Excerpt, fence
from reveille.task_types.spec import TaskType

TASK_TYPE = TaskType(
    name="slide_feedback",
    pool="visual",
    model_setting="vision",
    timeout_seconds=1800,
    description="Feedback to the founders on each slide",
)


class FeedbackType(StrEnum):
    """The tenor of the feedback on one slide."""

    STRENGTH = "strength"
    IMPROVEMENT = "improvement"
    NEUTRAL = "neutral"


class SlideFeedbackAnswer(AnswerModel):
    """Feedback on one slide."""

    feedback_text: str = Field(min_length=1, max_length=2000, description="2-4 helpful sentences")
    feedback_type: FeedbackType
    has_issues: bool = Field(description="true when something on the slide should be changed")
    issues: Annotated[list[Line], Field(max_length=8)]


SYSTEM = (
    "You coach founders on their pitch deck, one slide at a time. Say what works and what an "
    "investor would miss or doubt: clarity, one message per slide, numbers with a source, amount "
    "of text, readability. Be concrete and kind. Judge the slide, not the company. Title and "
    "section slides need little text: call them neutral.\n"
    f"{DATA_RULE}"
)


def prompt(number: int, text: Excerpt, *, page_count: int) -> str:
    """The question about one slide: with what was seen on it, or with its image beside it."""
    return f"Give feedback on slide {number} of {page_count}.\n{fence(text.text)}"


def feedback_text(answer: SlideFeedbackAnswer) -> str:
    """The feedback with its issues as a list below it: what the founders read."""
    lines = [answer.feedback_text.strip(), *(f"- {issue.strip()}" for issue in answer.issues)]
    return "\n".join(lines)
