"""What containers cost in a span of time, per pool and per document, against a server that is
always on. The gateway, the board and the command line read it here.
"""

from datetime import datetime
from typing import Any

from pydantic import BaseModel, ConfigDict

from reveille.database import Connection, Pool
from reveille.sql import statement


class PoolCosts(BaseModel):
    """`idle_seconds` is what was paid for and neither booting nor busy."""

    model_config = ConfigDict(frozen=True)

    pool: str
    containers: int
    billed_seconds: float
    boot_seconds: float
    busy_seconds: float
    idle_seconds: float
    cost_usd: float


class Costs(BaseModel):
    """`always_on_usd` is what the always-on server costs in the same time. Without a document there
    is no cost per document.
    """

    model_config = ConfigDict(frozen=True)

    begins_at: datetime
    ends_at: datetime
    pools: list[PoolCosts]
    cost_usd: float
    documents: int
    cost_per_document_usd: float | None
    always_on_usd: float
    saved_usd: float
    saved_percent: float | None


async def costs_between(
    database: Connection | Pool, begins_at: datetime, ends_at: datetime, always_on_usd: float
) -> Costs:
    """Any span of time. Raises what the driver raises."""
    found = await database.fetch(statement("costs_by_pool"), begins_at, ends_at)
    rows = [dict(row) for row in found]
    documents = await database.fetchval(statement("documents_done"), begins_at, ends_at)
    cost_usd = sum(row["cost_usd"] for row in rows)
    return Costs(
        begins_at=begins_at,
        ends_at=ends_at,
        pools=[PoolCosts(**row, idle_seconds=_idle(row)) for row in rows],
        cost_usd=cost_usd,
        documents=documents,
        cost_per_document_usd=cost_usd / documents if documents else None,
        always_on_usd=always_on_usd,
        saved_usd=always_on_usd - cost_usd,
        saved_percent=100 * (1 - cost_usd / always_on_usd) if always_on_usd else None,
    )


def _idle(row: dict[str, Any]) -> float:
    return float(max(0.0, row["billed_seconds"] - row["boot_seconds"] - row["busy_seconds"]))
