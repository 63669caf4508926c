"""Rules for the five extractions: each finds the words that usually surround the fact."""

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from model_stub.rules_text import Page, clip, pages_of
from reveille.task_types.dates import parse_date
from reveille.task_types.money import AMOUNT, Money, parse_money

Answer = dict[str, Any]

_ASKED_FOR = re.compile(
    r"\b(?:rais(?:e|ing)|seek(?:ing)?|ask(?:ing)?|looking for|funding need|invest(?:ment)? of|"
    r"use of (?:funds|proceeds)|(?:pre-)?seed|series [a-d]|bridge|round|convertible)\b",
    re.IGNORECASE,
)
_NOT_ASKED_FOR = re.compile(
    r"\b(?:market|tam|sam|som|revenue|arr|mrr|price|pricing|valuation|costs?|savings?|raised|"
    r"per (?:year|month|patient|unit|user|test)|grants?|received|spent|burn|billion|bn)\b",
    re.IGNORECASE,
)
_ROUND = re.compile(r"\b(?:pre-seed|seed|series [a-d]|bridge)\b", re.IGNORECASE)
_OFFERS = re.compile(
    r"\b(?:is an?|are an?|provides?|builds?|develops?|offers?|makes|enables?|helps?|delivers?|"
    r"lets|turns)\b"
)
_CONTACT = re.compile(
    r"(?:@|www\.|https?://(?:www\.)?)([a-z][a-z0-9-]{2,})\.[a-z]{2,}", re.IGNORECASE
)
_SUBJECT = re.compile(
    r"^(?:What|About|Why|Introducing|Meet)\s+([\w.&+-]+(?: [A-Z][\w.&+-]*)?)(?: is| does)?\s*\??$"
)
_NAME_END = re.compile(r"\s+[–—|:-]+\s+|:\s|[–—|]|,\s")
_CATEGORIES: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("medical_device", ("device", "wearable", "sensor", "implant", "510(k)", "mdr", "monitor")),
    ("diagnostics", ("diagnos", "assay", "screening", "biomarker", "detect", "ivdr", "imaging")),
    ("biotech_pharma", ("drug", "molecule", "antibody", "therapeutic", "preclinical", "vaccine")),
    ("digital_health", (" app ", "telehealth", "digital health", "software as a medical")),
    ("care_delivery", ("care home", "nursing", "clinic network", "home care", "rehabilitation")),
    ("wellness", ("wellness", "fitness", "sleep", "mindfulness", "nutrition")),
)  # fmt: skip
_HEALTH_WORDS = (
    "patient", "hospital", "clinical", "clinic", "medical", "healthcare", "physician", "therap",
    "diagnos", "disease", "fda", "cardio", "nurse", "surgery", "medicine", "health care",
)  # fmt: skip
_MADE_PAGES = 2  # a deck's own date is on its first or last pages


def startup_name(prompt: str) -> Answer:
    """The name in "What NAME is", in a contact address, else the head of the title slide."""
    pages = pages_of(prompt)
    for page in pages:
        if match := _SUBJECT.match(page.title):
            return _name(match[1], page, page.title, 0.8)
    first = next((page for page in pages if page.title), None)
    if first is None:
        return {"name": None, "citation": None, "confidence": 0.0}
    if name := _name_in_contact(pages):
        return _name(name[0], name[1], name[0], 0.9)
    head = _NAME_END.split(first.title)[0].strip()
    repeated = sum(head.casefold() in page.folded for page in pages) > 1
    return _name(head, first, head, 0.8 if repeated else 0.3)


def _name(name: str, page: Page, quote: str, confidence: float) -> Answer:
    return {
        "name": clip(name, 120),
        "citation": _cite(page, quote),
        "confidence": confidence,
    }


def _name_in_contact(pages: Sequence[Page]) -> tuple[str, Page] | None:
    """The deck's own spelling of the domain in its mail or web address."""
    contacts = (match for page in reversed(pages) for match in _CONTACT.finditer(page.text))
    for domain in (match[1].replace("-", "") for match in contacts):
        spelled = re.compile(rf"\b{r'[ -]?'.join(domain)}\b", re.IGNORECASE)
        for page in pages:
            for match in spelled.finditer(page.text):
                if match[0] != match[0].lower():
                    return match[0], page
    return None


def company_offering(prompt: str) -> Answer:
    """The sentence that says most plainly what the company is or does."""
    pages = pages_of(prompt)
    name = str(startup_name(prompt)["name"] or "").casefold()
    best: tuple[float, Page, str] | None = None
    repeated = _repeated_lines(pages)
    for page, sentence in _sentences(pages):
        if sentence.casefold() in repeated:
            continue
        score = _offering_score(page, sentence, name)
        if best is None or score > best[0]:
            best = (score, page, sentence)
    if best is None or best[0] < 2:
        return {"offering": None, "citation": None, "confidence": 0.0}
    _, page, sentence = best
    return {
        "offering": clip(sentence, 600),
        "citation": _cite(page, sentence),
        "confidence": min(0.9, 0.3 + best[0] / 10),
    }


