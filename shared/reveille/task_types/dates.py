"""Reads dates as decks write them ("March 2026", "Q1 2026", "14.03.2026") into ISO 8601.

What is not written is not invented: a month stays a month, and 03/04/2026, which two continents
read differently, keeps only its year.
"""

import re
from dataclasses import dataclass
from datetime import date
from typing import Literal

Precision = Literal["day", "month", "quarter", "year"]

_MONTHS: dict[str, int] = {
    name: number
    for number, names in enumerate(
        (
            "january jan januar janvier", "february feb februar février fevrier",
            "march mar märz maerz mars", "april apr avril", "may mai", "june jun juni juin",
            "july jul juli juillet", "august aug août aout", "september sep sept septembre",
            "october oct oktober okt octobre", "november nov novembre",
            "december dec dezember dez décembre decembre",
        ),
        start=1,
    )
    for name in names.split()
}  # fmt: skip
_MONTH = rf"(?P<month_name>{'|'.join(sorted(_MONTHS, key=len, reverse=True))})\.?"
_YEAR = r"(?P<year>(?:19|20)\d\d)(?!\d)"
_DAY = r"(?P<day>[0-3]?\d)(?:st|nd|rd|th|\.)?"
_FORMS: tuple[re.Pattern[str], ...] = tuple(
    re.compile(form, re.IGNORECASE)
    for form in (
        rf"(?<!\d){_YEAR}[-/.](?P<month>[01]?\d)[-/.](?P<day>[0-3]?\d)(?!\d)",
        rf"(?<!\d)(?P<first>[0-3]?\d)(?P<mark>[./-])(?P<second>[0-3]?\d)(?P=mark){_YEAR}",
        rf"(?<!\d){_DAY}\s+{_MONTH},?\s+{_YEAR}",
        rf"\b{_MONTH}\s+{_DAY},?\s+{_YEAR}",
        rf"\b{_MONTH},?\s+{_YEAR}",
        r"\b(?P<month_name>[a-zä]{3,9})\.?\s+['’](?P<short_year>\d\d)\b",
        rf"\bQ(?P<quarter>[1-4])[\s/-]*{_YEAR}",
        rf"(?<!\d){_YEAR}[\s/-]*Q(?P<quarter>[1-4])\b",
        rf"(?<!\d){_YEAR}-(?P<month>[01]\d)(?![-\d])",
        rf"(?<![\d.,])(?P<month>[01]?\d)[/.]{_YEAR}",
        rf"(?<![\d.,$€£]){_YEAR}(?![.,]?\d)",
    )
)


@dataclass(frozen=True, slots=True)
class PartialDate:
    """`iso` is YYYY, YYYY-Qn, YYYY-MM or YYYY-MM-DD."""

    iso: str
    precision: Precision
    as_written: str


def parse_date(text: str) -> PartialDate | None:
    """The most precise date in the text, the earliest of equals; None when there is none."""
    for form in _FORMS:
        for match in form.finditer(text):
            found = _partial(match)
            if found is not None:
                return found
    return None


def _partial(match: re.Match[str]) -> PartialDate | None:
    parts = match.groupdict()
    short = parts.get("short_year")
    year = int(parts["year"]) if parts.get("year") else 2000 + int(short or 0)
    if parts.get("quarter"):
        return PartialDate(f"{year}-Q{parts['quarter']}", "quarter", match[0])
    month, day = _month_and_day(parts)
    if month is None:
        named = parts.get("month_name") is not None
        return None if named else PartialDate(f"{year}", "year", match[0])
    if day is None:
        return PartialDate(f"{year}-{month:02}", "month", match[0]) if 1 <= month <= 12 else None
    try:
        return PartialDate(date(year, month, day).isoformat(), "day", match[0])
    except ValueError:
        return None


def _month_and_day(parts: dict[str, str | None]) -> tuple[int | None, int | None]:
    if parts.get("first") is not None:
        first, second = int(parts["first"] or 0), int(parts["second"] or 0)
        if parts["mark"] == "." or first > 12 or first == second:
            return second, first
        return (first, second) if second > 12 else (None, None)
    day = int(parts["day"] or 0) if parts.get("day") else None
    if name := parts.get("month_name"):
        return _MONTHS.get(name.casefold()), day
    return (int(parts["month"] or 0) if parts.get("month") else None), day
