"""The render child on good, damaged and hostile PDFs: what comes back, and that it always ends."""

import asyncio
import os
import signal
import subprocess
import sys
import tempfile
import textwrap
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pymupdf
import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from autoscaler.providers.launch import identity_of
from reveille import semconv, testing_pdfs
from reveille.errors import TaskRejected, TaskRetry
from reveille.render.document import Document
from reveille.render.limits import DocumentLimits
from reveille.render.process import DocumentClosed, RenderProcess

PNG = b"\x89PNG\r\n\x1a\n"


@asynccontextmanager
async def opened(data: bytes, **limits: Any) -> AsyncIterator[Document]:
    """The PDF, opened as Documents would."""
    with tempfile.TemporaryFile() as file:
        file.write(data)
        file.seek(0)
        document = await Document.start(file.fileno(), DocumentLimits(**limits))
    async with document:
        yield document


async def rejection(data: bytes, **limits: Any) -> TaskRejected:
    """The error that opening and reading all pages ends in."""
    with pytest.raises(TaskRejected) as caught:  # noqa: PT012 - either may raise
        async with opened(data, **limits) as document:
            async for _ in document.pages():
                pass
    return caught.value


def eventually(predicate: Callable[[], bool], seconds_max: float = 10) -> bool:
    """True once the predicate holds; for what happens in other processes."""
    deadline = time.monotonic() + seconds_max
    while not predicate():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def is_gone(pid: int) -> bool:
    """True when no process has this id, or only its corpse is left."""
    return identity_of(pid) is None


def requests_of(document: Document, monkeypatch: pytest.MonkeyPatch) -> asyncio.Event:
    """Set once a request is on its way to the child."""
    asked = asyncio.Event()
    write = document._child._write

    def watched(message: dict[str, Any]) -> None:
        write(message)
        asked.set()

    monkeypatch.setattr(document._child, "_write", watched)
    return asked


async def test_pages_come_in_order_with_image_and_text() -> None:
    """Every page has its PNG, scaled to the longest side, and its own text."""
    async with opened(testing_pdfs.deck("One", "Two", "Three")) as document:
        pages = [page async for page in document.pages()]

    assert document.page_count == 3
    assert [(page.number, page.text) for page in pages] == [(1, "One"), (2, "Two"), (3, "Three")]
    assert all(page.image.data.startswith(PNG) for page in pages)
    assert {(page.image.width, page.image.height) for page in pages} == {(1024, 576)}
    assert document.warnings == ()


async def test_pages_start_where_asked() -> None:
    """A task interrupted at slide 2 resumes there."""
    async with opened(testing_pdfs.deck("One", "Two", "Three")) as document:
        assert [page.number async for page in document.pages(start=2)] == [2, 3]
        assert [page.number async for page in document.pages(start=4)] == []


async def test_texts_of_all_pages_need_no_images() -> None:
    """A text worker reads the deck without rendering it for a model."""
    async with opened(testing_pdfs.deck("One", "Two")) as document:
        texts = await document.page_texts()

    assert [(text.number, text.text, text.hidden_text) for text in texts] == [
        (1, "One", ""),
        (2, "Two", ""),
    ]


@pytest.mark.parametrize("number", [0, 3, -1])
async def test_page_that_is_not_there_is_a_value_error(number: int) -> None:
    """A wrong page number is the caller's mistake, and the document survives it."""
    async with opened(testing_pdfs.deck("One", "Two")) as document:
        with pytest.raises(ValueError, match="of 2"):
            await document.image(number)
        assert (await document.page(2)).text == "Two"


@pytest.mark.parametrize(
    ("box", "size"),
    [((540, 960), (576, 1024)), ((100, 100), (512, 512)), ((14_000, 1), (1024, 1))],
)
async def test_image_keeps_its_shape_within_the_pixel_limits(
    box: tuple[float, float], size: tuple[int, int]
) -> None:
    """Portrait, square and thread-thin pages fit the longest side and the pixel maximum."""
    data = testing_pdfs.pages([""], box=box)
    pixels_max = 512 * 512 if box == (100, 100) else 1024 * 1024
    async with opened(data, pixels_max=pixels_max) as document:
        image = await document.image(1)

    assert (image.width, image.height) == size


