"""The stand-in behind HTTP: routes and their errors, which hosts it answers, start and stop."""

import contextlib
import ipaddress
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

from aiohttp import web

from model_stub import admin, completion, listing, openai, rules
from model_stub.config import StubSettings
from model_stub.engine import ENGINE, Answerer, Engine, error_reply
from model_stub.faults import FaultBook
from model_stub.ledger import Ledger
from model_stub.protocol import ProtocolError

SERVER_HEADER = "rules-stub"
BODY_BYTES_MAX = 256 * 1024 * 1024
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Stub:
    """One stand-in server. `faults` breaks it, `requests` says what it was asked."""

    def __init__(self, settings: StubSettings, answerer: Answerer = rules.answer) -> None:
        self.settings = settings
        self.engine = Engine(settings, answerer)
        self._runner: web.AppRunner | None = None
        self._port = settings.port

    @property
    def url(self) -> str:
        """Where it listens, once started."""
        host = self.settings.host
        return f"http://{f'[{host}]' if ':' in host else host}:{self._port}"

    @property
    def faults(self) -> FaultBook:
        """The faults that wait for their request."""
        return self.engine.faults

    @property
    def requests(self) -> Ledger:
        """What was asked, and how it ended."""
        return self.engine.requests

    async def start(self) -> None:
        """Listen. Raises OSError when the port is taken."""
        # Without handler_cancellation a client that leaves would keep its slot to the end.
        self._runner = web.AppRunner(
            application(self.engine),
            handler_cancellation=True,
            access_log=None,
            shutdown_timeout=0.5,
        )
        await self._runner.setup()
        site = web.TCPSite(self._runner, self.settings.host, self._port)
        await site.start()
        self._port = self._runner.addresses[0][1]

    async def stop(self) -> None:
        """Cut what is running and close. May be started again, on the same port."""
        if self._runner is not None:
            await self._runner.cleanup()


@contextlib.asynccontextmanager
async def running_stub(
    *, answerer: Answerer = rules.answer, **settings: Any
) -> AsyncIterator[Stub]:
    """A stand-in on a free port for the length of the block. Settings are those of config.py."""
    stub = Stub(StubSettings(**{"port": 0, **settings}), answerer)
    await stub.start()
    try:
        yield stub
    finally:
        await stub.stop()


def application(engine: Engine) -> web.Application:
    """The routes over one engine."""
    app = web.Application(middlewares=[_in_ollamas_words], client_max_size=BODY_BYTES_MAX)
    app[ENGINE] = engine
    app.on_response_prepare.append(_sign)
    app.add_routes(
        [
            web.get("/", listing.root),
            web.get("/api/version", listing.version),
            web.get("/api/tags", listing.tags),
            web.get("/api/ps", listing.processes),
            web.post("/api/show", listing.show),
            web.post("/api/copy", listing.copy),
            web.delete("/api/delete", listing.delete),
            web.post("/api/pull", listing.pull),
            web.post("/api/embed", listing.embed),
            web.post("/api/embeddings", listing.embeddings),
            web.post("/api/chat", completion.chat),
            web.post("/api/generate", completion.generate),
            web.post("/v1/chat/completions", openai.chat_completions),
            web.get("/_stub/faults", admin.list_faults),
            web.post("/_stub/faults", admin.add_faults),
            web.delete("/_stub/faults", admin.clear_faults),
            web.get("/_stub/requests", admin.requests),
            web.post("/_stub/clock", admin.advance_clock),
        ]
    )
    return app


async def _sign(_: web.Request, response: web.StreamResponse) -> None:
    """Every reply says who made it."""
    response.headers["Server"] = SERVER_HEADER


@web.middleware
async def _in_ollamas_words(request: web.Request, handler: Handler) -> web.StreamResponse:
    if not _is_allowed_host(request):
        return web.Response(status=403)
    try:
        return await handler(request)
    except ProtocolError as error:
        return error_reply(error)
    except web.HTTPNotFound:
        return _plain(404, "404 page not found")
    except web.HTTPMethodNotAllowed:
        return _plain(405, "405 method not allowed")


def _plain(status: int, text: str) -> web.Response:
    return web.Response(body=text.encode(), status=status, headers={"Content-Type": "text/plain"})


def _is_allowed_host(request: web.Request) -> bool:
    """A server bound to loopback answers only to local names, against DNS rebinding."""
    if not _is_loopback(request.app[ENGINE].settings.host):
        return True
    host = request.host.rpartition(":")[0] if request.host.count(":") == 1 else request.host
    host = host.partition("]")[0].removeprefix("[").lower()
    if host in {"", "localhost", socket.gethostname().lower()}:
        return True
    if host.endswith((".localhost", ".local", ".internal")):
        return True
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    return address.is_loopback or address.is_private


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
