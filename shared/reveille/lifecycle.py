"""The life that all five services share: start → run → drain → stop.

A service says what is its own (`setup`, `work`, `ready`); this module owns the rest: settings
printed on request, logs, telemetry, the pool, the boot guard, the LISTEN connection, the HTTP
face, signals. The first SIGTERM or SIGINT sets `stopping`: `work` stops taking on new things,
finishes within `drain_seconds`, and returns. The second one ends the process at once.
"""

import asyncio
import os
import signal
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import TypeVar

import structlog
from aiohttp import web

from reveille.database import DATABASE_ERRORS, Pool, connect_pool, is_refusal, retrying
from reveille.errors import ConfigurationError, SchemaMismatch, ServerIdTaken
from reveille.health import HttpServer, health_routes, problems
from reveille.logs import configure_logging, mask_text
from reveille.metrics import Sample
from reveille.migrate import check_schema
from reveille.notifier import Notifier
from reveille.settings import Settings, load, shown
from reveille.telemetry import Telemetry, configure
from reveille.tokens import parse_tokens

log = structlog.get_logger(__name__)

# sysexits.h has 78 for configuration; the others are ours, so that an orchestrator can tell them
# apart.
EXIT_CONFIGURATION = 78
EXIT_SCHEMA = 57
EXIT_SERVER_ID_TAKEN = 58

LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})

S = TypeVar("S", bound=Settings)


class Service:
    """One process. Subclasses set `name` and implement `work`; `setup` adds routes and listeners
    before anything runs.
    """

    name = "service"
    http_body_bytes_max = 1024 * 1024
    http_ends_abandoned = False  # a handler is cancelled when its client hangs up
    plan_once = False  # each statement of the pool has one plan, whatever its values
    lock_seconds_max = 10.0  # how long a statement of the pool waits for a row that others hold

    def __init__(self, settings: Settings, telemetry: Telemetry) -> None:
        self.settings = settings
        self.telemetry = telemetry
        self.tokens = parse_tokens(settings.api_tokens.get_secret_value())
        self.stopping = asyncio.Event()
        self._started = False
        self.notifier = Notifier(
            settings.dsn,
            application_name=f"reveille {self.name}",
            ping_seconds=settings.ping_seconds,
        )
        telemetry.metrics.listener_age.follow(lambda: [Sample(self.notifier.age_seconds, {})])
        self.application = web.Application(
            middlewares=[problems], client_max_size=self.http_body_bytes_max
        )
        self.http = HttpServer(
            self.application,
            host=settings.http_host,
            port=settings.http_port,
            ends_abandoned=self.http_ends_abandoned,
        )
        self.pool: Pool  # set by `run` before `setup`

    async def setup(self) -> None:
        """Add routes to `application` and listeners to `notifier`; the pool is open, nothing runs
        yet.
        """

    async def work(self) -> None:
        """Run until `stopping`, then drain within `drain_seconds` and return."""
        raise NotImplementedError

    async def close(self) -> None:
        """Let go of what `setup` opened; called however `work` ended."""

    async def ready(self) -> Mapping[str, str]:
        """What keeps this service from working, by part."""
        wrong: dict[str, str] = {}
        if not self.notifier.healthy:
            wrong["listener"] = "the LISTEN connection has not heard itself lately"
        try:
            await self.pool.fetchval("SELECT 1", timeout=2)
        except DATABASE_ERRORS as error:
            wrong["database"] = mask_text(f"{type(error).__name__}: {error}")
        return wrong

    def warn_when_open(self) -> None:
        """No token on a loopback address is a laptop; beyond this machine it is a decision."""
        host = self.settings.http_host
        if not self.tokens and host not in LOOPBACK:
            log.warning("open_to_everybody", http_host=host, advice="set REVEILLE_API_TOKENS")

    async def run(self) -> None:
        """The whole life, from the first connection to the last."""
        self._handle_signals()
        try:
            await self._live()
        except DATABASE_ERRORS as error:
            if self._started or not self.stopping.is_set():
                raise
            log.info("stopped_before_the_start", service=self.name, database=str(error))

    async def _live(self) -> None:
        self.pool = await self._open_pool()
        listener: asyncio.Task[None] | None = None
        try:
            await self._check_schema()
            await self.setup()
            self.application.add_routes(health_routes(telemetry=self.telemetry, ready=self.ready))
            await self.http.start()
            listener = asyncio.create_task(self.notifier.run(), name="notifier")
            self._started = True
            log.info("service_started", service=self.name, url=self.http.url)
            await self._work_beside(listener)
        finally:
            if listener is not None:
                listener.cancel()
                with suppress(asyncio.CancelledError):
                    await listener
            await self.http.stop()  # what it still answers may need what `close` takes away
            await self.close()
            with suppress(TimeoutError):
                await asyncio.wait_for(self.pool.close(), timeout=5)
            log.info("service_stopped", service=self.name)

    async def _work_beside(self, listener: asyncio.Task[None]) -> None:
        work = asyncio.create_task(self.work(), name="work")
        await asyncio.wait({work, listener}, return_when=asyncio.FIRST_COMPLETED)
        if not work.done():  # the notifier never returns: it broke in a way it does not know
            work.cancel()
            with suppress(asyncio.CancelledError):
                await work
            await listener
        await work

    async def _open_pool(self) -> Pool:
        try:
            return await retrying(self._connect, stop=self.stopping)
        except DATABASE_ERRORS as error:
            if is_refusal(error):
                raise ConfigurationError(f"the database cannot be used: {error}") from None
            raise

    async def _connect(self) -> Pool:
        return await connect_pool(
            self.settings.dsn,
            application_name=f"reveille {self.name}",
            min_size=1,
            max_size=self.settings.database_pool_max,
            lock_seconds_max=self.lock_seconds_max,
            plan_once=self.plan_once,
        )

    async def _check_schema(self) -> None:
        async def check() -> None:
            async with self.pool.acquire() as connection:
                await check_schema(connection)

        await retrying(check, stop=self.stopping)

    def _handle_signals(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._on_signal, number)

    def _on_signal(self, number: int) -> None:
        if self.stopping.is_set():
            log.warning("stopped_at_once", signal=signal.Signals(number).name)
            os._exit(128 + number)
        log.info("stopping", signal=signal.Signals(number).name)
        self.stopping.set()


