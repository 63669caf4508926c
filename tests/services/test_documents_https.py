"""Documents over https, from a real TLS server on this machine."""

import shutil
import ssl
import subprocess
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer, unused_port

from reveille import testing_pdfs
from reveille.documents import DocumentLimits, Documents
from reveille.errors import TaskRejected, TaskRetry

DECK = testing_pdfs.deck("Fetched")


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A key and a self-signed certificate for localhost, in one file."""
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("needs the openssl program to make a certificate")
    folder = tmp_path_factory.mktemp("tls")
    subprocess.run(
        (
            *(openssl, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"),
            *("-nodes", "-keyout", "key.pem", "-out", "certificate.pem", "-days", "2"),
            *("-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"),
        ),
        cwd=folder,
        check=True,
        capture_output=True,
    )
    both = folder / "both.pem"
    both.write_bytes((folder / "key.pem").read_bytes() + (folder / "certificate.pem").read_bytes())
    return both


class Host:
    """An https server that answers as the test says."""

    def __init__(self, certificate: Path) -> None:
        self.requests: list[web.Request] = []
        self.answer: Callable[[web.Request], Any] = lambda _: web.Response(body=DECK)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        app = web.Application()
        app.router.add_route("GET", "/{path:.*}", self._handle)
        self.server = TestServer(app, host="localhost", scheme="https")
        self._server_context = context
        self.trust = ssl.create_default_context(cafile=certificate)

    async def start(self) -> None:
        """Listen on a free port."""
        await self.server.start_server(ssl=self._server_context)

    @property
    def name(self) -> str:
        """host:port, as an operator would list it."""
        return f"localhost:{self.server.port}"

    def url(self, path: str = "deck.pdf") -> str:
        """The address of a path here."""
        return f"https://{self.name}/{path}"

    def documents(self, *, allow_private: bool = True, **limits: Any) -> Documents:
        """Documents that may be fetched from here."""

        async def no_content(_: int) -> None:
            return None

        return Documents(
            root=None,
            https_hosts=[self.name],
            allow_private_hosts=allow_private,
            ssl_context=self.trust,
            limits=DocumentLimits(**limits),
            load_content=no_content,
        )

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        self.requests.append(request)
        answer = self.answer(request)
        return await answer if hasattr(answer, "__await__") else answer  # type: ignore[no-any-return]


@pytest.fixture
async def host(certificate: Path) -> AsyncIterator[Host]:
    """A running server."""
    host = Host(certificate)
    await host.start()
    yield host
    await host.server.close()


async def test_listed_host_is_fetched(host: Host) -> None:
    """The ordinary case: a signed URL of the decks' host."""
    async with await host.documents().open(1, host.url("deck.pdf?signature=s3cret")) as document:
        assert (await document.page_texts())[0].text == "Fetched"
    assert host.requests[0].query_string == "signature=s3cret"


async def test_listed_host_with_a_private_address_is_refused(host: Host) -> None:
    """A name that leads into the own network is refused before a byte is sent."""
    with pytest.raises(TaskRejected, match="not public") as caught:
        await host.documents(allow_private=False).open(1, host.url())

    assert caught.value.reason == "path_refused"
    assert host.requests == []


@pytest.mark.parametrize(
    "location",
    [
        "https://127.0.0.1:{port}/deck.pdf",
        "https://localhost/deck.pdf",
        "http://localhost:{port}/deck.pdf",
        "//169.254.169.254/latest/meta-data",
        "file:///etc/passwd",
        "https://user:password@localhost:{port}/deck.pdf",
    ],
)
async def test_redirect_to_an_unlisted_place_is_refused(host: Host, location: str) -> None:
    """A listed host cannot send the worker elsewhere: other name, port, scheme, or user."""
    target = location.format(port=host.server.port)
    host.answer = lambda _: web.Response(status=302, headers={"Location": target})
    with pytest.raises(TaskRejected) as caught:
        await host.documents().open(1, host.url())

    assert caught.value.reason == "path_refused"
    assert len(host.requests) == 1


async def test_redirect_on_the_same_host_is_followed(host: Host) -> None:
    """Short links of the decks' own host work."""
    host.answer = lambda request: (
        web.Response(body=DECK)
        if request.path == "/real.pdf"
        else web.Response(status=307, headers={"Location": "/real.pdf"})
    )
    async with await host.documents().open(1, host.url()) as document:
        assert document.page_count == 1