async def test_next_page_is_rendered_while_the_caller_has_this_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The GPU never waits for a page: asking for page 2 begins before the caller is back."""
    asked: list[int] = []
    second = asyncio.Event()
    read = Document._read

    async def watched(self: Document, number: int, *, image: bool) -> Any:
        asked.append(number)
        if number == 2:
            second.set()
        return await read(self, number, image=image)

    monkeypatch.setattr(Document, "_read", watched)
    async with opened(testing_pdfs.deck("One", "Two", "Three")) as document:
        async for page in document.pages():
            if page.number == 1:
                await asyncio.wait_for(second.wait(), 10)

                assert asked == [1, 2]


async def test_reader_that_leaves_early_can_go_on_reading() -> None:
    """Breaking off with a page under way leaves the pipe in step."""
    async with opened(testing_pdfs.deck("One", "Two", "Three")) as document:
        async for _ in document.pages():
            break
        assert (await document.page(3)).text == "Three"


async def test_hidden_text_is_told_apart_in_every_form() -> None:
    """What no reader sees is kept from the visible text, and is reported."""
    async with opened(testing_pdfs.hidden_texts()) as document:
        page = await document.page(1)

    assert page.text.splitlines() == ["Visible title", "White on blue is visible"]
    assert set(page.hidden_text.splitlines()) == {
        "White on white",
        "Almost white",
        "Tiny print",
        "Render mode three",
        "Below the page",
        "Covered by a box",
        "Transparent",
        "On a layer that is off",
    }
    assert document.warnings == ("hidden text on page(s) 1",)


async def test_text_of_a_rotated_and_cropped_page_is_judged_where_it_is_drawn() -> None:
    """Rotation and crop box move the text; what they leave visible stays visible."""
    content = testing_pdfs.text_at(200, 300, "Inside", size=24)
    content += testing_pdfs.text_at(20, 20, "Cropped away", size=24)
    data = testing_pdfs.pages([content], page="/Rotate 90/CropBox[100 200 900 500]")
    async with opened(data) as document:
        page = await document.page(1)

    assert (page.text, page.hidden_text) == ("Inside", "Cropped away")
    assert page.image.height > page.image.width


async def test_replacement_text_is_not_believed() -> None:
    """ActualText, which a viewer never shows, does not replace what is drawn."""
    shown = testing_pdfs.text_at(60, 440, "Revenue 10k", size=32)
    data = testing_pdfs.pages([f"/Span<</ActualText(Revenue 10M)>>BDC {shown} EMC"])
    async with opened(data) as document:
        assert (await document.page_texts())[0].text == "Revenue 10k"


async def test_scripts_files_and_links_are_reported() -> None:
    """A deck with active content says so in its warnings."""
    async with opened(testing_pdfs.with_extras()) as document:
        await document.page_texts()

    assert document.warnings == (
        "the PDF contains JavaScript (never run)",
        "1 embedded file(s) (never opened)",
        "1 link(s) (never followed)",
    )


async def test_control_characters_never_leave_the_document() -> None:
    """Postgres refuses NUL and terminals obey escapes, so neither comes out of a text layer."""
    async with opened(testing_pdfs.deck("a\x00b\x1b[31mc")) as document:
        text = (await document.page_texts())[0].text

    assert not any(ord(character) < 32 for character in text)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "not_a_pdf"),
        (b"PK\x03\x04 a presentation, zipped", "not_a_pdf"),
        (testing_pdfs.cut_before_pages(), "damaged_pdf"),
        (b"%PDF-1.7\n" + b"\xff" * 4096, "damaged_pdf"),
        (testing_pdfs.zero_pages(), "no_pages"),
    ],
    ids=["empty", "zip", "cut", "noise", "zero-pages"],
)
async def test_what_is_no_readable_pdf_is_rejected(data: bytes, reason: str) -> None:
    """Each kind of broken file has its own reason."""
    assert (await rejection(data)).reason == reason


async def test_truncated_pdf_is_repaired_with_a_warning() -> None:
    """A deck whose upload was cut short is read as far as it goes."""
    async with opened(testing_pdfs.truncated()) as document:
        texts = [text.text for text in await document.page_texts()]

    assert texts == ["First", "Second", "Third"]
    assert document.warnings == ("the PDF is damaged and was repaired",)


def encrypted(user_password: str) -> bytes:
    """A deck encrypted with AES-256."""
    with pymupdf.open(stream=testing_pdfs.deck("Secret"), filetype="pdf") as document:
        return bytes(
            document.tobytes(
                encryption=pymupdf.PDF_ENCRYPT_AES_256, owner_pw="owner", user_pw=user_password
            )
        )


async def test_encrypted_pdf_without_its_password_is_rejected() -> None:
    """Nobody can type a password into a queue."""
    assert (await rejection(encrypted("user"))).reason == "encrypted_pdf"


async def test_encrypted_pdf_that_needs_no_password_opens() -> None:
    """Decks are often only protected against changes."""
    async with opened(encrypted("")) as document:
        assert (await document.page_texts())[0].text == "Secret"


async def test_too_many_pages_are_rejected_naming_the_limit() -> None:
    """5,000 pages fail at once, with the limit, its value and the number found."""
    error = await rejection(testing_pdfs.deck(*["page"] * 5000))

    assert error.reason == "over_limit"
    assert "pages_max" in error.error
    assert "5000" in error.error
    assert "300" in error.error


async def test_huge_page_is_rejected_naming_the_limit() -> None:
    """50,000 x 50,000 points fail at once, also when an ordinary page comes first."""
    error = await rejection(testing_pdfs.huge_page(50_000))

    assert error.reason == "over_limit"
    assert "page_points_max" in error.error
    assert "50000 x 50000 on page 1" in error.error


@pytest.mark.parametrize(
    "bomb", [testing_pdfs.nested_forms, testing_pdfs.swollen_stream, testing_pdfs.giant_image]
)
async def test_bomb_ends_at_the_time_limit(bomb: Callable[[], bytes]) -> None:
    """A few kB that unpack to gigabytes or years of work end in render_timeout, soon."""
    started = time.monotonic()
    error = await rejection(bomb(), render_seconds_max=1)

    assert error.reason == "render_timeout"
    assert time.monotonic() - started < 60


async def test_flood_of_text_ends_at_the_memory_limit() -> None:
    """200 million characters in 4 kB end in render_memory."""
    error = await rejection(
        testing_pdfs.text_flood(), memory_bytes_max=256 * 1024**2, render_seconds_max=60
    )

    assert error.reason == "render_memory"
    assert "256 MiB" in error.error


async def test_long_text_layer_is_cut_with_a_warning() -> None:
    """A page's text is bounded, and the reader is told."""
    async with opened(testing_pdfs.deck("word " * 40), text_chars_max=50) as document:
        texts = await document.page_texts()

    assert len(texts[0].text) <= 50
    assert "text layer cut on page(s) 1" in document.warnings


