"""What all answer models share: closed, bounded, checked again in code. Answers are untrusted.

The class names matter: the JSON schema carries them as `title`, which is how a reply can be told
from another in logs, traces and the stand-in.
"""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, field_validator

from reveille.plain_text import clean

Confidence = Annotated[float, Field(ge=0, le=1, description="0 = a guess, 1 = stated in the deck")]
Line = Annotated[str, Field(max_length=400)]


class AnswerModel(BaseModel):
    """Base of everything a model may answer with."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    @field_validator("*", mode="before")
    @classmethod
    def _plain(cls, value: object) -> object:
        """Texts, and texts in a list, without what would steer a terminal or spoil a row."""
        if isinstance(value, list):
            return [clean(one) if isinstance(one, str) else one for one in value]
        return clean(value) if isinstance(value, str) else value


class Citation(AnswerModel):
    """Where the model says that it read a fact. `evidence.py` checks it."""

    page: int = Field(ge=1, description="the page number in the [page N] line above the quote")
    quote: str = Field(max_length=600, description="words copied verbatim from that page")
