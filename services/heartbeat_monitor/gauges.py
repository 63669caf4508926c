"""The gauges of queue, servers, containers and database: read from the rows when somebody scrapes,
never before, so that an idle system stays idle. This service is their only exporter.
"""

import time
from collections.abc import Awaitable, Callable

import structlog
from aiohttp import web
from aiohttp.typedefs import Middleware

from heartbeat_monitor.ledger import Ledger
from reveille.database import DATABASE_ERRORS
from reveille.metrics import Metrics, Sample
from reveille.semconv import (
    LABEL_HOLDER,
    LABEL_PART,
    LABEL_POOL,
    LABEL_PRIORITY,
    LABEL_STATE,
    LABEL_STATUS,
    LABEL_TABLE,
    LABEL_TASK_TYPE,
)

log = structlog.get_logger(__name__)

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

# What a task costs moves slowly, and is read from all tasks of the month.
COSTS_KEEP_SECONDS = 300.0


class Gauges:
    """The tables behind /metrics."""

    def __init__(self, metrics: Metrics, ledger: Ledger) -> None:
        self._metrics = metrics
        self._ledger = ledger
        self._costs_at = float("-inf")  # monotonic

    async def refresh(self) -> None:
        """Read the rows. While the database is away the gauges are absent, not zero and not old."""
        try:
            await self._read_work()
            await self._read_database()
            await self._read_costs()
        except DATABASE_ERRORS as error:
            log.warning("gauges_absent", error=str(error) or type(error).__name__)
            self._clear()

    def _clear(self) -> None:
        metrics = self._metrics
        self._costs_at = float("-inf")
        for gauge in (
            *(metrics.queue_depth, metrics.queue_oldest, metrics.servers, metrics.containers),
            metrics.part_well,
            *(metrics.notify_used, metrics.horizon_age, metrics.horizon_transactions),
            *(metrics.table_dead, metrics.table_live, metrics.table_size, metrics.task_cost),
        ):
            gauge.replace(())

    async def _read_work(self) -> None:
        depths, ages = [], []
        for row in await self._ledger.gauge("queue"):
            labels = {
                LABEL_POOL: row["pool"],
                LABEL_TASK_TYPE: row["task_type"],
                LABEL_PRIORITY: str(row["priority"]),
            }
            depths.append(Sample(row["depth"], labels))
            ages.append(Sample(row["oldest_seconds"], labels))
        self._metrics.queue_depth.replace(depths)
        self._metrics.queue_oldest.replace(ages)
        self._metrics.servers.replace(
            Sample(row["servers"], {LABEL_POOL: row["pool"], LABEL_STATUS: row["status"]})
            for row in await self._ledger.gauge("servers")
        )
        self._metrics.containers.replace(
            Sample(row["containers"], {LABEL_POOL: row["pool"], LABEL_STATE: row["state"]})
            for row in await self._ledger.gauge("containers")
        )

        self._metrics.part_well.replace(
            Sample(float(row["well"]), {LABEL_PART: row["part"]})
            for row in await self._ledger.gauge("uptime")
        )

    async def _read_database(self) -> None:
        metrics = self._metrics
        (health,) = await self._ledger.gauge("health")
        metrics.notify_used.replace([Sample(health["notify_used"], {})])
        metrics.horizon_age.replace([Sample(health["horizon_seconds"], {})])
        metrics.horizon_transactions.replace(
            Sample(health[holder], {LABEL_HOLDER: holder})
            for holder in ("sessions", "replication_slots", "prepared")
        )
        tables = [(row, {LABEL_TABLE: row["name"]}) for row in await self._ledger.gauge("tables")]
        metrics.table_live.replace(Sample(row["live"], labels) for row, labels in tables)
        metrics.table_dead.replace(Sample(row["dead"], labels) for row, labels in tables)
        metrics.table_size.replace(Sample(row["size_bytes"], labels) for row, labels in tables)

    async def _read_costs(self) -> None:
        if time.monotonic() - self._costs_at < COSTS_KEEP_SECONDS:
            return
        self._metrics.task_cost.replace(
            Sample(row["usd"], {LABEL_TASK_TYPE: row["task_type"]})
            for row in await self._ledger.gauge("task_costs")
        )
        self._costs_at = time.monotonic()


def refresh_on_scrape(gauges: Gauges) -> Middleware:
    """Refresh before /metrics is answered."""

    @web.middleware
    async def refreshed(request: web.Request, handler: Handler) -> web.StreamResponse:
        if request.path == "/metrics":
            await gauges.refresh()
        return await handler(request)

    return refreshed