@pytest.mark.parametrize(
    ("how", "kind", "reason"),
    [
        (signal.SIGSEGV, TaskRejected, "render_failed"),
        (signal.SIGXCPU, TaskRejected, "render_timeout"),
        (signal.SIGKILL, TaskRetry, "render_killed"),
    ],
)
async def test_end_of_the_child_names_page_and_cause(
    how: signal.Signals, kind: type[TaskRejected | TaskRetry], reason: str
) -> None:
    """A crash is the deck's fault, a kill from outside is not, and neither hurts the worker."""
    async with opened(testing_pdfs.nested_forms(), render_seconds_max=60) as document:
        page = asyncio.create_task(document.page(1))
        os.kill(document.process_id, how)
        with pytest.raises(kind) as caught:
            await page
        with pytest.raises(kind):
            await document.page(1)

    assert caught.value.reason == reason
    assert "page 1" in caught.value.error


@pytest.mark.parametrize("program", ["/bin/false", "/no/such/program"])
async def test_child_that_does_not_start_is_no_fault_of_the_document(
    monkeypatch: pytest.MonkeyPatch, program: str
) -> None:
    """A worker whose interpreter or library is broken gives the task back for another attempt."""
    monkeypatch.setattr(sys, "executable", program)
    with pytest.raises(TaskRetry) as caught:
        async with opened(testing_pdfs.deck("One")):
            pass

    assert caught.value.reason == "render_unavailable"


async def test_closing_kills_a_child_that_is_busy(monkeypatch: pytest.MonkeyPatch) -> None:
    """A cancelled task leaves no process behind, whatever the child was doing."""
    async with opened(testing_pdfs.nested_forms(), render_seconds_max=60) as document:
        asked = requests_of(document, monkeypatch)
        page = asyncio.create_task(document.page(1))
        await asked.wait()
        page.cancel()
        with pytest.raises(asyncio.CancelledError):
            await page

    assert is_gone(document.process_id)


async def test_released_document_loses_its_child_while_it_is_open() -> None:
    """Who has the last page need not wait for the child's end when closing."""
    async with opened(testing_pdfs.deck("One", "Two", "Three")) as document:
        pages = [page.number async for page in document.pages()]
        document.release()
        assert await asyncio.to_thread(eventually, lambda: is_gone(document.process_id))
        assert (pages, document.page_count, document.warnings) == ([1, 2, 3], 3, ())
        with pytest.raises(DocumentClosed):
            await document.page(1)


