"""Bytes on their way into an unnamed temporary file, counted as they come."""

import asyncio
import tempfile
from collections.abc import AsyncIterable
from typing import BinaryIO

from reveille.errors import TaskRejected
from reveille.render.limits import DocumentLimits, over_limit

CHUNK_BYTES = 256 * 1024


async def spool(chunks: AsyncIterable[bytes], limits: DocumentLimits) -> BinaryIO:
    """The chunks as a file, which is gone when closed. Raises TaskRejected over bytes_max."""
    file = tempfile.TemporaryFile()  # noqa: SIM115 - the caller closes it
    received = 0
    try:
        async for chunk in chunks:
            received += len(chunk)
            check_size(received, limits, more_to_come=True)
            await asyncio.to_thread(file.write, chunk)
        file.flush()
    except BaseException:
        file.close()
        raise
    return file


def check_size(size_bytes: int, limits: DocumentLimits, *, more_to_come: bool = False) -> None:
    """Raise TaskRejected when that is more than a document may have."""
    if size_bytes > limits.bytes_max:
        raise _too_large(size_bytes, limits, more_to_come=more_to_come)


def _too_large(size_bytes: int, limits: DocumentLimits, *, more_to_come: bool) -> TaskRejected:
    actual = f"at least {size_bytes}" if more_to_come else size_bytes
    return over_limit("bytes_max", maximum=limits.bytes_max, actual=actual, unit="bytes")
