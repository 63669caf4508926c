"""What all answer models share: closed, bounded, checked again in code. Answers are untrusted.

The class names matter: the JSON schema carries them as `title`, which is how a reply can be told
from another in logs, traces and the stand-in.
"""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

Confidence = Annotated[float, Field(ge=0, le=1, description="0 = a guess, 1 = stated in the deck")]
Line = Annotated[str, Field(max_length=400)]


class AnswerModel(BaseModel):
    """Base of everything a model may answer with."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Citation(AnswerModel):
    """Where the model says that it read a fact. `evidence.py` checks it."""

    page: int = Field(ge=1, description="the page number in the [page N] line above the quote")
    quote: str = Field(max_length=600, description="words copied verbatim from that page")