async def test_page_under_way_when_the_document_closes_says_so(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Who waits for a page of a document that another closes hears it, and does not hang."""
    async with opened(testing_pdfs.nested_forms(), render_seconds_max=60) as document:
        asked = requests_of(document, monkeypatch)
        page = asyncio.create_task(document.page(1))
        await asked.wait()
    with pytest.raises(DocumentClosed):
        await page


async def test_rejected_document_leaves_no_child(monkeypatch: pytest.MonkeyPatch) -> None:
    """Opening that fails cleans up before it raises."""
    started: list[int] = []
    start = RenderProcess.start

    async def watched(*arguments: Any) -> Any:
        child = await start(*arguments)
        started.append(child.pid)
        return child

    monkeypatch.setattr(RenderProcess, "start", watched)
    await rejection(b"no")

    assert [is_gone(pid) for pid in started] == [True]


@pytest.mark.skipif(sys.platform != "linux", reason="the death signal is Linux's")
def test_child_dies_with_its_parent_though_busy() -> None:
    """SIGKILL of a worker leaves no render process, not even one deep inside MuPDF."""
    program = textwrap.dedent("""
        import asyncio, tempfile
        from reveille import testing_pdfs
        from reveille.render.document import Document
        from reveille.render.limits import DocumentLimits

        async def main():
            file = tempfile.TemporaryFile()
            file.write(testing_pdfs.nested_forms())
            file.seek(0)
            document = await Document.start(file.fileno(), DocumentLimits(render_seconds_max=60))
            print(document.process_id, flush=True)
            await document.page(1)

        asyncio.run(main())
    """)
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE) as worker:
        assert worker.stdout is not None
        pid = int(worker.stdout.readline())
        worker.kill()

    assert eventually(lambda: is_gone(pid))


async def test_child_sees_nothing_of_the_workers_environment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The database's password is not where a hostile PDF could read it."""
    monkeypatch.setenv("DATABASE_URL", "postgresql://user:secret@localhost/queue")
    async with opened(testing_pdfs.deck("One")) as document:
        environment = Path(f"/proc/{document.process_id}/environ")
        if not environment.exists():
            pytest.skip("no /proc on this system")

        assert b"secret" not in environment.read_bytes()


async def test_child_can_open_no_file_and_write_none_once_the_pdf_is_loaded() -> None:
    """Whatever a PDF does to MuPDF, it opens no file and no socket, and its memory is bounded."""
    async with opened(testing_pdfs.deck("One")) as document:
        limits = Path(f"/proc/{document.process_id}/limits")
        if not limits.exists():
            pytest.skip("no /proc on this system")
        lines = limits.read_text().splitlines()
        soft = {line[:26].strip(): line[26:].split()[0] for line in lines}

    assert soft["Max open files"] == "0"
    assert soft["Max file size"] == "0"
    assert soft["Max core file size"] == "0"
    assert soft["Max address space"] == str(1024**3)


@pytest.mark.parametrize("font", ["china-s", "japan", "korea", "tiro", "cour", "symb"])
async def test_fonts_that_are_not_embedded_need_no_file(font: str) -> None:
    """Substitute fonts are part of the library, so the closed file table does not hurt them."""
    with pymupdf.open() as source:
        page = source.new_page(width=960, height=540)
        page.insert_text((60, 200), "中文 Text", fontname=font, fontsize=40)
        data = source.tobytes()
    async with opened(data) as document:
        page_read = await document.page(1)

    assert page_read.text
    assert document.warnings == ()


async def test_page_span_carries_size_and_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each rendered page is a span with its number, size and the child's seconds."""
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr(trace, "get_tracer", provider.get_tracer)
    async with opened(testing_pdfs.deck("One")) as document:
        image = await document.image(1)

    (span,) = exporter.get_finished_spans()
    attributes = dict(span.attributes or {})
    assert span.name == "render page"
    assert 0 < float(str(attributes.pop(semconv.REVEILLE_RENDER_SECONDS))) < 60
    assert attributes == {
        semconv.REVEILLE_PAGE_NUMBER: 1,
        semconv.REVEILLE_PAGE_WIDTH: image.width,
        semconv.REVEILLE_PAGE_HEIGHT: image.height,
        semconv.REVEILLE_PAGE_BYTES: len(image.data),
    }
