"""Rules for single slides: which kind the words suggest, its points, its figures, how it reads.

No pixel is looked at. A slide without text gets an answer that says so.
"""

import re
from collections.abc import Sequence
from typing import Any

from model_stub.rules_text import OPENING_QUOTES, Page, clip, pages_of

# The first kind whose words are in the title wins, else the one with most words in the text.
KINDS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("ask", ("the ask", "our ask", "raising", "seeking", "use of funds", "funding", "investment")),
    ("contact", ("contact", "thank you", "questions", "get in touch")),
    ("regulatory", ("regulat", "fda", "510(k)", "ce mark", "mdr", "notified body", "approval")),
    ("clinical", ("clinical", "trial", "cohort", "endpoint", "patients enrolled", "sensitivity")),
    ("problem", ("problem", "challenge", "pain", "unmet need", "why now")),
    ("solution", ("solution", "what we do", "introducing", "our answer")),
    ("product", ("product", "how it works", "features", "demo", "platform")),
    ("science", ("science", "scientific", "hypothesis", "mechanism", "biomarker", "evidence")),
    ("technology", ("technology", "architecture", "pipeline", "algorithm")),
    ("competition", ("competit", "landscape", "alternatives", "comparison", "versus")),
    ("market", ("market", "tam", "sam", "opportunity")),
    (
        "business_model",
        ("business model", "pricing", "revenue model", "subscription", "go-to-market"),
    ),
    ("traction", ("traction", "customers", "proof", "already", "milestones reached", "results")),
    ("roadmap", ("roadmap", "next steps", "what comes next", "timeline", "milestones")),
    ("team", ("team", "founders", "advisors", "ceo", "cto")),
    ("financials", ("financial", "forecast", "projection", "revenue", "break-even", "burn")),
)
_WORDS = {
    kind: re.compile(
        "|".join(rf"\b{re.escape(w)}" + (r"\b" if len(w) <= 4 else "") for w in words),
        re.IGNORECASE,
    )
    for kind, words in KINDS
}
# Not a figure: part of a word or a path (GPT-4, 10.5281/zenodo), the number of a norm or a rule.
_FIGURE = re.compile(
    r"(?:[€$£]\s?)?(?<![\w./-])(?<!ISO )(?<!IEC )\d++(?:[.,]\d+)*+(?!/|\()"
    r"(?:\s?(?:%|€|[kKmMB](?!\w)|bn|million|billion|x(?!\w)))?"
)
_YEAR_ALONE = re.compile(r"(?:19|20)\d\d")
_NUMBERED_KINDS = frozenset({"market", "traction", "financials", "ask", "clinical"})
_WORDS_MAX = 90
_POINT_WORDS_MAX = 35


def slide_analysis(prompt: str, image_count: int) -> dict[str, Any]:
    """SlideAnalysis of the one page in the prompt."""
    page = pages_of(prompt)[0]
    kind = slide_type(page, asked=prompt)
    return {
        "title": clip(page.title, 300),
        "slide_type": kind,
        "description": _description(page, kind, image_count),
        "key_points": [clip(text, 400) for text in page.statements if len(text) > 12][:15],
        "metrics": figures(page)[:30],
        "visual_elements": [],
        "transcript": "",
        "confidence": 0.6 if page.lines else 0.1,
    }


def slide_type(page: Page, *, asked: str = "") -> str:
    """The kind of slide by its words; a slide with a heading alone opens a section or the deck."""
    first_of_deck = page.number == 1 and "slide 1 of 1." not in asked
    if first_of_deck:
        return "title"
    if page.lines and page.lines[0][:1] in OPENING_QUOTES:
        return "quote"
    if re.match(r"what .+ (?:is|does)$", page.title, re.IGNORECASE):
        return "solution"
    in_title = next((kind for kind, words in _WORDS.items() if words.search(page.title)), None)
    if page.lines and " ".join(page.lines) == page.title and in_title != "contact":
        return "section"
    counts = [(len(words.findall(page.text)), kind) for kind, words in _WORDS.items()]
    best, kind = max(counts, key=lambda counted: counted[0])
    return in_title or (kind if best >= 2 else "other")


