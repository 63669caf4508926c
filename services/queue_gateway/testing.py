"""A gateway in the process of a test, over real HTTP and a real database."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import ClientResponse, ClientSession

from queue_gateway.config import GatewaySettings
from queue_gateway.service import Gateway
from reveille.telemetry import configure


class RunningGateway:
    """The service and a client of it. `bearer` is sent with each request, unless it is None."""

    def __init__(self, service: Gateway, session: ClientSession, bearer: str | None) -> None:
        self.service = service
        self.session = session
        self.bearer = bearer

    @property
    def url(self) -> str:
        """Where it answers."""
        return self.service.http.url

    async def ask(
        self, method: str, path: str, status: int = 200, **options: Any
    ) -> dict[str, Any]:
        """One request; its JSON. Raises AssertionError for any other status than the one given."""
        async with self.session.request(method, self.url + path, **self._with(options)) as answer:
            return await _checked(answer, status)

    async def get(self, path: str, status: int = 200, **options: Any) -> dict[str, Any]:
        """GET."""
        return await self.ask("GET", path, status, **options)

    async def post(
        self, path: str, body: Any = None, status: int = 200, **options: Any
    ) -> dict[str, Any]:
        """POST with a JSON body, empty when there is none."""
        return await self.ask("POST", path, status, json=body or {}, **options)

    @asynccontextmanager
    async def events(self, path: str, **options: Any) -> AsyncIterator["Events"]:
        """An event stream."""
        async with self.session.get(self.url + path, **self._with(options)) as answer:
            yield Events(answer)

    def _with(self, options: dict[str, Any]) -> dict[str, Any]:
        headers = dict(options.pop("headers", {}))
        if self.bearer is not None:
            headers.setdefault("Authorization", f"Bearer {self.bearer}")
        return {"headers": headers, **options}


class Events:
    """Events as they arrive. A comment is an event named `comment`."""

    def __init__(self, answer: ClientResponse) -> None:
        self.answer = answer

    async def next(self, within_seconds: float = 10.0) -> dict[str, str]:
        """The fields of the next event; an empty dict when the stream has ended."""
        fields: dict[str, str] = {}
        async with asyncio.timeout(within_seconds):
            async for line in self.answer.content:
                text = line.decode().rstrip("\n")
                if not text:
                    return fields
                name, _, value = text.partition(": ")
                fields[name or "comment"] = value or text
        return fields


async def _checked(answer: ClientResponse, status: int) -> dict[str, Any]:
    text = await answer.text()
    if answer.status != status:
        raise AssertionError(f"{answer.url} answered {answer.status}, not {status}: {text}")
    found: dict[str, Any] = await answer.json(content_type=None)
    return found


@asynccontextmanager
async def running_gateway(
    dsn: str, *, bearer: str | None = None, **settings: Any
) -> AsyncIterator[RunningGateway]:
    """A gateway on a free port, stopped as by SIGTERM afterwards."""
    telemetry = configure("queue_gateway", otlp_endpoint=settings.get("otlp_endpoint"))
    values = {"http_port": 0, "database_url": dsn, **settings}
    service = Gateway(GatewaySettings.model_validate(values), telemetry)
    running = asyncio.create_task(service.run(), name="gateway")
    listening = asyncio.create_task(service.notifier.ready.wait(), name="listening")
    await asyncio.wait({running, listening}, return_when=asyncio.FIRST_COMPLETED)
    listening.cancel()
    try:
        async with ClientSession() as session:
            if not running.done():
                yield RunningGateway(service, session, bearer)
    finally:
        service.stopping.set()
        await running
        await telemetry.aclose()
