"""What containers cost in a span of time: per pool, task type, day and document, against a server
that is always on. The gateway, the board and the command line read it here, so they agree.
"""

from collections.abc import Iterable, Mapping
from datetime import UTC, date, datetime, timedelta
from typing import Any

from pydantic import BaseModel, ConfigDict

from reveille.database import Connection, Pool
from reveille.sql import statement

ALWAYS_ON_USD_PER_MONTH = 800.0  # what the server that Reveille replaces costs


class Spent(BaseModel):
    """What was paid for, and what for: `boot`, until the worker could take tasks; `busy` with
    tasks; `idle`, the rest.
    """

    model_config = ConfigDict(frozen=True)

    billed_seconds: float = 0.0
    boot_seconds: float = 0.0
    busy_seconds: float = 0.0
    idle_seconds: float = 0.0
    cost_usd: float = 0.0
    boot_usd: float = 0.0
    busy_usd: float = 0.0
    idle_usd: float = 0.0


class PoolCosts(Spent):
    """Of a pool's containers."""

    pool: str
    containers: int = 0


class TaskTypeCosts(BaseModel):
    """A task type's share of its containers' busy time; tasks that shared a container share it."""

    model_config = ConfigDict(frozen=True)

    pool: str
    task_type: str
    busy_seconds: float
    cost_usd: float


class DayCosts(Spent):
    """Of a day in UTC."""

    day: date


class Costs(BaseModel):
    """`always_on_usd` is what the always-on server costs from `compared_from` to `ends_at`: not
    before there are records, since nothing was saved then. Without a document there is no cost per
    document.
    """

    model_config = ConfigDict(frozen=True)

    begins_at: datetime
    ends_at: datetime
    compared_from: datetime
    pools: list[PoolCosts]
    task_types: list[TaskTypeCosts]
    days: list[DayCosts]
    cost_usd: float
    documents: int
    cost_per_document_usd: float | None
    always_on_usd: float
    saved_usd: float
    saved_percent: float | None

    @property
    def compared_later(self) -> bool:
        """Whether records begin within the span, or after it."""
        return self.compared_from > self.begins_at


class TaskCost(BaseModel):
    """A task's share of its containers' time, over all its attempts."""

    model_config = ConfigDict(frozen=True)

    task_id: int
    task_type: str
    busy_seconds: float
    cost_usd: float


class DocumentCosts(BaseModel):
    """What a document's tasks have cost so far. Boot and idle time belong to no document."""

    model_config = ConfigDict(frozen=True)

    document_id: int
    tasks: list[TaskCost]
    busy_seconds: float
    cost_usd: float


async def costs_between(
    database: Connection | Pool,
    begins_at: datetime,
    ends_at: datetime,
    always_on_usd: float,
    *,
    compared_from: datetime | None = None,
) -> Costs:
    """Any span of time. `always_on_usd` is the other server's cost from `compared_from` (None: the
    beginning) to the end. Raises what the driver raises.
    """
    found = await database.fetch(statement("costs"), begins_at, ends_at)
    rows: list[Mapping[str, Any]] = [dict(row) for row in found]
    names = await database.fetch("SELECT name FROM pools ORDER BY name")
    documents = await database.fetchval(statement("documents_done"), begins_at, ends_at)
    pools = _pools(rows, (row["name"] for row in names))
    cost_usd = sum(pool.cost_usd for pool in pools)
    return Costs(
        begins_at=begins_at,
        ends_at=ends_at,
        compared_from=compared_from or begins_at,
        pools=pools,
        task_types=[TaskTypeCosts(**{**row, "cost_usd": row["busy_usd"]}) for row in _typed(rows)],
        days=_days(rows, begins_at, ends_at),
        cost_usd=cost_usd,
        documents=documents,
        cost_per_document_usd=cost_usd / documents if documents else None,
        always_on_usd=always_on_usd,
        saved_usd=always_on_usd - cost_usd,
        saved_percent=100 * (1 - cost_usd / always_on_usd) if always_on_usd else None,
    )


async def records_begin(database: Connection | Pool) -> datetime | None:
    """Since when there is anything to count, None on an empty database."""
    found: datetime | None = await database.fetchval(statement("records_from"))
    return found


async def costs_of_month(
    database: Connection | Pool, month: datetime | None, always_on_usd_per_month: float
) -> Costs:
    """The month in UTC that begins at `month`, None: the running one until now."""
    span = await database.fetchrow(statement("month_span"), month)
    begins_at, ends_at = span["begins_at"], max(span["begins_at"], span["ends_at"])
    records_from = await records_begin(database)
    compared_from = min(ends_at, max(begins_at, records_from or ends_at))
    share = (ends_at - compared_from).total_seconds() / span["month_seconds"]
    always_on_usd = always_on_usd_per_month * share
    return await costs_between(
        database, begins_at, ends_at, always_on_usd, compared_from=compared_from
    )


async def costs_of_document(database: Connection | Pool, document_id: int) -> DocumentCosts:
    """Task by task; one that no container of ours worked on is not there."""
    rows = await database.fetch(statement("costs_of_document"), document_id)
    tasks = [TaskCost(**row) for row in rows]
    return DocumentCosts(
        document_id=document_id,
        tasks=tasks,
        busy_seconds=sum(task.busy_seconds for task in tasks),
        cost_usd=sum(task.cost_usd for task in tasks),
    )


def parse_month(month: str) -> datetime:
    """The beginning of `2026-01`. Raises ValueError."""
    return datetime.strptime(month, "%Y-%m").replace(tzinfo=UTC)


# The rows of sql/costs.sql are of three kinds: by pool, by pool and task type, by day.


def _pools(rows: Iterable[Mapping[str, Any]], names: Iterable[str]) -> list[PoolCosts]:
    """All there are; one without a container cost nothing."""
    found = {r["pool"]: PoolCosts(**r) for r in rows if r["pool"] and r["task_type"] is None}
    return [found.get(name) or PoolCosts(pool=name) for name in sorted({*names, *found})]


def _typed(rows: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The empty task type is that of what was not busy."""
    return [row for row in rows if row["task_type"]]


def _days(
    rows: Iterable[Mapping[str, Any]], begins_at: datetime, ends_at: datetime
) -> list[DayCosts]:
    """Every day of the span."""
    found = {row["day"]: DayCosts(**row) for row in rows if row["day"] is not None}
    day, last = begins_at.astimezone(UTC).date(), ends_at.astimezone(UTC)
    days = []
    while datetime(day.year, day.month, day.day, tzinfo=UTC) < last:
        days.append(found.get(day) or DayCosts(day=day))
        day += timedelta(days=1)
    return days
