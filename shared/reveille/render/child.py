"""The render child: `python -m reveille.render.child PARENT_PID DOOR`, started by `newborn`. The PDF's
descriptor comes through DOOR, a socket, when there is a document for it.

Reads requests from standard input and answers on standard output, one at a time, until the input
ends. It trusts nothing it opens: memory and processor time are limited by the kernel, it dies with
its parent, MuPDF's own messages cannot reach the protocol's pipe, and before the PDF is looked at
the kernel is told that nothing but computing will follow (`confinement`).
"""

import codecs
import ctypes
import os
import re
import resource
import signal
import socket
import sys
import time
from contextlib import suppress
from importlib import import_module
from typing import Any, BinaryIO, NoReturn

import pymupdf

from reveille.render import confinement, findings, frames, visibility

PR_SET_PDEATHSIG = 1
_NO_MEMORY = re.compile(r"alloc \(.*\) failed|out of memory")
WORDS_MAX = 10_000  # of one page
WORD_CHARS_MAX = 200
CPU_SLACK_SECONDS = 2  # the parent's wall clock strikes first; this is for a parent that is stuck


class Refused(Exception):
    """The document or page cannot be had; `reason` is one of the kinds that `process` knows."""

    def __init__(self, reason: str, error: str, **values: Any) -> None:
        super().__init__(error)
        self.message = {"refused": reason, "error": error, **values}


def main() -> None:
    """Serve the parent named by argument until it closes the pipe or dies."""
    _die_with(int(sys.argv[1]))
    requests, replies = _take_standard_streams()
    _load_what_loads_lazily()
    settings = frames.read(requests)
    if settings is None:
        return
    descriptor = _take_document(int(sys.argv[2]))
    _limit(settings)
    server = PageServer(settings, descriptor)
    frames.write(replies, {"ready": True})
    while request := frames.read(requests):
        _allow_seconds(settings["render_seconds_max"])
        message, raw = _answer(server, request)
        frames.write(replies, message, raw)


def _answer(server: "PageServer", request: dict[str, Any]) -> tuple[dict[str, Any], bytes]:
    """The reply to one request; whatever goes wrong is a reply too."""
    try:
        if request["ask"] == "open":
            return server.open(), b""
        if request["ask"] == "words":
            return server.words(request["number"]), b""
        return server.page(request["number"], image=request["image"])
    except Refused as refused:
        return refused.message, b""
    except MemoryError:
        return {"refused": "render_memory", "error": "no memory left"}, b""
    except Exception as error:  # noqa: BLE001 - MuPDF raises many kinds; the parent gets them all
        return _as_message(error), b""


class PageServer:
    """One PDF."""

    def __init__(self, settings: dict[str, Any], descriptor: int) -> None:
        self._settings = settings
        self._descriptor = descriptor
        self._document: Any = None
        self._all_layers: Any = None  # the same PDF with every layer on; None without layers

    def open(self) -> dict[str, Any]:
        """Load the PDF; its page count and findings. Raises Refused."""
        with os.fdopen(self._descriptor, "rb") as file:
            data = file.read()
        _forbid_files()
        unconfined = confinement.confine()
        self._document = _open(data)
        self._all_layers = self._with_all_layers(data)
        count = self._document.page_count
        pages_max = self._settings["pages_max"]
        if count == 0:
            if self._document.is_repaired:
                raise Refused("damaged_pdf", "the PDF is damaged: no page can be read")
            raise Refused("no_pages", "the PDF has no pages")
        if count > pages_max:
            raise Refused("over_limit", "", limit="pages_max", actual=count, unit="pages")
        for number in range(1, count + 1):
            self._load(number)
        found = findings.document_findings(self._document)
        return {"page_count": count, "unconfined": unconfined, **found}

    def page(self, number: int, *, image: bool) -> tuple[dict[str, Any], bytes]:
        """Text, findings and, if wanted, the PNG of a page."""
        started = time.monotonic()
        pymupdf.TOOLS.reset_mupdf_warnings()
        page = self._load(number)
        pixmap = self._render(page)
        all_layers = None if self._all_layers is None else self._all_layers[number - 1]
        reading = visibility.read_page(page, pixmap, all_layers)
        data = pixmap.tobytes("png") if image else b""
        complaints = pymupdf.TOOLS.mupdf_warnings()
        if _NO_MEMORY.search(complaints):
            # MuPDF leaves out what it had no memory for and goes on.
            raise Refused("render_memory", "no memory left")
        chars_max = self._settings["text_chars_max"]
        message = {
            "width": pixmap.width,
            "height": pixmap.height,
            "text": reading.visible[:chars_max],
            "hidden_text": reading.hidden[:chars_max],
            "cut": max(len(reading.visible), len(reading.hidden)) > chars_max,
            "incomplete": "error" in complaints,
            "seconds": time.monotonic() - started,
            **findings.page_findings(page),
        }
        pymupdf.TOOLS.store_shrink(100)  # what one page needed is rarely what the next one needs
        return message, data

    def words(self, number: int) -> dict[str, Any]:
        """The words of a page and where they stand, in shares of its width and height."""
        page = self._load(number)
        width, height = max(page.rect.width, 0.01), max(page.rect.height, 0.01)
        words = []
        for x0, y0, x1, y1, text, *_ in page.get_text("words")[:WORDS_MAX]:
            box = pymupdf.Rect(x0, y0, x1, y1) * page.rotation_matrix
            shares = (box.x0 / width, box.y0 / height, box.x1 / width, box.y1 / height)
            words.append([text[:WORD_CHARS_MAX], *(round(share, 5) for share in shares)])
        return {"words": words}

    def _with_all_layers(self, data: bytes) -> Any | None:
        """The PDF without its rules on layers, so that all are on; None when it has no layers."""
        catalog = self._document.pdf_catalog()
        if self._document.xref_get_key(catalog, "OCProperties")[0] == "null":
            return None
        document = _open(data)
        document.xref_set_key(document.pdf_catalog(), "OCProperties", "null")
        return document

    def _load(self, number: int) -> Any:
        page = self._document[number - 1]
        longest = max(page.rect.width, page.rect.height)
        if longest > self._settings["page_points_max"]:
            size = f"{page.rect.width:.0f} x {page.rect.height:.0f} on page {number}"
            raise Refused("over_limit", "", limit="page_points_max", actual=size, unit="points")
        return page

    def _render(self, page: Any) -> Any:
        width, height = max(page.rect.width, 0.01), max(page.rect.height, 0.01)
        # Half a pixel less, because MuPDF rounds up to whole pixels.
        scale = (self._settings["image_pixels"] - 0.5) / max(width, height)
        scale = min(scale, (self._settings["pixels_max"] / (width * height)) ** 0.5)
        matrix = pymupdf.Matrix(scale, scale)
        return page.get_pixmap(matrix=matrix, colorspace=pymupdf.csRGB, alpha=False)


