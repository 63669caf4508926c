"""From `file_path` to an open document: where the bytes come from, and which places are refused.

`file_path` is the backend's word and the deck is a stranger's, so neither is trusted. A path stays
under the document root whatever it is made of (`local`); a URL must name a listed host, and that
host a public address (`https`); `s3://` works with the extra (`s3`); an empty path means the
`documents` table. Whatever the place, the bytes end up behind a file descriptor that only the
render child reads. No error message holds the root's own path or a URL's query, which may be a
signature.

Errors: TaskRejected for what another attempt will meet again (document_missing,
document_unreadable, path_refused, over_limit, what `Document.start` names), TaskRetry
(document_unreachable) for a network, a mount or a remote server in trouble.
"""

import os
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from ssl import SSLContext
from typing import BinaryIO, Self
from urllib.parse import urlsplit

from opentelemetry.trace import Span

from reveille import semconv
from reveille.documents import https, local, s3
from reveille.documents.spool import check_size, spool
from reveille.errors import TaskRejected, TaskRetry
from reveille.render.document import Document
from reveille.render.limits import DocumentLimits
from reveille.render.newborn import Spare
from reveille.render.pages import Page, PageImage, PageText
from reveille.settings import DocumentSettings
from reveille.tracing import ambient_span

__all__ = ["Document", "DocumentLimits", "Documents", "Page", "PageImage", "PageText", "Spare"]

PATH_CHARS_MAX = 4096

LoadContent = Callable[[int], Awaitable[bytes | None]]


class Documents:
    """Opens documents, wherever they lie."""

    def __init__(
        self,
        *,
        root: Path | None,
        limits: DocumentLimits,
        load_content: LoadContent,
        https_hosts: Sequence[str] = (),
        allow_private_hosts: bool = False,
        ssl_context: SSLContext | None = None,
        spare: Spare | None = None,
    ) -> None:
        """`https_hosts` are `host` or `host:port`; `load_content` reads the `documents` table.

        `ssl_context` is for hosts whose certificate a private authority has signed.
        """
        self._root = root
        self._limits = limits
        self._load_content = load_content
        self._spare = spare
        self._https = https.HttpsSource(
            hosts=https_hosts, allow_private=allow_private_hosts, ssl_context=ssl_context
        )

    @classmethod
    def configured(
        cls, settings: DocumentSettings, load_content: LoadContent, spare: Spare | None = None
    ) -> Self:
        """Documents as the settings allow them."""
        return cls(
            root=settings.document_root,
            https_hosts=settings.document_hosts,
            allow_private_hosts=settings.document_hosts_private,
            limits=DocumentLimits(
                bytes_max=settings.document_bytes_max,
                pages_max=settings.document_pages_max,
                page_points_max=settings.page_points_max,
                image_pixels=settings.image_pixels,
                render_seconds_max=settings.render_seconds_max,
                memory_bytes_max=settings.render_memory_bytes_max,
            ),
            load_content=load_content,
            spare=spare,
        )

    async def open(self, document_id: int, file_path: str | None) -> Document:
        """The document, open; close it, or use it in `async with`."""
        with closing(await self._fetch(document_id, (file_path or "").strip())) as file:
            with _span("open document") as span:
                document = await Document.start(file.fileno(), self._limits, self._spare)
                span.set_attribute(semconv.REVEILLE_DOCUMENT_PAGES, document.page_count)
            return document

    async def _fetch(self, document_id: int, file_path: str) -> BinaryIO:
        """The bytes, checked and from their beginning."""
        if len(file_path) > PATH_CHARS_MAX or not file_path.isprintable():
            raise TaskRejected("path_refused", "file_path is too long or has control characters")
        scheme = urlsplit(file_path).scheme if "://" in file_path else ""
        with _span("fetch document") as span:
            source = (scheme or "root") if file_path else "table"
            span.set_attribute(semconv.REVEILLE_DOCUMENT_SOURCE, source)
            file = await self._from(scheme, document_id, file_path)
            try:
                size_bytes = os.fstat(file.fileno()).st_size
                span.set_attribute(semconv.REVEILLE_DOCUMENT_BYTES, size_bytes)
                check_size(size_bytes, self._limits)
                os.lseek(file.fileno(), 0, os.SEEK_SET)
            except BaseException:
                file.close()
                raise
        return file

    async def _from(self, scheme: str, document_id: int, file_path: str) -> BinaryIO:
        if not file_path:
            return await self._from_table(document_id)
        match scheme:
            case "":
                return await local.open_under(
                    self._root, file_path, seconds_max=self._limits.fetch_seconds_max
                )
            case "https":
                return await self._https.fetch(file_path, self._limits)
            case "s3":
                return await s3.fetch(file_path, self._limits)
        known = "a path under the document root, https://… or s3://…"
        raise TaskRejected("path_refused", f"file_path has scheme {scheme}://; it must be {known}")

    async def _from_table(self, document_id: int) -> BinaryIO:
        content = await self._load_content(document_id)
        if content is None:
            raise TaskRejected(
                "document_missing",
                f"the task has no file_path, and table documents has no content for {document_id}",
            )
        return await spool(_once(content), self._limits)


@contextmanager
def _span(name: str) -> Iterator[Span]:
    """A part of an attempt that may take long; of what fails it, the kind."""
    with ambient_span(name) as span:
        try:
            yield span
        except (TaskRejected, TaskRetry) as error:
            span.set_attribute(semconv.ERROR_TYPE, error.reason)
            raise


async def _once(content: bytes) -> AsyncGenerator[bytes, None]:
    yield content
