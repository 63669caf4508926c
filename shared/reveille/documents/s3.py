"""`s3://bucket/key`, with the optional extra: `pip install 'reveille[s3]'`.

Credentials, region and endpoint come from the usual AWS environment. Which buckets can be read is
decided there: give the workers a role that reads the decks' bucket and nothing else.
"""

import asyncio
from collections.abc import AsyncGenerator
from importlib import import_module
from typing import Any, BinaryIO
from urllib.parse import urlsplit

from reveille.documents.spool import CHUNK_BYTES, spool
from reveille.errors import TaskRejected, TaskRetry
from reveille.render.limits import DocumentLimits

CONNECT_SECONDS_MAX = 10
SILENCE_SECONDS_MAX = 30
MISSING = frozenset({"NoSuchKey", "NoSuchBucket", "404"})
FORBIDDEN = frozenset({"AccessDenied", "InvalidAccessKeyId", "SignatureDoesNotMatch", "403"})


async def fetch(file_path: str, limits: DocumentLimits) -> BinaryIO:
    """The object as an unnamed temporary file. Raises TaskRejected and TaskRetry."""
    bucket, key = _names(file_path)
    session_module, errors, config = _libraries()
    settings = config.AioConfig(
        connect_timeout=CONNECT_SECONDS_MAX,
        read_timeout=SILENCE_SECONDS_MAX,
        retries={"total_max_attempts": 1},  # the queue retries
    )
    try:
        async with (
            asyncio.timeout(limits.fetch_seconds_max),
            session_module.get_session().create_client("s3", config=settings) as client,
        ):
            reply = await client.get_object(Bucket=bucket, Key=key)
            return await spool(_chunks(reply["Body"]), limits)
    except errors.ClientError as error:
        raise _as_task_error(error, file_path) from None
    except (errors.NoCredentialsError, errors.NoRegionError) as error:
        raise TaskRejected("document_unreadable", f"{file_path}: {error}") from None
    except (errors.BotoCoreError, TimeoutError, OSError) as error:
        kind = type(error).__name__
        raise TaskRetry("document_unreachable", f"{file_path} cannot be reached ({kind})") from None


def _names(file_path: str) -> tuple[str, str]:
    parts = urlsplit(file_path, allow_fragments=False)
    key = parts.path.removeprefix("/") + (f"?{parts.query}" if parts.query else "")
    if not parts.netloc or not key or "@" in parts.netloc:
        raise TaskRejected("path_refused", f"{file_path!r} is not s3://bucket/key")
    return parts.netloc, key


def _libraries() -> tuple[Any, Any, Any]:
    try:
        return (
            import_module("aiobotocore.session"),
            import_module("botocore.exceptions"),
            import_module("aiobotocore.config"),
        )
    except ModuleNotFoundError:
        raise TaskRejected(
            "document_unreadable",
            "s3:// needs an extra on the worker: pip install 'reveille[s3]'",
        ) from None


async def _chunks(body: Any) -> AsyncGenerator[bytes, None]:
    while chunk := await body.read(CHUNK_BYTES):
        yield chunk


def _as_task_error(error: Any, file_path: str) -> TaskRejected | TaskRetry:
    code = str(error.response.get("Error", {}).get("Code", ""))
    if code in MISSING:
        return TaskRejected("document_missing", f"{file_path}: {code}")
    if code in FORBIDDEN:
        return TaskRejected("document_unreadable", f"{file_path}: {code}")
    return TaskRetry("document_unreachable", f"{file_path}: {code or 'no error code'}")