def _open(data: bytes) -> Any:
    if b"%PDF-" not in data[:1024]:
        raise Refused("not_a_pdf", "the file is not a PDF")
    try:
        document = pymupdf.open(stream=data, filetype="pdf")
    except pymupdf.FileDataError:
        raise Refused("damaged_pdf", "the PDF is damaged beyond repair") from None
    if document.needs_pass and not document.authenticate(""):
        raise Refused("encrypted_pdf", "the PDF is encrypted and needs a password")
    return document


def _as_message(error: Exception) -> dict[str, Any]:
    if isinstance(error, pymupdf.mupdf.FzErrorBase):
        reason = "render_memory" if _NO_MEMORY.search(str(error)) else "render_failed"
        return {"refused": reason, "error": str(error)[:300]}
    # Any other error's text may name a path of this machine.
    return {"refused": "render_failed", "error": type(error).__name__}


def _die_with(parent: int) -> None:
    """End when the parent ends, also by SIGKILL. Elsewhere than on Linux the closed pipe does it."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        sys.exit(1)


def _take_standard_streams() -> tuple[BinaryIO, BinaryIO]:
    """The protocol's two ends; what libraries print goes nowhere."""
    requests = os.fdopen(os.dup(0), "rb")
    replies = os.fdopen(os.dup(1), "wb")
    nowhere = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(nowhere, descriptor)
    return requests, replies


def _take_document(door: int) -> int:
    """The descriptor that was handed over before the settings were sent."""
    with socket.socket(fileno=door) as open_door:
        _, descriptors, _, _ = socket.recv_fds(open_door, 1, 1)
    return descriptors[0]


def _limit(settings: dict[str, Any]) -> None:
    """Memory for the whole life; no core files, no files written."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    with suppress(ValueError, OSError):  # macOS has no address-space limit
        memory = settings["memory_bytes_max"]
        resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    pymupdf.TOOLS.mupdf_display_errors(False)
    pymupdf.TOOLS.mupdf_display_warnings(False)


def _allow_seconds(seconds: float) -> None:
    """Let the next request use this much processor time from now."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    total = int(used.ru_utime + used.ru_stime + seconds) + CPU_SLACK_SECONDS
    resource.setrlimit(resource.RLIMIT_CPU, (total, resource.RLIM_INFINITY))


def _load_what_loads_lazily() -> None:
    """Once files are forbidden nothing can be imported any more."""
    for codec in ("utf-8", "utf-16", "latin-1", "cp1252", "raw_unicode_escape"):
        codecs.lookup(codec)
    for module in ("base64", "traceback", "unicodedata"):
        import_module(module)


def _forbid_files() -> None:
    """From here on no file, socket or pipe can be opened: there is nothing left to open."""
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, 0))


def _end() -> NoReturn:
    # MuPDF's teardown of a hostile document is one more thing that can go wrong.
    os._exit(0)


if __name__ == "__main__":
    main()
    _end()
