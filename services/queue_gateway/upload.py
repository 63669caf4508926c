"""Taking in a PDF while it streams: as the raw body, or as a part of a multipart form.

The size is checked as the bytes arrive, and so is the beginning, so that neither a film nor a too
large deck is read to its end. Whether the PDF can be used (pages, encryption, damage) is for the
worker to say, which has the means.
"""

from collections.abc import AsyncIterator, Callable

from aiohttp import BodyPartReader, web
from aiohttp.http_exceptions import HttpProcessingError
from pydantic import ValidationError

from queue_gateway.refusal import Refusal
from queue_gateway.route import invalid
from queue_gateway.shapes import Params
from reveille.task import Priority

PDF = "application/pdf"
FORM = "multipart/form-data"
# What a client that knows no media type sends; the first bytes decide then.
_UNSAID = "application/octet-stream"
# Readers accept the header anywhere in the first kilobyte.
_HEAD_BYTES = 1024
_MAGIC = b"%PDF-"
_CHUNK_BYTES = 256 * 1024
_FIELD_BYTES_MAX = 4096
# What a form adds to the file: boundaries, part headers, fields.
_FORM_BYTES_MAX = 64 * 1024


class UploadOptions(Params):
    """From the query, or from the form's fields, which win."""

    filename: str | None = None
    company_id: str | None = None
    new: bool = False
    pipeline: bool = False
    priority: Priority = Priority.NORMAL


class Upload:
    """A received document and what is wanted of it."""

    def __init__(self, content: bytes, filename: str, options: UploadOptions) -> None:
        self.content = content
        self.filename = filename
        self.options = options


# Gets a form's fields when its file begins; may take some out, or raise Refusal.
BeforeFile = Callable[[dict[str, str]], None]


async def receive(
    request: web.Request,
    options: UploadOptions,
    bytes_max: int,
    before_file: BeforeFile | None = None,
) -> Upload:
    """Read the upload; with `before_file` only as a form. Raises Refusal 413, 415 or 422."""
    kind = request.content_type
    form = kind == FORM
    if request.content_length is not None:
        allowance = _FORM_BYTES_MAX if form else 0
        _check_size(request.content_length - allowance, bytes_max)
    if form:
        return await _receive_form(request, options, bytes_max, before_file)
    if before_file is not None:
        raise Refusal(415, f"Send {FORM}, not {kind}.")
    if kind not in {PDF, _UNSAID}:
        raise Refusal(415, f"Send {PDF}, or {FORM} with a part named file, not {kind}.")
    content = await _collect(request.content.iter_chunked(_CHUNK_BYTES), bytes_max)
    return Upload(content, _name(options.filename), options)


async def _receive_form(
    request: web.Request,
    options: UploadOptions,
    bytes_max: int,
    before_file: BeforeFile | None,
) -> Upload:
    fields: dict[str, str] = {}
    content: bytes | None = None
    filename: str | None = None
    try:
        async for part in await request.multipart():
            if not isinstance(part, BodyPartReader):
                raise Refusal(422, "A form within the form cannot be used.")
            if part.name != "file":
                fields[part.name or ""] = await _field(part)
                continue
            if content is not None:
                raise Refusal(422, "Send one file at a time.")
            if before_file is not None:
                before_file(fields)
            _check_part_type(part)
            filename = part.filename
            content = await _collect(_chunks(part), bytes_max)
    except ValueError as error:
        raise Refusal(400, f"The form cannot be read: {error}") from error
    except HttpProcessingError as error:  # a part's header that is none; its text is the sender's
        raise Refusal(400, "The form cannot be read: a part has a malformed header.") from error
    if content is None:
        raise Refusal(422, "The form has no part named file.")
    try:
        given = UploadOptions.model_validate({**options.model_dump(exclude_unset=True), **fields})
    except ValidationError as error:
        raise invalid(error, "The form") from None
    return Upload(content, _name(given.filename or filename), given)


def _check_part_type(part: BodyPartReader) -> None:
    kind = part.headers.get("Content-Type", _UNSAID).partition(";")[0].strip().lower()
    if kind not in {PDF, _UNSAID}:
        raise Refusal(415, f"The file must be {PDF}, not {kind}.")


async def _field(part: BodyPartReader) -> str:
    text = bytearray()
    async for chunk in _chunks(part):
        text += chunk
        if len(text) > _FIELD_BYTES_MAX:
            raise Refusal(422, f"The field {part.name} is too long.")
    return text.decode("utf-8", "replace")


async def _chunks(part: BodyPartReader) -> AsyncIterator[bytes]:
    while chunk := await part.read_chunk(_CHUNK_BYTES):
        yield bytes(chunk)


async def _collect(chunks: AsyncIterator[bytes], bytes_max: int) -> bytes:
    content = bytearray()
    looked = False
    async for chunk in chunks:
        content += chunk
        _check_size(len(content), bytes_max)
        if not looked and len(content) >= _HEAD_BYTES:
            _check_head(content)
            looked = True
    if not looked:
        _check_head(content)
    return bytes(content)


def _check_size(size: int, bytes_max: int) -> None:
    if size > bytes_max:
        raise Refusal(
            413,
            f"A document may have {bytes_max} bytes at most (REVEILLE_DOCUMENT_BYTES_MAX).",
            bytes_max=bytes_max,
        )


def _check_head(content: bytearray) -> None:
    if not content:
        raise Refusal(422, "The document is empty.")
    if content.find(_MAGIC, 0, _HEAD_BYTES) < 0:
        raise Refusal(422, "This is not a PDF: it does not begin with %PDF-.")


def _name(name: str | None) -> str:
    """The last part of a file name, printable and of bearable length; it is shown, never opened."""
    last = (name or "").replace("\\", "/").rpartition("/")[2]
    return "".join(c for c in last if c.isprintable())[:255].strip() or "document.pdf"
