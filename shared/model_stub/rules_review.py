"""Rules for reviews: questions and aspects, answered by the statement that shares most words."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from model_stub.rules_text import Page, clip, pages_of, question_of

_QUESTION = re.compile(r"^Question (\d+): (.+?)(?: \(Hint: (.+)\))?$", re.MULTILINE)
_ASPECT = re.compile(r"^Aspect (\d+): (.+?) \(Looks for: (.+)\)$", re.MULTILINE)
_CHAPTER = re.compile(r"^Chapter: (.+)$", re.MULTILINE)
_WORD = re.compile(r"[^\W\d_][\w-]{2,}")
_STOP = frozenset(
    {
        *(
            "the",
            "and",
            "for",
            "are",
            "that",
            "this",
            "with",
            "from",
            "what",
            "which",
            "how",
            "who",
        ),
        *("why", "does", "did", "has", "have", "had", "its", "their", "them", "they", "than"),
        *("then", "into", "over", "been", "being", "was", "were", "will", "would", "can", "could"),
        *("should", "not", "but", "out", "per", "any", "all", "one", "each", "much", "many", "far"),
        *("like", "when", "where", "company", "product", "figures", "figure", "terms", "source"),
    }
)
_DENSE = 0.25  # the share of a statement's words that makes a single one count
_STEM_CHARS = 6  # "regulatory" finds "regulation"


@dataclass(frozen=True, slots=True)
class Hit:
    """The statement that answers best. `score` counts shared words; a figure counts as one more."""

    page: Page
    statement: str
    score: float
    has_figure: bool


def template_answers(prompt: str) -> dict[str, Any]:
    """TemplateChapterAnswers: each question's best statement, scored by what they share."""
    asked = question_of(prompt)
    pages = pages_of(prompt)
    chapter = _CHAPTER.search(asked)
    topic = chapter[1] if chapter else ""
    answers = []
    for number, question, hint in _QUESTION.findall(asked)[:20]:
        wanted = words_of(f"{question} {hint}")
        hit = best_hit(pages, wanted, topic=words_of(topic))
        answers.append(_answer(int(number), hit))
    return {"answers": answers}


def _answer(number: int, hit: Hit | None) -> dict[str, Any]:
    if hit is None:
        text = "The deck does not address this."
        return {"number": number, "answer": text, "score": 0.0, "citation": None}
    score = min(2.0 + 1.2 * hit.score + (1.5 if hit.has_figure else 0.0), 9.0)
    return {
        "number": number,
        "answer": f"Page {hit.page.number} says: {clip(hit.statement, 1200)}",
        "score": round(score, 1),
        "citation": {"page": hit.page.number, "quote": clip(hit.statement, 600)},
    }


def specialized(prompt: str) -> dict[str, Any]:
    """SpecializedAnswer: a finding per aspect, missing where no statement is close enough."""
    pages = pages_of(prompt)
    findings: list[dict[str, Any]] = []
    questions: list[str] = []
    for _, name, looks_for in _ASPECT.findall(question_of(prompt))[:12]:
        hit = best_hit(pages, words_of(looks_for), topic=words_of(name))
        findings.append(_finding(name, hit))
        if hit is None or hit.score < 3:
            questions.append(clip(f"{name}: which facts can you show on {looks_for}?", 400))
    supported = [finding["aspect"] for finding in findings if finding["citation"]]
    return {
        "summary": _summary(findings, supported),
        "findings": findings,
        "open_questions": questions,
        "confidence": round(0.2 + 0.6 * len(supported) / max(len(findings), 1), 2),
    }


def _finding(name: str, hit: Hit | None) -> dict[str, Any]:
    if hit is None:
        return {
            "aspect": clip(name, 120),
            "statement": "The deck says nothing on this.",
            "assessment": "missing",
            "citation": None,
        }
    level = hit.score + (1.0 if hit.has_figure else 0.0)
    return {
        "aspect": clip(name, 120),
        "statement": f"Page {hit.page.number} states: {clip(hit.statement, 1000)}",
        "assessment": "strong" if level >= 4 else "adequate" if level >= 3 else "weak",
        "citation": {"page": hit.page.number, "quote": clip(hit.statement, 600)},
    }


def _summary(findings: Sequence[dict[str, Any]], supported: Sequence[str]) -> str:
    missing = [finding["aspect"] for finding in findings if not finding["citation"]]
    said = f"The deck addresses {', '.join(supported)}." if supported else "The deck is silent."
    lacks = f" It says nothing on {', '.join(missing)}." if missing else ""
    return f"{said}{lacks} Found by keyword rules, not by an expert model."


def words_of(text: str) -> frozenset[str]:
    """The stems that a statement is searched for."""
    words = (word.casefold() for word in _WORD.findall(text))
    return frozenset(word.rstrip("s")[:_STEM_CHARS] for word in words if word not in _STOP)


def best_hit(
    pages: Sequence[Page], wanted: frozenset[str], *, topic: frozenset[str] = frozenset()
) -> Hit | None:
    """The statement that shares most words, with a bonus on a slide whose title is on the topic.

    None below two shared words, unless the statement is so short that one is much of it: otherwise
    one word in common is chance.
    """
    best: Hit | None = None
    for page in pages:
        title = words_of(page.title)
        on_topic = 2.0 if title & topic else 1.0 if title & wanted else 0.0
        for statement in page.statements:
            words = words_of(statement)
            shared = len(words & wanted)
            dense = shared >= _DENSE * len(words)
            if not shared or (shared + on_topic < 2 and not dense):
                continue
            figure = any(char.isdigit() for char in statement)
            hit = Hit(page, statement, shared + on_topic, figure)
            if best is None or (hit.score, hit.has_figure) > (best.score, best.has_figure):
                best = hit
    return best