def main(name: str, kind: type[S], build: Callable[[S, Telemetry], Service]) -> None:
    """The body of every `__main__`: settings, logs, telemetry, service. Exits with a code that
    says what was wrong.
    """
    try:
        settings = load(kind)
        if "--print-settings" in sys.argv[1:]:
            sys.stdout.write(shown(settings) + "\n")
            return
    except ConfigurationError as error:
        sys.exit(_complain(str(error), EXIT_CONFIGURATION))
    configure_logging(settings.log_level, settings.log_json)
    sys.exit(asyncio.run(_run(name, settings, build)))


async def _run(name: str, settings: S, build: Callable[[S, Telemetry], Service]) -> int:
    telemetry = configure(
        name,
        otlp_endpoint=settings.otlp_endpoint,
        sample_ratio=settings.trace_sample_ratio,
        instance_id=getattr(settings, "server_id", None),
    )
    try:
        await build(settings, telemetry).run()
    except SchemaMismatch as error:
        return _complain(str(error), EXIT_SCHEMA)
    except ServerIdTaken as error:
        return _complain(str(error), EXIT_SERVER_ID_TAKEN)
    except ConfigurationError as error:
        return _complain(str(error), EXIT_CONFIGURATION)
    finally:
        await telemetry.aclose()
    return 0


def _complain(sentence: str, code: int) -> int:
    sys.stderr.write(f"{mask_text(sentence)}\n")
    return code
