"""What a month cost: by day, by pool, and against a server that is always on."""

from datetime import timedelta

from aiohttp import web

from queue_gateway.board.charts import chart
from queue_gateway.board.door import Visitor
from queue_gateway.board.lists import asked
from queue_gateway.costs import CostsWanted, costs_of_month
from queue_gateway.desk import Desk
from queue_gateway.pages import page


async def costs_page(desk: Desk, request: web.Request, visitor: Visitor) -> web.Response:
    """The ledger, with the days as a chart."""
    wanted = asked(CostsWanted, request)
    costs = await costs_of_month(desk, wanted.month)
    month = costs.begins_at.date()
    return page(
        "costs.html",
        visitor=visitor,
        costs=costs,
        days=costs.days,
        by_day=chart([day.cost_usd for day in costs.days]),
        before=f"{month - timedelta(days=1):%Y-%m}",
        cap_usd=desk.settings.budget_hard_usd or desk.settings.budget_soft_usd,
    )
