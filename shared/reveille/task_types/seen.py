"""What the visual analysis saw on each page, for later prompts: a model's word, never evidence."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from reveille.task_types.prompt import DeckPage

SEEN_CHARS_MAX = 1500


def seen_by_page(rows: Iterable[Mapping[str, Any]]) -> dict[int, str]:
    """By slide number: kind, title, description, figures and visual elements, in a few lines."""
    return {int(row["slide_number"]): _lines(row)[:SEEN_CHARS_MAX] for row in rows}


def deck_pages(texts: Mapping[int, str], rows: Sequence[Mapping[str, Any]]) -> tuple[DeckPage, ...]:
    """The deck for text models: text layer, else transcript of the image, and what was seen."""
    seen = seen_by_page(rows)
    transcripts = {int(row["slide_number"]): str(row.get("text_content") or "") for row in rows}
    return tuple(
        DeckPage(number, text.strip() or transcripts.get(number, ""), seen.get(number, ""))
        for number, text in sorted(texts.items())
    )


def _lines(row: Mapping[str, Any]) -> str:
    lines = [f"Kind: {row.get('slide_type') or 'unknown'}", str(row.get("description") or "")]
    metrics = [f"{m['label']}: {m['value']}" for m in row.get("metrics") or ()]
    if metrics:
        lines.append("Figures: " + "; ".join(metrics))
    elements = (row.get("analysis") or {}).get("visual_elements") or ()
    if elements:
        lines.append("Shown: " + "; ".join(elements))
    return "\n".join(line for line in lines if line)
