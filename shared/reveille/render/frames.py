"""What travels between a worker and its render child: a JSON object and, after it, raw bytes.

    4 bytes  length of the JSON, big-endian
    4 bytes  length of the raw bytes
    JSON, raw bytes

JSON and bytes, because the child may be in the hands of a hostile PDF and unpickling would put the
worker there too. Both lengths are bounded before anything is read.
"""

import json
import struct
from typing import TYPE_CHECKING, Any, BinaryIO

if TYPE_CHECKING:
    import asyncio  # 40 ms that the child does not have to spend

HEADER = struct.Struct(">II")
JSON_BYTES_MAX = 8 * 1024 * 1024
RAW_BYTES_MAX = 64 * 1024 * 1024


class FrameError(Exception):
    """The other side sent something that is not a frame."""


def encode(message: dict[str, Any], raw: bytes = b"") -> bytes:
    """The frame of a message."""
    text = json.dumps(message, ensure_ascii=True).encode("ascii")
    return HEADER.pack(len(text), len(raw)) + text + raw


def write(stream: BinaryIO, message: dict[str, Any], raw: bytes = b"") -> None:
    """Send a frame, blocking."""
    stream.write(encode(message, raw))
    stream.flush()


def read(stream: BinaryIO) -> dict[str, Any] | None:
    """The next message without raw bytes, blocking; None at the end of the stream."""
    header = stream.read(HEADER.size)
    if len(header) < HEADER.size:
        return None
    text_bytes, _ = _lengths(header)
    return _message(stream.read(text_bytes))


async def receive(reader: "asyncio.StreamReader") -> tuple[dict[str, Any], bytes]:
    """The next frame. Raises FrameError, and asyncio.IncompleteReadError at the end."""
    text_bytes, raw_bytes = _lengths(await reader.readexactly(HEADER.size))
    message = _message(await reader.readexactly(text_bytes))
    return message, await reader.readexactly(raw_bytes)


def _lengths(header: bytes) -> tuple[int, int]:
    text_bytes, raw_bytes = HEADER.unpack(header)
    if text_bytes > JSON_BYTES_MAX or raw_bytes > RAW_BYTES_MAX:
        raise FrameError(f"a frame of {text_bytes} + {raw_bytes} bytes is too large")
    return text_bytes, raw_bytes


def _message(text: bytes) -> dict[str, Any]:
    try:
        message = json.loads(text)
    except ValueError as error:
        raise FrameError("a frame without JSON") from error
    if not isinstance(message, dict):
        raise FrameError("a frame whose JSON is not an object")
    return message
