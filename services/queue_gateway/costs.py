"""What the containers of a month cost, per pool, task type and day, against a server that is always
on; and what a document has cost.
"""

from typing import Annotated, Any

from pydantic import Field

from queue_gateway.desk import Desk
from queue_gateway.route import Call, Route
from queue_gateway.shapes import Body, ById, Params
from reveille import costs
from reveille.costs import Costs, DocumentCosts, parse_month


class CostsWanted(Params):
    """A month in UTC; unset: the running one."""

    month: (
        Annotated[str, Field(pattern="^2[0-9]{3}-(0[1-9]|1[0-2])$", examples=["2026-01"])] | None
    ) = None


async def show(call: Call[CostsWanted, Body]) -> Costs:
    """The ledger of a month."""
    return await costs_of_month(call.desk, call.params.month)


async def costs_of_month(desk: Desk, month: str | None = None) -> Costs:
    """`month` as in CostsWanted."""
    begins_at = None if month is None else parse_month(month)
    always_on = desk.settings.always_on_usd_per_month
    return await desk.store.ask(lambda pool: costs.costs_of_month(pool, begins_at, always_on))


async def show_document(call: Call[ById, Body]) -> DocumentCosts:
    """Its tasks' shares of their containers; of a document without tasks, nothing."""
    document_id = call.params.id
    return await call.desk.store.ask(lambda pool: costs.costs_of_document(pool, document_id))


ROUTES: tuple[Route[Any, Any], ...] = (
    Route(
        method="GET",
        path="/api/costs",
        tag="costs",
        summary="What a month's containers cost by pool, task type and day, and an always-on server",
        scope="read",
        handler=show,
        params=CostsWanted,
        body=Body,
        answer=Costs,
    ),
    Route(
        method="GET",
        path="/api/documents/{id}/costs",
        tag="costs",
        summary="What a document's tasks cost: their shares of their containers' busy time",
        scope="read",
        handler=show_document,
        params=ById,
        body=Body,
        answer=DocumentCosts,
    ),
)
