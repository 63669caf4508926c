"""Health for those outside: what /readyz says, under /api."""

from typing import Any, Literal

from queue_gateway.route import Call, Reply, Route
from queue_gateway.shapes import Answer, Body, Params


class Health(Answer):
    """`problems` names what is wrong, by part."""

    status: Literal["ok", "unavailable"]
    problems: dict[str, str]


async def show(call: Call[Params, Body]) -> Reply:
    """200 while the gateway can do its work, else 503."""
    wrong = dict(await call.desk.ready())
    if wrong:
        return Reply(Health(status="unavailable", problems=wrong), 503)
    return Reply(Health(status="ok", problems={}))


ROUTES: tuple[Route[Any, Any], ...] = (
    Route(
        method="GET",
        path="/api/health",
        tag="health",
        summary="Whether the gateway can do its work",
        scope=None,
        handler=show,
        params=Params,
        body=Body,
        answer=Health,
    ),
)