def _repeated_lines(pages: Sequence[Page]) -> set[str]:
    """Headers and footers: sentences that stand on more than two pages."""
    seen = Counter(sentence.casefold() for page in pages for sentence in _distinct(page))
    return {sentence for sentence, count in seen.items() if count > 2}


def _distinct(page: Page) -> set[str]:
    return {sentence for _, sentence in _sentences([page])}


def _offering_score(page: Page, sentence: str, name: str) -> float:
    folded, title = sentence.casefold(), page.title.casefold()
    score = 2.0 if name and folded.startswith(name) else 0.0
    score += 2.0 if _OFFERS.search(sentence) else 0.0
    score += 1.0 if re.match(r"we\b", folded) else 0.0
    score += 3.0 if name and title.startswith(f"what {name} is") else 0.0
    score += 2.0 if any(w in title for w in ("solution", "what we do", "introducing")) else 0.0
    score += 1.0 if page.number <= 3 else 0.0
    score -= 2.0 if "problem" in title or len(sentence.split()) < 5 else 0.0
    return score


def healthcare(prompt: str) -> Answer:
    """Healthcare when three different words of the trade occur; the category by most words."""
    pages = pages_of(prompt)
    text = " ".join(page.folded for page in pages)
    known = [word for word in _HEALTH_WORDS if re.search(rf"\b{re.escape(word)}", text)]
    if len(known) < 3:
        offering = company_offering(prompt)
        return {
            "category": "not_healthcare",
            "citation": offering["citation"],
            "confidence": 0.7 if not known else 0.4,
        }
    counted = [(sum(text.count(word) for word in words), kind) for kind, words in _CATEGORIES]
    count, category = max(counted, key=lambda pair: pair[0])
    page, sentence = max(_sentences(pages), key=lambda found: _health_words(found[1]))
    return {
        "category": category if count else "other_healthcare",
        "citation": _cite(page, sentence),
        "confidence": min(0.95, 0.5 + 0.05 * len(known)),
    }


def _health_words(text: str) -> int:
    folded = text.casefold()
    return sum(word in folded for word in _HEALTH_WORDS)


def funding_amount(prompt: str) -> Answer:
    """The amount whose sentence and slide talk most of asking and least of markets and prices."""
    asked = [found for found in _amounts(pages_of(prompt)) if found.score >= 1]
    if not asked:
        return {
            "as_written": None, "amount": None, "currency": None, "funding_round": None,
            "citation": None, "confidence": 0.0,
        }  # fmt: skip
    # Of equals the largest: the others are what it is to be spent on.
    best = max(asked, key=lambda found: (found.score, found.money.amount))
    named = _ROUND.search(best.sentence) or _ROUND.search(best.page.text)
    return {
        "as_written": clip(best.written, 80),
        "amount": best.money.amount,
        "currency": best.money.currency,
        "funding_round": named[0] if named else None,
        "citation": _cite(best.page, best.sentence if len(best.sentence) <= 600 else best.written),
        "confidence": min(0.95, 0.4 + best.score / 10),
    }


@dataclass(frozen=True, slots=True)
class _Amount:
    page: Page
    sentence: str
    written: str
    money: Money
    score: float


def _amounts(pages: Sequence[Page]) -> Iterator[_Amount]:
    """Every amount with a currency that is large enough to be a round."""
    for page in pages:
        for sentence in (page.title, *page.sentences):
            for match in AMOUNT.finditer(sentence):
                money = parse_money(match[0])
                if money and money.currency and money.amount >= 10_000:
                    score = _asking_score(page, sentence)
                    yield _Amount(page, sentence, match[0].strip(), money, score)


def _asking_score(page: Page, sentence: str) -> float:
    score = 2.0 * len(_ASKED_FOR.findall(sentence)) - 2.0 * len(_NOT_ASKED_FOR.findall(sentence))
    return score + (2.0 if _ASKED_FOR.search(page.title) else 0.0)


def deck_date(prompt: str) -> Answer:
    """The most precise date on the first or last pages; a year alone only from the first."""
    pages = pages_of(prompt)
    precise: list[tuple[Page, str, str]] = []
    for page in (*pages[:_MADE_PAGES], *pages[-_MADE_PAGES:]):
        for line in page.lines:
            found = parse_date(line)
            if found and (found.precision != "year" or page is pages[0]):
                precise.append((page, found.as_written, line))
    if not precise:
        return {"as_written": None, "citation": None, "confidence": 0.0}
    page, written, line = precise[0]
    return {
        "as_written": clip(written.strip(), 60),
        "citation": _cite(page, clip(line, 600)),
        "confidence": 0.8 if page is pages[0] else 0.6,
    }


def _sentences(pages: Sequence[Page]) -> Iterator[tuple[Page, str]]:
    for page in pages:
        for sentence in page.sentences or page.lines:
            yield page, sentence


def _cite(page: Page, quote: str) -> dict[str, Any] | None:
    return {"page": page.number, "quote": clip(quote, 600)} if quote.strip() else None
