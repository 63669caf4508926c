"""The report over HTTP: the success metrics, measured from the rows."""

from typing import Annotated, Any

from pydantic import Field

from queue_gateway.desk import Desk
from queue_gateway.route import Call, Route
from queue_gateway.shapes import Body, Params
from reveille.report import REPORT_DAYS, Report, report_of


class ReportWanted(Params):
    """The last so many days."""

    days: Annotated[int, Field(ge=1, le=366)] = REPORT_DAYS


async def show(call: Call[ReportWanted, Body]) -> Report:
    """Measured from the rows, now."""
    return await report_of_days(call.desk, call.params.days)


async def report_of_days(desk: Desk, days: int) -> Report:
    """The report on the last days. Raises Refusal."""
    always_on = desk.settings.always_on_usd_per_month
    return await desk.store.ask(lambda pool: report_of(pool, days, always_on))


ROUTES: tuple[Route[Any, Any], ...] = (
    Route(
        method="GET",
        path="/api/report",
        tag="costs",
        summary="The success metrics: target, measured value, verdict",
        scope="read",
        handler=show,
        params=ReportWanted,
        body=Body,
        answer=Report,
    ),
)
