"""s3:// against a small server that speaks enough of S3's GET."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from reveille import testing_pdfs
from reveille.documents import DocumentLimits, Documents, s3
from reveille.errors import TaskRejected, TaskRetry

DECK = testing_pdfs.deck("From a bucket")


async def no_content(_: int) -> bytes | None:
    """An empty documents table."""
    return None


def documents(**limits: Any) -> Documents:
    """Documents with nothing but s3."""
    return Documents(root=None, limits=DocumentLimits(**limits), load_content=no_content)


async def answer(request: web.Request) -> web.Response:
    """The object, or the error that its name asks for."""
    codes = {"missing.pdf": (404, "NoSuchKey"), "secret.pdf": (403, "AccessDenied")}
    codes["busy.pdf"] = (503, "SlowDown")
    key = request.path.rpartition("/")[2]
    if key not in codes:
        assert request.path == "/decks/a folder/deck.pdf"
        return web.Response(body=DECK)
    status, code = codes[key]
    body = f"<Error><Code>{code}</Code><Message>no</Message></Error>"
    return web.Response(status=status, text=body, content_type="application/xml")


@pytest.fixture
async def bucket(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[None]:
    """A running stand-in, and an environment that names it."""
    pytest.importorskip("aiobotocore", reason="needs the extra: pip install 'reveille[s3]'")
    app = web.Application()
    app.router.add_get("/{path:.*}", answer)
    async with TestServer(app) as server:
        monkeypatch.setenv("AWS_ENDPOINT_URL", str(server.make_url("")))
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
        monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-central-1")
        monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
        yield


@pytest.mark.usefixtures("bucket")
async def test_object_opens() -> None:
    """A key with a folder and a space in it."""
    async with await documents().open(1, "s3://decks/a folder/deck.pdf") as document:
        assert (await document.page_texts())[0].text == "From a bucket"


@pytest.mark.usefixtures("bucket")
@pytest.mark.parametrize(
    ("key", "kind", "reason"),
    [
        ("missing.pdf", TaskRejected, "document_missing"),
        ("secret.pdf", TaskRejected, "document_unreadable"),
        ("busy.pdf", TaskRetry, "document_unreachable"),
    ],
)
async def test_error_code_decides_between_reject_and_retry(
    key: str, kind: type[TaskRejected | TaskRetry], reason: str
) -> None:
    """Missing and forbidden objects stay so; a busy service may answer later."""
    with pytest.raises(kind) as caught:
        await documents().open(1, f"s3://decks/{key}")

    assert caught.value.reason == reason


@pytest.mark.usefixtures("bucket")
async def test_large_object_is_rejected_naming_the_limit() -> None:
    """The bytes are counted while they come."""
    with pytest.raises(TaskRejected, match="bytes_max"):
        await documents(bytes_max=100).open(1, "s3://decks/a folder/deck.pdf")


async def test_missing_extra_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the extra the task fails with the command that helps."""

    def absent(name: str) -> None:
        raise ModuleNotFoundError(name)

    monkeypatch.setattr(s3, "import_module", absent)
    with pytest.raises(TaskRejected, match=r"pip install 'reveille\[s3\]'"):
        await documents().open(1, "s3://decks/deck.pdf")
