"""Reads a prompt for the stand-in: fenced pages into titles and statements, the rest is asked.

A statement is a bullet, a sentence or a wrapped paragraph, joined to one line. Its words are the
page's words, so that it can be quoted.
"""

import re
from dataclasses import dataclass
from functools import cached_property

_FENCED = re.compile(r"<<<deck:([0-9a-f]+)>>>\n(.*?)\n<<<end deck:\1>>>", re.DOTALL)
_MARK = re.compile(r"^\[(seen on )?page (\d+)\]$", re.MULTILINE)
_BULLET = re.compile(r"^\s*(?:[•●▪■◦‣∙–*-]|\d{1,2}[.)])\s+")
_SOURCE = re.compile(r"^\s*(?:source|quelle|footnote)\s*:", re.IGNORECASE)
_PAGE_NUMBER = re.compile(r"^\s*(?:page\s*)?\d{1,3}(?:\s*(?:/|of)\s*\d{1,3})?\s*$", re.IGNORECASE)
_OPEN_END = re.compile(
    r"(?:\b(?:to|of|for|and|the|a|an|in|with|on|from|by)|[,&:–—-])$", re.IGNORECASE
)
_SENTENCE_END = re.compile(r"(?<=[.!?])\s+(?=[A-ZÄÖÜ“\"(])")
OPENING_QUOTES = ("“", "„", "«", '"')
WRAPPED_CHARS_MIN = 45  # a shorter line was ended by its author, not by the margin


@dataclass(frozen=True)
class Page:
    """One page of the fenced deck: its own text, and what an earlier analysis saw on it."""

    number: int
    text: str
    seen: str = ""

    @cached_property
    def lines(self) -> tuple[str, ...]:
        """The non-empty lines, without page numbers."""
        stripped = (line.strip() for line in self.text.splitlines())
        return tuple(line for line in stripped if line and not _PAGE_NUMBER.match(line))

    @cached_property
    def title(self) -> str:
        """The first line, with the next ones while it ends in a word that wants more."""
        if not self.lines or _BULLET.match(self.lines[0]) or self.lines[0][0] in OPENING_QUOTES:
            return ""
        title = self.lines[0]
        for line in self.lines[1:3]:
            if not _OPEN_END.search(title):
                break
            title = f"{title} {line}"
        return title

    @cached_property
    def statements(self) -> tuple[str, ...]:
        """What the page says below its title, one statement each."""
        joined: list[str] = []
        in_bullet = wrapped = False
        for line in self._body():
            bullet = _BULLET.match(line)
            text = line[bullet.end() :] if bullet else line
            if wrapped and not bullet and (in_bullet or not text[0].isupper()):
                joined[-1] = f"{joined[-1]} {text}"
            else:
                joined.append(text)
                in_bullet = bullet is not None
            wrapped = _wraps(line)
        return tuple(joined)

    @cached_property
    def sentences(self) -> tuple[str, ...]:
        """The statements, split where a sentence ends."""
        return tuple(part for text in self.statements for part in _SENTENCE_END.split(text))

    @cached_property
    def folded(self) -> str:
        """The text for keyword search."""
        return " ".join(self.text.split()).casefold()

    def _body(self) -> list[str]:
        title, rest = self.title, list(self.lines)
        while rest and title.startswith(rest[0]) and title:
            title = title.removeprefix(rest.pop(0)).lstrip()
        return [line for line in rest if not _SOURCE.match(line)]


def pages_of(prompt: str) -> tuple[Page, ...]:
    """The pages between the first fence's lines; without a fence the whole prompt is page 1."""
    fenced = _FENCED.search(prompt)
    body = fenced[2] if fenced else prompt
    marks = list(_MARK.finditer(body))
    texts: dict[int, str] = {}
    seen: dict[int, str] = {}
    ends = [mark.start() for mark in marks[1:]] + [len(body)]
    for mark, end in zip(marks, ends, strict=False):
        (seen if mark[1] else texts)[int(mark[2])] = body[mark.end() : end].strip()
    if not texts:
        return (Page(1, body),)
    empty = "(no text on this page)"
    return tuple(
        Page(number, "" if text == empty else text, seen.get(number, ""))
        for number, text in sorted(texts.items())
    )


def _wraps(line: str) -> bool:
    """Whether the margin ended the line, or its words want more."""
    if _OPEN_END.search(line):
        return True
    return len(line) >= WRAPPED_CHARS_MIN and line[-1] not in ".!?:"


def question_of(prompt: str) -> str:
    """The prompt without its fenced deck: what is asked."""
    return _FENCED.sub("", prompt)


def clip(text: str, chars_max: int) -> str:
    """At most so many characters, cut at a blank: still verbatim, only shorter."""
    if len(text) <= chars_max:
        return text
    return text[: chars_max + 1].rsplit(" ", 1)[0][:chars_max]