def figures(page: Page) -> list[dict[str, str]]:
    """Numbers with the words around them; a bare year or a small bare count is no figure."""
    found: list[dict[str, str]] = []
    for text in page.statements:
        matches = [match for match in _FIGURE.finditer(text) if _is_figure(match[0].strip())]
        for match in matches:
            alone = text[: match.start()] + text[match.end() :] if len(matches) == 1 else text
            label = " ".join(alone.split()).strip(" •-–—:,;().") or page.title or "figure"
            found.append({"label": clip(label, 200), "value": match[0].strip()[:80]})
    return found


def _is_figure(value: str) -> bool:
    return not _YEAR_ALONE.fullmatch(value) and not (value.isdigit() and int(value) < 3)


def slide_feedback(prompt: str) -> dict[str, Any]:
    """SlideFeedbackAnswer by counts that a human coach would make too."""
    page = pages_of(prompt)[0]
    kind = slide_type(page, asked=prompt)
    words = len(page.text.split())
    if kind in {"title", "section", "quote", "contact"} or words < 8:
        return _feedback("neutral", _neutral_text(page, kind, words), [])
    issues = _issues(page, kind, words)
    if issues:
        text = (
            f"The slide “{clip(page.title, 120)}” has a clear topic; it can be made easier to read."
        )
        return _feedback("improvement", text, issues)
    text = (
        f"The slide “{clip(page.title, 120)}” makes its point in {words} words and "
        f"{_some(page.statements, 'statement')}. An investor can take it in at a glance."
    )
    return _feedback("strength", text, [])


def _feedback(kind: str, text: str, issues: list[str]) -> dict[str, Any]:
    return {
        "feedback_text": text,
        "feedback_type": kind,
        "has_issues": bool(issues),
        "issues": issues,
    }


def _neutral_text(page: Page, kind: str, words: int) -> str:
    if kind in {"title", "section", "quote", "contact"}:
        return f"{_a(kind)} slide of {words} words; it does what such a slide should do."
    if page.title:
        return f"“{clip(page.title, 120)}” has {words} words: its picture has to speak for itself."
    return "This slide has no text layer; the stand-in looks at no pixels and cannot judge it."


def _issues(page: Page, kind: str, words: int) -> list[str]:
    issues = []
    if words > _WORDS_MAX:
        issues.append(
            f"{words} words are more than a listener reads: aim at {_WORDS_MAX} or fewer."
        )
    long_points = sum(len(text.split()) > _POINT_WORDS_MAX for text in page.statements)
    if long_points:
        issues.append(f"{long_points} of {len(page.statements)} points run over several lines.")
    if kind in _NUMBERED_KINDS and not figures(page):
        issues.append(f"{_a(kind)} slide without a single figure leaves its claim unsupported.")
    return issues


def _description(page: Page, kind: str, image_count: int) -> str:
    pictures = "its image was not looked at" if image_count else "no image was given"
    if not page.lines:
        return f"A slide without a text layer ({pictures})."
    amounts = f"{_some(page.statements, 'statement')} and {_some(figures(page), 'figure')}"
    title = f"“{clip(page.title, 200)}”" if page.title else "no heading"
    lead = f" It begins: {clip(page.statements[0], 300)}" if page.statements else ""
    return f"{_a(kind)} slide with {title}, {amounts} ({pictures}).{lead}"


def _a(kind: str) -> str:
    if kind == "other":
        return "A"
    article = "An" if kind[0] in "aeiou" else "A"
    return f"{article} {kind.replace('_', ' ')}"


def _some(things: Sequence[Any], name: str) -> str:
    return f"{len(things) or 'no'} {name}{'' if len(things) == 1 else 's'}"
