"""Checks in code that a quote stands in the deck. If it does not, its fact is unverified.

Two texts count as equal when they differ only in what a PDF's text layer or a model's typing
changes: white space, line ends, ligatures, hyphenation, bullets, curly quotes, dashes, case. Digits
and the marks inside numbers are never loosened: 1.5M is not 15M, and 5M does not stand in 2.5M.
"""

import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass

_PLAIN = str.maketrans(
    {
        "‘": "'", "’": "'", "‚": "'", "′": "'", "“": '"', "”": '"', "„": '"', "«": '"', "»": '"',
        "‐": "-", "‑": "-", "−": "-", "‒": "–", "—": "–", "―": "–",
        "•": " ", "●": " ", "▪": " ", "■": " ", "◦": " ", "‣": " ", "∙": " ", "·": " ",
        "™": None, "®": None, "©": None, "\u00ad": None,
        "\u200b": None, "\u200c": None, "\u200d": None, "\u2060": None, "\ufeff": None,
    }
)  # fmt: skip
_LIST_MARK = re.compile(r"^[ \t]*[-*–][ \t]+", re.MULTILINE)
_HYPHENATION = re.compile(r"(?<=[^\W\d_])-\s*(?=[^\W\d_])")
_DASH = re.compile(r"\s*–\s*|\s+-+\s+")
_UNIT_BLANK = re.compile(r"(?<=\d)\s+(?=%)|(?<=[€$£])\s+(?=\d)")
_NUMBER_HYPHEN = re.compile(r"(?<=\d)\s*-\s*(?=\d)")
_EDGE = " \t\n\"'`.,;:!?…–-()[]"

# Below this a quote proves nothing: "a" stands on every page, while "€3M" says something.
QUOTE_CHARS_MIN = 3


@dataclass(frozen=True, slots=True)
class Evidence:
    """A quote after the check. `page` is where it was found, else the claimed one if it exists."""

    page: int | None = None
    quote: str | None = None
    verified: bool = False


def normalise(text: str) -> str:
    """The form in which quotes and pages are compared."""
    text = unicodedata.normalize("NFKC", text.translate(_PLAIN)).translate(_PLAIN).casefold()
    text = _LIST_MARK.sub("", text)
    text = _HYPHENATION.sub("", text)
    text = _NUMBER_HYPHEN.sub("-", _DASH.sub("–", text))
    return " ".join(_UNIT_BLANK.sub("", text).split())


class DeckIndex:
    """The visible text of a deck by page number, normalised once for many checks."""

    def __init__(self, pages: Mapping[int, str]) -> None:
        self._pages = {number: normalise(text) for number, text in sorted(pages.items())}

    def holds(self, page: int, words: str) -> bool:
        """Whether the words stand on that page."""
        needle = normalise(words).strip(_EDGE)
        return bool(needle) and _stands_in(needle, self._pages.get(page, ""))

    def check(
        self, page: int | None, quote: str | None, *, must_show: str | None = None
    ) -> Evidence:
        """Look for the quote on the page it is said to be on, then on all others.

        `must_show` is the value that the quote is to prove (an amount, a name, a date): a quote
        from the deck that does not hold it proves nothing.
        """
        claimed = page if page in self._pages else None
        kept = (quote or "").strip() or None
        needle = normalise(quote or "").strip(_EDGE)
        if len(needle) < QUOTE_CHARS_MIN or not _shows(needle, must_show):
            return Evidence(claimed, kept)
        candidates = [claimed] if claimed is not None else []
        for number in (*candidates, *self._pages):
            if _stands_in(needle, self._pages[number]):
                return Evidence(number, kept, verified=True)
        return Evidence(claimed, kept)


def _shows(needle: str, must_show: str | None) -> bool:
    wanted = normalise(must_show or "").strip(_EDGE)
    return not wanted or _stands_in(wanted, needle)


def _stands_in(needle: str, text: str) -> bool:
    """Whether the needle occurs as whole words and whole numbers."""
    start = text.find(needle)
    while start >= 0:
        if _starts_cleanly(text, start) and _ends_cleanly(text, start + len(needle)):
            return True
        start = text.find(needle, start + 1)
    return False


def _starts_cleanly(text: str, start: int) -> bool:
    before, first = text[:start][-2:], text[start]
    if not before or not first.isalnum():
        return True
    inside_number = first.isdigit() and len(before) == 2 and before[0].isdigit()
    return not before[-1].isalnum() and not (inside_number and before[-1] in ".,")


def _ends_cleanly(text: str, end: int) -> bool:
    last, after = text[end - 1], text[end : end + 2]
    if not after or not last.isalnum():
        return True
    inside_number = last.isdigit() and len(after) == 2 and after[1].isdigit()
    return not after[0].isalnum() and not (inside_number and after[0] in ".,")
