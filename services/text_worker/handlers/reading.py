"""Reads a task's deck once: each page's visible text, what was seen on it, an index for quotes."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from reveille.evidence import DeckIndex, Evidence
from reveille.task_types.answers import Citation
from reveille.task_types.handling import HandlerContext
from reveille.task_types.prompt import DeckPage, Excerpt, excerpt, room_chars
from reveille.task_types.seen import deck_pages


@dataclass(slots=True)
class Deck:
    """A deck as the text worker sees it, and which pages did not fit a prompt."""

    pages: tuple[DeckPage, ...]
    hidden_text_pages: tuple[int, ...]
    warnings: tuple[str, ...]
    budget_chars: int
    index: DeckIndex
    left_out: set[int] = field(default_factory=set)
    cut: set[int] = field(default_factory=set)

    def excerpt(self, *beside: str, keywords: Iterable[str]) -> Excerpt:
        """The deck, or its most relevant pages, in the room that the prompt's other texts leave."""
        room = room_chars(self.budget_chars, *beside)
        chosen = excerpt(self.pages, budget_chars=room, keywords=keywords)
        self.left_out.update(chosen.pages_left_out)
        self.cut.update(chosen.pages_cut)
        return chosen

    def check(self, citation: Citation | None, *, must_show: str | None = None) -> Evidence:
        """What is left of a model's citation when the deck is looked at."""
        if citation is None:
            return Evidence()
        return self.index.check(citation.page, citation.quote, must_show=must_show)

    def metadata(self) -> dict[str, Any]:
        """What a reader of the results should know about the text behind them."""
        return {
            "pages": len(self.pages),
            "pages_without_text": [page.number for page in self.pages if not page.text.strip()],
            "hidden_text_pages": list(self.hidden_text_pages),
            "pages_left_out": sorted(self.left_out),
            "pages_cut": sorted(self.cut),
            "document_warnings": list(self.warnings),
        }


async def read_deck(context: HandlerContext) -> Deck:
    """The task's deck. Hidden text is in no page: no prompt has it, no quote of it is verified."""
    document = await context.document()
    texts = await document.page_texts()
    pages = deck_pages({page.number: page.text for page in texts}, await context.visual_results())
    return Deck(
        pages=pages,
        hidden_text_pages=tuple(page.number for page in texts if page.hidden_text.strip()),
        warnings=tuple(document.warnings),
        budget_chars=context.model.text_budget_chars(context.model_name),
        index=DeckIndex({page.number: page.text for page in pages}),
    )
