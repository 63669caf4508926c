"""Containers as the autoscaler keeps them in rows, and an operator's wishes for them.

Nothing is started or stopped here: a wish is written to the row, the autoscaler is told, and it
acts by its own rules (a busy container is drained before it stops).
"""

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import Field

from queue_gateway.desk import Desk
from queue_gateway.refusal import Refusal, not_found
from queue_gateway.route import Call, Route
from queue_gateway.shapes import Answer, Body, Params

LISTED_MAX = 200
ENDED = frozenset({"stopped", "failed"})


class ContainerByName(Params):
    """A container is named by pool and slot."""

    name: Annotated[str, Field(max_length=63)]


class Container(Answer):
    """A row of containers, and what it has cost so far. `wish` is the operator's: drain, stop, or
    null.
    """

    id: int
    name: str
    pool: str
    slot: int
    provider: str
    provider_ref: str | None
    state: str
    reason: str
    wish: str | None
    server_id: str | None
    waited_for_task_id: int | None
    gpu: str | None
    price_usd_per_hour: float
    cost_usd: float
    intended_at: datetime
    creating_at: datetime | None
    booting_at: datetime | None
    ready_at: datetime | None
    draining_at: datetime | None
    ended_at: datetime | None
    state_changed_at: datetime
    idle_since: datetime | None
    stuck_reason: str | None
    failure_count: int
    last_error: str | None


class ContainerList(Answer):
    """The living ones first, then the newest of the others."""

    containers: list[Container]


async def list_containers(call: Call[Params, Body]) -> ContainerList:
    """Living and past ones."""
    return ContainerList(containers=await containers(call.desk))


async def containers(
    desk: Desk, name: str | None = None, limit: int = LISTED_MAX
) -> list[Container]:
    """The containers, or those that bore this name, the living one first."""
    return [Container(**row) for row in await desk.store.rows("list_containers", name, limit)]


async def drain(call: Call[ContainerByName, Body]) -> Container:
    """Finish the running tasks, then stop."""
    return await _wish(call.desk, call.params.name, "drain")


async def stop(call: Call[ContainerByName, Body]) -> Container:
    """As drain, and do not come back un-drained when tasks arrive."""
    return await _wish(call.desk, call.params.name, "stop")


async def start(call: Call[ContainerByName, Body]) -> Container:
    """Bring a container up again; one that drains may stay."""
    desk, name = call.desk, call.params.name
    current = await _current(desk, name)
    if current.state in ENDED:
        await desk.store.value("start_container", name)
    elif current.wish is not None or current.state == "draining":
        await desk.store.value("keep_container", name)
    else:
        raise Refusal(409, f"Container {name} is {current.state} already.")
    return await _current(desk, name)


async def _wish(desk: Desk, name: str, wish: Literal["drain", "stop"]) -> Container:
    wished = await desk.store.value("wish_container", name, wish)
    current = await _current(desk, name)
    if wished is None:
        raise Refusal(409, f"Container {name} is {current.state} already.")
    return current


async def _current(desk: Desk, name: str) -> Container:
    found = await containers(desk, name, 1)
    if not found:
        raise not_found("container", name)
    return found[0]


def _order(verb: str, summary: str, handler: Any) -> Route[Any, Any]:
    return Route(
        method="POST",
        path=f"/api/containers/{{name}}/{verb}",
        tag="containers",
        summary=summary,
        scope="operate",
        handler=handler,
        params=ContainerByName,
        body=Body,
        answer=Container,
        refuses=(404, 409),
    )


ROUTES: tuple[Route[Any, Any], ...] = (
    Route(
        method="GET",
        path="/api/containers",
        tag="containers",
        summary="List containers with their states, reasons and costs",
        scope="read",
        handler=list_containers,
        params=Params,
        body=Body,
        answer=ContainerList,
    ),
    _order("drain", "Let a container finish its tasks, then stop", drain),
    _order("stop", "Stop a container as soon as it holds no task", stop),
    _order("start", "Start a container that has ended, or keep one that drains", start),
)
