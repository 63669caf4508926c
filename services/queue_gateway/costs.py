"""What the containers of a month cost, per pool and per document, against a server that is always
on.
"""

from datetime import UTC, datetime
from typing import Annotated, Any

from pydantic import Field

from queue_gateway.desk import Desk
from queue_gateway.refusal import Refusal
from queue_gateway.route import Call, Route
from queue_gateway.shapes import Answer, Body, Params


class CostsWanted(Params):
    """A month in UTC; unset: the running one."""

    month: Annotated[str, Field(pattern=r"^\d{4}-\d{2}$", examples=["2026-01"])] | None = None


class PoolCosts(Answer):
    """`idle_seconds` is what was paid for and neither booting nor busy."""

    pool: str
    containers: int
    billed_seconds: float
    boot_seconds: float
    busy_seconds: float
    idle_seconds: float
    cost_usd: float


class Costs(Answer):
    """`always_on_usd` is what the always-on server costs in the same time. Without a document there
    is no cost per document.
    """

    begins_at: datetime
    ends_at: datetime
    pools: list[PoolCosts]
    cost_usd: float
    documents: int
    cost_per_document_usd: float | None
    always_on_usd: float
    saved_usd: float
    saved_percent: float | None


async def show(call: Call[CostsWanted, Body]) -> Costs:
    """The ledger of a month."""
    return await costs_of_month(call.desk, call.params.month)


async def costs_of_month(desk: Desk, month: str | None = None) -> Costs:
    """Raises Refusal 422 for a month that does not exist."""
    span = await desk.store.row("month_span", _begin(month))
    assert span is not None  # noqa: S101 - one row always
    begins_at, ends_at = span["begins_at"], max(span["begins_at"], span["ends_at"])
    always_on = desk.settings.always_on_usd_per_month
    share = (ends_at - begins_at).total_seconds() / span["month_seconds"]
    return await costs_between(desk, begins_at, ends_at, always_on * share)


async def costs_between(
    desk: Desk, begins_at: datetime, ends_at: datetime, always_on_usd: float
) -> Costs:
    """Any span of time."""
    rows = await desk.store.rows("costs_by_pool", begins_at, ends_at)
    documents = await desk.store.value("documents_done", begins_at, ends_at)
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


def _begin(month: str | None) -> datetime | None:
    if month is None:
        return None
    try:
        return datetime.strptime(month, "%Y-%m").replace(tzinfo=UTC)
    except ValueError:
        raise Refusal(422, f"{month} is not a month.") from None


ROUTES: tuple[Route[Any, Any], ...] = (
    Route(
        method="GET",
        path="/api/costs",
        tag="costs",
        summary="What a month's containers cost, per pool and document, against an always-on server",
        scope="read",
        handler=show,
        params=CostsWanted,
        body=Body,
        answer=Costs,
    ),
)
