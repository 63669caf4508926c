"""What the containers of a month cost, per pool and per document, against a server that is always
on.
"""

from datetime import UTC, datetime
from typing import Annotated, Any

from pydantic import Field

from queue_gateway.desk import Desk
from queue_gateway.refusal import Refusal
from queue_gateway.route import Call, Route
from queue_gateway.shapes import Body, Params
from reveille.costs import Costs, costs_between


class CostsWanted(Params):
    """A month in UTC; unset: the running one."""

    month: Annotated[str, Field(pattern=r"^\d{4}-\d{2}$", examples=["2026-01"])] | None = None


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
    return await desk.store.ask(
        lambda pool: costs_between(pool, begins_at, ends_at, always_on * share)
    )


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
