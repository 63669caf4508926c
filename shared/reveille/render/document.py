"""An open document: what a handler reads. Pages are made by the render child, one ahead of the reader.

    async with await documents.open(42, "uploads/42/deck.pdf") as document:
        async for page in document.pages():
            ...

Closing kills the child; a document that is not closed dies with the worker.
"""

import asyncio
from collections.abc import AsyncGenerator
from functools import cache
from types import TracebackType
from typing import Any, Self

import structlog
from opentelemetry import trace

from reveille import semconv
from reveille.errors import ReveilleError
from reveille.plain_text import clean
from reveille.render.limits import DocumentLimits
from reveille.render.newborn import Spare
from reveille.render.pages import Findings, Page, PageImage, PageText, Word
from reveille.render.process import RenderProcess

log = structlog.get_logger(__name__)


class Document:
    """One PDF. Page numbers count from 1. Every method may raise TaskRejected and TaskRetry."""

    def __init__(self, child: RenderProcess, opened: dict[str, Any]) -> None:
        self._child = child
        self._leaving: asyncio.Task[None] | None = None
        self._texts: dict[int, PageText] = {}
        self.page_count = int(opened["page_count"])
        self.findings = Findings(
            repaired=bool(opened["repaired"]),
            javascript=bool(opened["javascript"]),
            embedded_files=int(opened["embedded_files"]),
        )

    @classmethod
    async def start(
        cls, descriptor: int, limits: DocumentLimits, spare: Spare | None = None
    ) -> "Document":
        """Open the PDF behind a file descriptor, which the caller may close afterwards, with the
        spare's child if there is one.

        Raises TaskRejected: not_a_pdf, damaged_pdf, encrypted_pdf, no_pages, over_limit,
        render_timeout, render_memory, render_failed.
        """
        child = await RenderProcess.start(descriptor, limits, spare)
        try:
            opened, _ = await child.ask({"ask": "open"}, about="opening the document")
            _tell_confinement(opened["unconfined"])
            return cls(child, opened)
        except BaseException:
            await child.close()
            raise

    @property
    def warnings(self) -> tuple[str, ...]:
        """What is suspicious about the document so far, in words; page by page as it is read."""
        return self.findings.sentences()

    @property
    def process_id(self) -> int:
        """The render child's process id."""
        return self._child.pid

    async def page_texts(self) -> list[PageText]:
        """The text layers of all pages."""
        for number in range(1, self.page_count + 1):
            if number not in self._texts:
                await self._read(number, image=False)
        return [self._texts[number] for number in range(1, self.page_count + 1)]

    async def image(self, number: int) -> PageImage:
        """One page as PNG. Raises ValueError for a page that the document does not have."""
        return (await self.page(number)).image

    async def page(self, number: int) -> Page:
        """One page. Raises ValueError for a page that the document does not have."""
        if not 1 <= number <= self.page_count:
            raise ValueError(f"page {number} of {self.page_count}")
        image = await self._read(number, image=True)
        text = self._texts[number]
        return Page(number, image, text.text, text.hidden_text)

    async def words(self, number: int) -> list[Word]:
        """The words of one page with their boxes, hidden ones too."""
        message, _ = await self._child.ask(
            {"ask": "words", "number": number}, about=f"page {number}"
        )
        return [Word(clean(str(text)), *map(float, box)) for text, *box in message["words"]]

    async def pages(self, start: int = 1) -> AsyncGenerator[Page, None]:
        """The pages from `start` on; the next one is rendered while the caller has this one."""
        upcoming: asyncio.Task[Page] | None = None
        try:
            for number in range(start, self.page_count + 1):
                page = await (upcoming or self.page(number))
                upcoming = None
                if number < self.page_count:
                    upcoming = asyncio.create_task(self.page(number + 1))
                    upcoming.add_done_callback(_seen)
                yield page
        finally:
            if upcoming is not None:
                upcoming.cancel()

    def release(self) -> None:
        """No page will be asked for any more: the child ends while the caller goes on, who then need
        not wait for it when closing.
        """
        if self._leaving is None:
            self._leaving = asyncio.create_task(self.aclose(), name="render child's end")

    async def aclose(self) -> None:
        """Kill the render child. May be called twice."""
        await self._child.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.aclose()

    async def _read(self, number: int, *, image: bool) -> PageImage:
        tracer = trace.get_tracer(semconv.SCOPE)
        with tracer.start_as_current_span(
            "render page",
            attributes={semconv.REVEILLE_PAGE_NUMBER: number},
            record_exception=False,
        ) as span:
            try:
                message, data = await self._child.ask(
                    {"ask": "page", "number": number, "image": image}, about=f"page {number}"
                )
            except ReveilleError as error:
                reason = getattr(error, "reason", type(error).__name__)
                span.set_attribute(semconv.ERROR_TYPE, reason)
                raise
            span.set_attributes(
                {
                    semconv.REVEILLE_PAGE_WIDTH: int(message["width"]),
                    semconv.REVEILLE_PAGE_HEIGHT: int(message["height"]),
                    semconv.REVEILLE_PAGE_BYTES: len(data),
                    semconv.REVEILLE_RENDER_SECONDS: float(message["seconds"]),
                }
            )
        self._note(number, message)
        return PageImage(data, int(message["width"]), int(message["height"]))

    def _note(self, number: int, message: dict[str, Any]) -> None:
        hidden = clean(str(message["hidden_text"]))
        self._texts[number] = PageText(number, clean(str(message["text"])), hidden)
        self.findings.links[number] = int(message["links"])
        self.findings.attachments[number] = int(message["attachments"])
        for found, pages in (
            (hidden.strip(), self.findings.hidden_text_pages),
            (message["cut"], self.findings.cut_pages),
            (message["incomplete"], self.findings.incomplete_pages),
        ):
            if found:
                pages.add(number)


def _seen(page: asyncio.Task[Page]) -> None:
    if not page.cancelled():
        page.exception()  # raised to the reader when it gets there; it may have left


@cache
def _tell_confinement(why_not: str | None) -> None:
    """Once per process: whether render children are confined is a property of the machine."""
    if why_not is not None:
        log.warning("render_not_confined", reason=clean(why_not))