async def test_redirect_loop_ends(host: Host) -> None:
    """A host that redirects for ever is given up."""
    host.answer = lambda _: web.Response(status=302, headers={"Location": "/again"})
    with pytest.raises(TaskRejected) as caught:
        await host.documents().open(1, host.url())

    assert caught.value.reason == "document_unreadable"
    assert len(host.requests) == 6


@pytest.mark.parametrize(
    ("status", "kind", "reason"),
    [
        (404, TaskRejected, "document_missing"),
        (410, TaskRejected, "document_missing"),
        (403, TaskRejected, "document_unreadable"),
        (204, TaskRejected, "document_unreadable"),
        (429, TaskRetry, "document_unreachable"),
        (503, TaskRetry, "document_unreachable"),
    ],
)
async def test_status_decides_between_reject_and_retry(
    host: Host, status: int, kind: type[TaskRejected | TaskRetry], reason: str
) -> None:
    """What may pass is tried again; and the signature in the URL stays out of the message."""
    host.answer = lambda _: web.Response(status=status)
    with pytest.raises(kind) as caught:
        await host.documents().open(1, host.url("deck.pdf?signature=s3cret"))

    assert caught.value.reason == reason
    assert str(status) in caught.value.error
    assert "s3cret" not in caught.value.error


async def test_server_that_says_when_is_obeyed(host: Host) -> None:
    """Retry-After becomes the task's own delay."""
    host.answer = lambda _: web.Response(status=503, headers={"Retry-After": "17"})
    with pytest.raises(TaskRetry) as caught:
        await host.documents().open(1, host.url())

    assert caught.value.after_seconds == 17


async def test_announced_size_over_the_limit_is_rejected_early(host: Host) -> None:
    """A Content-Length over the limit costs no download."""
    with pytest.raises(TaskRejected) as caught:
        await host.documents(bytes_max=100).open(1, host.url())

    assert caught.value.reason == "over_limit"
    assert str(len(DECK)) in caught.value.error


async def test_endless_body_is_cut_at_the_limit(host: Host) -> None:
    """Without a Content-Length the bytes are counted, and the connection is dropped."""

    async def endless(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        while True:
            await response.write(bytes(65_536))

    host.answer = endless
    with pytest.raises(TaskRejected) as caught:
        await host.documents(bytes_max=1_000_000).open(1, host.url())

    assert caught.value.reason == "over_limit"


async def test_body_shorter_than_announced_is_retried(host: Host) -> None:
    """A connection that breaks off is the network's fault, not a damaged PDF."""

    async def broken(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Length": str(len(DECK))})
        await response.prepare(request)
        await response.write(DECK[:100])
        assert request.transport is not None
        request.transport.abort()
        return response

    host.answer = broken
    with pytest.raises(TaskRetry) as caught:
        await host.documents().open(1, host.url())

    assert caught.value.reason == "document_unreachable"


async def test_trickling_server_is_retried_after_the_time_limit(host: Host) -> None:
    """A host that sends a byte now and then for ever ends at fetch_seconds_max."""

    async def trickle(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(DECK[:10])
        while request.transport is not None and not request.transport.is_closing():
            await response.write(b" ")
            await response.drain()
        return response

    host.answer = trickle
    with pytest.raises(TaskRetry) as caught:
        await host.documents(fetch_seconds_max=0.3).open(1, host.url())

    assert caught.value.reason == "document_unreachable"


async def test_unreachable_host_is_retried(host: Host) -> None:
    """Nobody listens: another attempt may find somebody."""
    port = unused_port()
    source = Documents(
        root=None,
        https_hosts=[f"localhost:{port}"],
        allow_private_hosts=True,
        limits=DocumentLimits(),
        load_content=lambda _: None,  # type: ignore[arg-type,return-value]
    )
    with pytest.raises(TaskRetry) as caught:
        await source.open(1, f"https://localhost:{port}/deck.pdf")

    assert caught.value.reason == "document_unreachable"


async def test_certificate_nobody_vouches_for_is_not_accepted(host: Host) -> None:
    """Without the authority's certificate the connection fails, and no deck is sent for."""
    source = Documents(
        root=None,
        https_hosts=[host.name],
        allow_private_hosts=True,
        limits=DocumentLimits(),
        load_content=lambda _: None,  # type: ignore[arg-type,return-value]
    )
    with pytest.raises(TaskRetry) as caught:
        await source.open(1, host.url())

    assert caught.value.reason == "document_unreachable"
    assert host.requests == []
