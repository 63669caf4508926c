"""Pictures of slides, made on request in the render child, and kept while there is room.

A page that shows twenty slides asks twenty times within a second, so a document stays open for a
moment after its last page, and what was rendered is kept up to a number of bytes. Few documents are
open at a time: each is a process that holds a PDF. A document that cannot be opened is not tried
again for a while, because trying may cost as long as its limits allow.
"""

import asyncio
from collections import OrderedDict
from dataclasses import dataclass, field
from time import monotonic

from queue_gateway.refusal import Refusal, not_found
from reveille.documents import Document, Documents
from reveille.errors import TaskRejected, TaskRetry
from reveille.render.pages import Word

KEPT_BYTES_MAX = 64 * 1024 * 1024
KEPT_SECONDS = 900.0  # a file at a path may be replaced
OPEN_MAX = 2
LOCKS = 16
OPEN_SECONDS = 10.0  # after the last page that was asked for
REFUSED_SECONDS = 60.0
REFUSED_MAX = 1000
WORD_BYTES = 200  # of a word with its box, roughly


@dataclass(frozen=True, slots=True)
class Source:
    """A document and where its tasks say it lies; empty: in the table documents."""

    document_id: int
    file_path: str


@dataclass(frozen=True, slots=True)
class Picture:
    """A rendered page (PNG) and its words."""

    data: bytes
    width: int
    height: int
    words: tuple[Word, ...]
    made_at: float = field(default_factory=monotonic)

    @property
    def size_bytes(self) -> int:
        """What keeping it costs."""
        return len(self.data) + WORD_BYTES * len(self.words)


class Pictures:
    """Renders pages and remembers them. One per gateway; `aclose` ends the render children."""

    def __init__(self, documents: Documents, *, kept_bytes_max: int = KEPT_BYTES_MAX) -> None:
        self._documents = documents
        self._kept_bytes_max = kept_bytes_max
        self._kept: OrderedDict[tuple[Source, int], Picture] = OrderedDict()
        self._kept_bytes = 0
        self._refused: OrderedDict[Source, tuple[float, Refusal]] = OrderedDict()
        # One request of a document at a time; a few locks shared by all documents.
        self._turns = [asyncio.Lock() for _ in range(LOCKS)]
        self._seats = asyncio.Semaphore(OPEN_MAX)
        self._open: tuple[Source, Document] | None = None
        self._closing: asyncio.TimerHandle | None = None
        self._ends: set[asyncio.Task[None]] = set()

    async def page(self, source: Source, number: int) -> Picture:
        """One page, from 1. Raises Refusal 404 for what cannot be shown, 503 for what may be later."""
        async with self._turns[hash(source) % len(self._turns)]:
            kept = self._found(source, number)
            if kept is not None:
                return kept
            refused = self._refused.get(source)
            if refused is not None and monotonic() - refused[0] < REFUSED_SECONDS:
                raise refused[1]
            try:
                async with self._seats:
                    picture = await self._render(source, number)
            except (TaskRejected, TaskRetry) as error:
                raise self._refuse(source, error) from None
            self._keep(source, number, picture)
            return picture

    async def aclose(self) -> None:
        """End the render children."""
        self._let_go()
        await asyncio.gather(*self._ends, return_exceptions=True)

    async def _render(self, source: Source, number: int) -> Picture:
        document = self._take(source) or await self._documents.open(
            source.document_id, source.file_path
        )
        try:
            image = await document.image(number)
            words = await document.words(number)
        except ValueError:
            self._lay_down(source, document)
            raise not_found(f"page {number} in document", source.document_id) from None
        except BaseException:
            self._end(document)
            raise
        self._lay_down(source, document)
        return Picture(image.data, image.width, image.height, tuple(words))

    def _take(self, source: Source) -> Document | None:
        """The document that was left open, if it is this one."""
        if self._open is None or self._open[0] != source:
            return None
        document, self._open = self._open[1], None
        return document

    def _lay_down(self, source: Source, document: Document) -> None:
        """Leave it open for the next page; another one that was left open ends."""
        self._let_go()
        self._open = (source, document)
        self._closing = asyncio.get_running_loop().call_later(OPEN_SECONDS, self._let_go)

    def _let_go(self) -> None:
        if self._closing is not None:
            self._closing.cancel()
            self._closing = None
        if self._open is not None:
            _, document = self._open
            self._open = None
            self._end(document)

    def _end(self, document: Document) -> None:
        end = asyncio.get_running_loop().create_task(document.aclose())
        self._ends.add(end)
        end.add_done_callback(self._ends.discard)

    def _found(self, source: Source, number: int) -> Picture | None:
        picture = self._kept.get((source, number))
        if picture is None:
            return None
        if monotonic() - picture.made_at > KEPT_SECONDS:
            self._forget((source, number))
            return None
        self._kept.move_to_end((source, number))
        return picture

    def _keep(self, source: Source, number: int, picture: Picture) -> None:
        self._kept[source, number] = picture
        self._kept_bytes += picture.size_bytes
        while self._kept_bytes > self._kept_bytes_max and self._kept:
            self._forget(next(iter(self._kept)))

    def _forget(self, key: tuple[Source, int]) -> None:
        self._kept_bytes -= self._kept.pop(key).size_bytes

    def _refuse(self, source: Source, error: TaskRejected | TaskRetry) -> Refusal:
        status = 404 if isinstance(error, TaskRejected) else 503
        refusal = Refusal(status, f"The slide cannot be shown: {error}", reason=error.reason)
        self._refused[source] = (monotonic(), refusal)
        while len(self._refused) > REFUSED_MAX:
            self._refused.popitem(last=False)
        return refusal
