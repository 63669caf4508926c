"""Reads an amount of money as people write it: "€1.5M", "1,5 Mio. €", "USD 2–3 million", "$750k".

The amount that the platform compares is computed here, from the words in the deck; a model's own
arithmetic is only the fallback.
"""

import re
from dataclasses import dataclass
from decimal import Decimal

CURRENCIES: dict[str, str] = {
    "€": "EUR", "eur": "EUR", "euro": "EUR", "euros": "EUR",
    "us$": "USD", "$": "USD", "usd": "USD", "dollar": "USD", "dollars": "USD",
    "£": "GBP", "gbp": "GBP", "pound": "GBP", "pounds": "GBP",
    "chf": "CHF", "sfr": "CHF", "franken": "CHF", "francs": "CHF",
    "¥": "JPY", "jpy": "JPY", "yen": "JPY", "sek": "SEK", "dkk": "DKK", "nok": "NOK",
    "c$": "CAD", "ca$": "CAD", "cad": "CAD", "a$": "AUD", "au$": "AUD", "aud": "AUD",
    "₹": "INR", "inr": "INR",
}  # fmt: skip
_SCALES: dict[str, int] = {
    "k": 10**3, "tsd": 10**3, "thousand": 10**3, "tausend": 10**3,
    "m": 10**6, "mm": 10**6, "mn": 10**6, "mio": 10**6, "mil": 10**6,
    "million": 10**6, "millions": 10**6, "millionen": 10**6,
    "b": 10**9, "bn": 10**9, "mrd": 10**9, "billion": 10**9, "billions": 10**9,
}  # fmt: skip


def _any_of(words: dict[str, str] | dict[str, int]) -> str:
    return "|".join(re.escape(word) for word in sorted(words, key=len, reverse=True))


_WORD_END = r"(?![^\W\d_])"
_CURRENCY = rf"(?:{_any_of(CURRENCIES)}){_WORD_END}"
_SCALE = rf"(?:{_any_of(_SCALES)}){_WORD_END}\.?"
_NUMBER = r"\d{1,3}(?:[ \u00a0\u202f]\d{3})+(?!\d)|\d+(?:[.,']\d+)*"
_SYMBOL = r"(?:(?:us|c|ca|a|au)?\$|€|£|¥|₹)"  # a symbol may stand before a digit without a blank
_BEFORE = rf"(?:(?P<before>{_SYMBOL}|(?<![^\W\d_]){_CURRENCY})\s*|(?<![\w.,]))"
_RANGE = rf"(?:\s*(?:-|–|—|to|bis)\s*(?:{_SYMBOL}|{_CURRENCY})?\s*(?P<high>{_NUMBER}))?"
_AFTER = rf"(?:\s*(?P<scale>{_SCALE}))?(?:\s*(?P<after>{_SYMBOL}|{_CURRENCY})(?!\s*\d))?"
# "1.5 M€" and "$2M-$3M" put the scale before the range's end.
AMOUNT = re.compile(
    rf"{_BEFORE}(?P<low>{_NUMBER})(?:\s*(?P<low_scale>{_SCALE})(?=\s*(?:-|–|—|to|bis)))?"
    rf"{_RANGE}{_AFTER}",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Money:
    """An amount in whole currency units; `amount_max` when a range was written."""

    amount: int | float
    amount_max: int | float | None
    currency: str | None


def parse_money(text: str) -> Money | None:
    """The first amount with a currency, else the first with a scale; None without either."""
    matches = list(AMOUNT.finditer(text))
    for match in matches:
        if match["before"] or match["after"]:
            return _money(match)
    return next((_money(match) for match in matches if match["scale"]), None)


def _money(match: re.Match[str]) -> Money:
    scale = _scale(match["scale"])
    low_scale = _scale(match["low_scale"]) if match["low_scale"] else scale
    low = _number(match["low"]) * low_scale
    high = _number(match["high"]) * scale if match["high"] else low
    symbol = match["before"] or match["after"]
    return Money(
        amount=_plain(low),
        amount_max=_plain(high) if high > low else None,
        currency=CURRENCIES[symbol.casefold()] if symbol else None,
    )


def _scale(written: str | None) -> int:
    return _SCALES[written.casefold().rstrip(".")] if written else 1


def _number(written: str) -> Decimal:
    """1,500,000 and 1.500.000 are grouped, and so is 1.500; 1.5 and 1,5 are fractions."""
    digits = re.sub(r"[ \u00a0\u202f']", "", written)
    marks = [mark for mark in digits if mark in ".,"]
    if not marks:
        return Decimal(digits)
    head, tail = re.split(r"[.,](?=[^.,]*$)", digits)
    grouped = len(tail) == 3 and head.lstrip("0") != "" and len(set(marks)) == 1
    whole = re.sub(r"[.,]", "", head)
    return (
        Decimal(whole + tail)
        if grouped or marks.count(marks[-1]) > 1
        else Decimal(f"{whole}.{tail}")
    )


def _plain(value: Decimal) -> int | float:
    return int(value) if value == value.to_integral_value() else float(value)
