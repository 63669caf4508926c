"""The gauges of queue, servers and containers: read from the rows when somebody scrapes, never
before, so that an idle system stays idle. This service is their only exporter.
"""

from collections import defaultdict
from collections.abc import Awaitable, Callable

import structlog
from aiohttp import web
from aiohttp.typedefs import Middleware

from heartbeat_monitor.ledger import Ledger
from reveille.database import DATABASE_ERRORS
from reveille.metrics import Metrics, Sample
from reveille.semconv import LABEL_POOL, LABEL_PRIORITY, LABEL_STATE, LABEL_STATUS, LABEL_TASK_TYPE

log = structlog.get_logger(__name__)

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Gauges:
    """The tables behind /metrics."""

    def __init__(self, metrics: Metrics, ledger: Ledger) -> None:
        self._metrics = metrics
        self._ledger = ledger

    async def refresh(self) -> None:
        """Read the rows. While the database is away the gauges are absent, not zero and not old."""
        try:
            await self._read()
        except DATABASE_ERRORS as error:
            log.warning("gauges_absent", error=str(error) or type(error).__name__)
            metrics = self._metrics
            for gauge in (
                metrics.queue_depth,
                metrics.queue_oldest,
                metrics.servers,
                metrics.containers,
            ):
                gauge.replace(())

    async def _read(self) -> None:
        oldest: dict[str, float] = defaultdict(float)
        depths = []
        for row in await self._ledger.gauge("queue"):
            labels = {
                LABEL_POOL: row["pool"],
                LABEL_TASK_TYPE: row["task_type"],
                LABEL_PRIORITY: str(row["priority"]),
            }
            depths.append(Sample(row["depth"], labels))
            oldest[row["pool"]] = max(oldest[row["pool"]], row["oldest_seconds"])
        self._metrics.queue_depth.replace(depths)
        self._metrics.queue_oldest.replace(
            Sample(age, {LABEL_POOL: pool}) for pool, age in oldest.items()
        )
        self._metrics.servers.replace(
            Sample(row["servers"], {LABEL_POOL: row["pool"], LABEL_STATUS: row["status"]})
            for row in await self._ledger.gauge("servers")
        )
        self._metrics.containers.replace(
            Sample(row["containers"], {LABEL_POOL: row["pool"], LABEL_STATE: row["state"]})
            for row in await self._ledger.gauge("containers")
        )


def refresh_on_scrape(gauges: Gauges) -> Middleware:
    """Refresh before /metrics is answered."""

    @web.middleware
    async def refreshed(request: web.Request, handler: Handler) -> web.StreamResponse:
        if request.path == "/metrics":
            await gauges.refresh()
        return await handler(request)

    return refreshed
