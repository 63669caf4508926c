"""The HTTP face that every service has: /livez, /readyz, /metrics, and the middleware that turns
errors into problem+json.

/livez says that the event loop turns; it never fails because of the database, which would only
make an orchestrator restart everything during an outage. /readyz says whether there is a point in
sending work here, and why not.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import structlog
from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from reveille.errors import ReveilleError
from reveille.telemetry import METRICS_CONTENT_TYPE, Telemetry

log = structlog.get_logger(__name__)

Checks = Callable[[], Awaitable[Mapping[str, str]]]
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

PROBLEM_CONTENT_TYPE = "application/problem+json"
HEAD_SECONDS_MAX = 20.0


def _malformed_in_a_line(record: logging.LogRecord) -> bool:
    """Bytes that are no HTTP are their sender's fault: a line, not a traceback with the bytes in it."""
    error = record.exc_info[1] if record.exc_info else None
    if isinstance(error, HttpProcessingError):
        record.msg = "malformed request from %s: %s"
        sender = record.args[0] if isinstance(record.args, tuple) and record.args else "somebody"
        record.args = (sender, type(error).__name__)
        record.levelno, record.levelname = logging.INFO, "INFO"
        record.exc_info = None
    return True


logging.getLogger("aiohttp.server").addFilter(_malformed_in_a_line)


def problem(status: int, title: str, detail: str = "", **extra: Any) -> web.Response:
    """An RFC 9457 answer."""
    body = {"type": "about:blank", "title": title, "status": status, **extra}
    if detail:
        body["detail"] = detail
    return web.json_response(body, status=status, content_type=PROBLEM_CONTENT_TYPE)


@web.middleware
async def problems(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Every error leaves as problem+json; what nobody expected is logged, and told without its
    inside.
    """
    try:
        return await handler(request)
    except web.HTTPException as error:
        if error.status < 400 or error.content_type == PROBLEM_CONTENT_TYPE:
            raise
        answer = problem(error.status, error.reason, error.text or "")
        if allow := error.headers.get("Allow"):
            answer.headers["Allow"] = allow
        return answer
    except asyncio.CancelledError:
        raise
    except ReveilleError as error:
        return problem(500, type(error).__name__, str(error))
    except Exception:
        log.exception("request_failed", method=request.method, path=request.path)
        return problem(500, "Internal Server Error", "The error is in this service's log.")


def health_routes(*, telemetry: Telemetry, ready: Checks) -> list[web.RouteDef]:
    """`ready()` names what is wrong, by part; an empty answer is good news."""

    async def livez(_: web.Request) -> web.Response:
        return web.json_response({"status": "ok"})

    async def readyz(_: web.Request) -> web.Response:
        wrong = dict(await ready())
        return web.json_response(
            {"status": "unavailable" if wrong else "ok", "problems": wrong},
            status=503 if wrong else 200,
        )

    async def metrics(_: web.Request) -> web.Response:
        text = await asyncio.to_thread(telemetry.metrics_text)
        return web.Response(body=text, headers={"Content-Type": METRICS_CONTENT_TYPE})

    return [web.get("/livez", livez), web.get("/readyz", readyz), web.get("/metrics", metrics)]


class HttpServer:
    """An aiohttp application on one address; port 0 takes a free one, `url` says which.

    Request lines and headers have aiohttp's limits (8 kB a line). It waits without end for the
    first request of a connection, so whoever opens many and says little would use up the
    descriptors: a connection without a whole request head after `head_seconds_max` is cut here.
    Later requests on it are under aiohttp's keep-alive limit (75 s). With `ends_abandoned` a
    handler is cancelled when its client hangs up.
    """

    def __init__(
        self,
        application: web.Application,
        *,
        host: str,
        port: int,
        head_seconds_max: float = HEAD_SECONDS_MAX,
        ends_abandoned: bool = False,
    ) -> None:
        application.middlewares.insert(0, self._note_request)
        self._runner = web.AppRunner(
            application,
            access_log=None,
            handle_signals=False,
            shutdown_timeout=5,
            handler_cancellation=ends_abandoned,
        )
        self._host = host
        self._port = port
        self._head_seconds_max = head_seconds_max
        self._server: asyncio.Server | None = None
        self._silent: set[asyncio.Protocol] = set()  # no request yet, and not cut yet

    async def start(self) -> None:
        """Bind and serve. Raises OSError when the port is taken."""
        await self._runner.setup()
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(self._connected, self._host, self._port)
        self._port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Close what is open."""
        if self._server is not None:
            self._server.close()
        await self._runner.cleanup()

    def _connected(self) -> asyncio.Protocol:
        server = self._runner.server
        assert server is not None  # noqa: S101 - `start` has set it up
        connection = server()
        self._silent.add(connection)
        asyncio.get_running_loop().call_later(self._head_seconds_max, self._cut, connection)
        return connection

    def _cut(self, connection: web.RequestHandler) -> None:
        if connection in self._silent:
            self._silent.discard(connection)
            connection.force_close()

    @web.middleware
    async def _note_request(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        self._silent.discard(request.protocol)
        return await handler(request)

    @property
    def url(self) -> str:
        """Where it answers; a wildcard address is shown as loopback."""
        host = "127.0.0.1" if self._host in {"0.0.0.0", "::"} else self._host  # noqa: S104
        return f"http://{host}:{self._port}"
