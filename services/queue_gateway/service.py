"""The gateway as a process: its parts put together, and its life."""

import asyncio
from contextlib import suppress

import structlog
from aiohttp import web

from queue_gateway.access import Access, RateLimit
from queue_gateway.board.pictures import Pictures
from queue_gateway.board.site import add_board
from queue_gateway.changes import Changes
from queue_gateway.config import GatewaySettings
from queue_gateway.desk import Desk
from queue_gateway.doorbell import Doorbell
from queue_gateway.headers import add_headers
from queue_gateway.openapi import openapi
from queue_gateway.route import bind
from queue_gateway.routes import ROUTES
from queue_gateway.store import Store
from queue_gateway.waiting import Seats
from reveille.channels import Channel
from reveille.documents import Documents
from reveille.lifecycle import Service
from reveille.notifier import SecondLooks
from reveille.settings import DocumentSettings, load
from reveille.store import Store as TaskStore
from reveille.telemetry import Telemetry
from reveille.uptime import UptimeKeeper

log = structlog.get_logger(__name__)


class Gateway(Service):
    """Serves HTTP; its work is to pass on changes to those who watch."""

    name = "queue-gateway"
    settings: GatewaySettings

    def __init__(self, settings: GatewaySettings, telemetry: Telemetry) -> None:
        super().__init__(settings, telemetry)
        self.settings = settings
        limit = RateLimit(settings.requests_per_second_max, settings.requests_burst_max)
        self._access = Access(self.tokens, limit)
        self.desk: Desk  # set by `setup`
        self._pictures: Pictures | None = None

    async def setup(self) -> None:
        """Lay out the desk, hang up the bell, add the routes."""
        self.desk = await self._desk()
        self.notifier.on(Channel.TASK_CHANGED, self.desk.changes.on_task_changed)
        self.notifier.on(Channel.TASK_READY, self.desk.doorbell.ring)
        self.notifier.on_connect(self._on_connect)
        self.uptime = UptimeKeeper(self.pool, {"gateway": self._is_well})
        self.notifier.on_connect(self.uptime.interrupt)
        for route in ROUTES:
            self.application.router.add_route(route.method, route.path, bind(route, self.desk))
        document = openapi(ROUTES)

        async def show_openapi(_: web.Request) -> web.Response:
            return web.json_response(document)

        self.application.router.add_get("/openapi.json", show_openapi)
        documents = Documents.configured(load(DocumentSettings), TaskStore(self.pool).load_document)
        self._pictures = Pictures(documents)
        add_board(self.application, self.desk, self._pictures, document)
        self.application.on_response_prepare.append(add_headers)
        self.warn_when_open()

    async def close(self) -> None:
        """End the render children."""
        if self._pictures is not None:
            await self._pictures.aclose()

    async def work(self) -> None:
        """Pass on changes until told to stop; open streams and waiting requests then end by
        themselves.
        """
        passing = asyncio.create_task(self.desk.changes.run(), name="changes")
        keeping = asyncio.create_task(self.uptime.keep(self.stopping), name="uptime")
        stopping = asyncio.create_task(self.stopping.wait(), name="stopping")
        await asyncio.wait({passing, stopping, keeping}, return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        if not passing.done():
            passing.cancel()
        with suppress(asyncio.CancelledError):
            await passing
        await keeping

    async def _is_well(self) -> bool:
        return not await self.ready()

    async def _desk(self) -> Desk:
        settings = self.settings
        store = Store(self.pool)
        tasks = TaskStore(self.pool)
        return Desk(
            settings=settings,
            store=store,
            access=self._access,
            telemetry=self.telemetry,
            changes=Changes(store, self.notifier, reread_seconds=settings.reread_seconds),
            doorbell=Doorbell(),
            looks=SecondLooks(tasks.look_horizon, tasks.look_settled),
            stopping=self.stopping,
            seats=Seats(settings.streams_max),
            transfers=asyncio.Semaphore(settings.uploads_max),
            ready=self.ready,
            documents_are_ours=bool(await store.value("documents_are_ours")),
        )

    async def _on_connect(self) -> None:
        await self.desk.changes.on_connect()
        self.desk.doorbell.ring()
