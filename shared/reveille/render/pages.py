"""What a document gives its readers: images, texts, and what it found suspicious."""

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class PageText:
    """The text layer of a page, from 1. `hidden_text` is what no reader of the slide can see."""

    number: int
    text: str
    hidden_text: str = ""


@dataclass(frozen=True, slots=True)
class PageImage:
    """A rendered page: PNG bytes, width and height in pixels."""

    data: bytes
    width: int
    height: int


@dataclass(frozen=True, slots=True)
class Word:
    """A word of the text layer and its box, in shares of the page's width and height."""

    text: str
    left: float
    top: float
    right: float
    bottom: float


@dataclass(frozen=True, slots=True)
class Page:
    """One page as a person sees it, and its text layer."""

    number: int
    image: PageImage
    text: str
    hidden_text: str


@dataclass(slots=True)
class Findings:
    """What a document holds besides slides. Page-wise ones grow as pages are read."""

    repaired: bool = False
    javascript: bool = False
    embedded_files: int = 0
    links: dict[int, int] = field(default_factory=dict)
    attachments: dict[int, int] = field(default_factory=dict)
    hidden_text_pages: set[int] = field(default_factory=set)
    cut_pages: set[int] = field(default_factory=set)
    incomplete_pages: set[int] = field(default_factory=set)

    def sentences(self) -> tuple[str, ...]:
        """The findings in words, in a fixed order."""
        files = self.embedded_files + sum(self.attachments.values())
        links = sum(self.links.values())
        said = (
            (self.repaired, "the PDF is damaged and was repaired"),
            (self.javascript, "the PDF contains JavaScript (never run)"),
            (files, f"{files} embedded file(s) (never opened)"),
            (links, f"{links} link(s) (never followed)"),
            (self.hidden_text_pages, f"hidden text on page(s) {_numbers(self.hidden_text_pages)}"),
            (self.cut_pages, f"text layer cut on page(s) {_numbers(self.cut_pages)}"),
            (
                self.incomplete_pages,
                f"page(s) {_numbers(self.incomplete_pages)} have errors and may miss parts",
            ),
        )
        return tuple(sentence for found, sentence in said if found)


def _numbers(pages: set[int]) -> str:
    return ", ".join(str(number) for number in sorted(pages))
