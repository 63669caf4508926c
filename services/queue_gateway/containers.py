"""Containers as the autoscaler keeps them in rows, and an operator's wishes for them.

Nothing is started or stopped here; what an operator may wish is in reveille/wishes.py.
"""

from datetime import datetime
from typing import Annotated, Any

from pydantic import Field

from queue_gateway.desk import Desk
from queue_gateway.refusal import Refusal, not_found
from queue_gateway.route import Call, Route
from queue_gateway.shapes import Answer, Body, Params
from reveille import wishes
from reveille.wishes import REASON_MAX, Verb

LISTED_MAX = 200


class ContainerByName(Params):
    """A container is named by pool and slot."""

    name: Annotated[str, Field(max_length=63)]


class Wish(Body):
    """Why; it is kept with the container."""

    reason: Annotated[str, Field(min_length=1, max_length=REASON_MAX)] | None = None


class Container(Answer):
    """A row of containers, and what it has cost so far. `wish` is the operator's: drain, stop, keep
    (it is pinned) or null. `gpu_at`, `image_at` and `registered_at` divide the time between
    `booting_at` and `ready_at`: a GPU was there, the image was, the worker began to load its model.
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
    wish_reason: str | None
    server_id: str | None
    waited_for_task_id: int | None
    gpu: str | None
    price_usd_per_hour: float
    cost_usd: float
    intended_at: datetime
    creating_at: datetime | None
    booting_at: datetime | None
    gpu_at: datetime | None
    image_at: datetime | None
    registered_at: datetime | None
    ready_at: datetime | None
    draining_at: datetime | None
    ended_at: datetime | None
    state_changed_at: datetime
    idle_since: datetime | None
    stuck_reason: str | None
    failure_count: int
    last_error: str | None


class Transition(Answer):
    """A state that a container went into, and why."""

    state: str
    reason: str
    at: datetime


class ContainerDetail(Container):
    """With the states it has gone through, the first one first."""

    transitions: list[Transition]


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
    rows = await desk.store.ask(lambda pool: wishes.look(pool, name, limit))
    return [Container(**row) for row in rows]


async def show(call: Call[ContainerByName, Body]) -> ContainerDetail:
    """The one of this name that lives, else the last that bore it."""
    name = call.params.name
    try:
        row, passed = await call.desk.store.ask(lambda pool: wishes.show(pool, name))
    except wishes.NoSuchContainer as error:
        raise Refusal(404, str(error)) from None
    return _detailed(row, passed)


async def detail(desk: Desk, container_id: int) -> ContainerDetail:
    """One of all that ever were, whoever bears its name now. Raises Refusal 404."""
    rows = await desk.store.ask(lambda pool: wishes.look(pool, limit=1, container_id=container_id))
    if not rows:
        raise not_found("container", container_id)
    passed = await desk.store.ask(lambda pool: wishes.passed(pool, container_id))
    return _detailed(rows[0], passed)


def _detailed(row: wishes.Row, passed: list[wishes.Row]) -> ContainerDetail:
    return ContainerDetail(**row, transitions=[Transition(**one) for one in passed])


async def start(call: Call[ContainerByName, Wish]) -> Container:
    """Bring a container up again; one that drains may stay."""
    return await _express(call, "start")


async def drain(call: Call[ContainerByName, Wish]) -> Container:
    """Finish the running tasks, then stop."""
    return await _express(call, "drain")


async def stop(call: Call[ContainerByName, Wish]) -> Container:
    """End now, busy or not."""
    return await _express(call, "stop")


async def pin(call: Call[ContainerByName, Wish]) -> Container:
    """Stay, however idle."""
    return await _express(call, "pin")


async def unpin(call: Call[ContainerByName, Wish]) -> Container:
    """Leave it to the policy again."""
    return await _express(call, "unpin")


async def _express(call: Call[ContainerByName, Wish], verb: Verb) -> Container:
    name, reason = call.params.name, call.body.reason
    try:
        row = await call.desk.store.ask(lambda pool: wishes.express(pool, name, verb, reason))
    except wishes.NoSuchContainer as error:
        raise Refusal(404, str(error)) from None
    except wishes.WishDenied as error:
        raise Refusal(409, str(error)) from None
    return Container(**row)


def _order(verb: str, summary: str, handler: Any) -> Route[Any, Any]:
    return Route(
        method="POST",
        path=f"/api/containers/{{name}}/{verb}",
        tag="containers",
        summary=summary,
        scope="operate",
        handler=handler,
        params=ContainerByName,
        body=Wish,
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
    Route(
        method="GET",
        path="/api/containers/{name}",
        tag="containers",
        summary="Show a container and the states it has gone through, each with its reason",
        scope="read",
        handler=show,
        params=ContainerByName,
        body=Body,
        answer=ContainerDetail,
        refuses=(404,),
    ),
    _order("drain", "Let a container finish its tasks, then stop", drain),
    _order("stop", "Stop a container now; tasks that it cannot finish go back", stop),
    _order("start", "Start a container that has ended, or keep one that drains", start),
    _order("pin", "Keep a container, however idle it is", pin),
    _order("unpin", "Let the policy decide about a pinned container again", unpin),
)
