"""What the five extractions share: one question to the model, one fact with its evidence."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from reveille.task_types.answers import AnswerModel, Citation
from reveille.task_types.prompt import DATA_RULE


@dataclass(frozen=True, slots=True, kw_only=True)
class Fact:
    """One extracted fact, normalised in code. `value` None means that the deck does not say.

    `must_show` is the part of the deck's wording that a quote has to contain to prove the value.
    """

    value: str | None
    normalized: Any = None
    unit: str | None = None
    confidence: float = 0.0
    citation: Citation | None = None
    must_show: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Extraction:
    """One kind of fact: how to ask for it, and how the answer becomes a fact.

    `keywords` choose the pages when a deck is longer than the model's context.
    """

    kind: str
    answer: type[AnswerModel]
    instructions: str
    keywords: tuple[str, ...]
    fact: Callable[[Any], Fact]

    @property
    def system(self) -> str:
        """The system prompt."""
        return (
            f"You read start-up pitch decks for an investor and extract one fact.\n"
            f"{self.instructions}\n{DATA_RULE}"
        )
