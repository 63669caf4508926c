"""Pools: what an operator may change about scaling while it runs."""

from datetime import datetime
from typing import Annotated, Any

from pydantic import Field

from queue_gateway.desk import Desk
from queue_gateway.refusal import not_found
from queue_gateway.route import Call, Route
from queue_gateway.shapes import Answer, Body, Params
from reveille.wishes import PolicyName

Replicas = Annotated[int, Field(ge=0, le=1000)]


class PoolByName(Params):
    """A pool is named by a word."""

    name: Annotated[str, Field(max_length=50)]


class Pool(Answer):
    """A row of pools. What is null there comes from the scaling file. `replicas_wanted`, `reason` and
    `decided_at` are of the autoscaler's last decision; null: it has made none yet.
    """

    name: str
    paused: bool
    replicas_min: int | None
    replicas_max: int | None
    policy: str | None
    updated_at: datetime
    task_types: list[str]
    containers: int
    servers_active: int
    replicas_wanted: int | None
    reason: str | None
    decided_at: datetime | None


class PoolList(Answer):
    """All pools."""

    pools: list[Pool]


class PoolChange(Body):
    """Only what is named changes; null gives the scaling file's value back. A paused pool starts
    nothing and claims nothing.
    """

    paused: bool = False
    replicas_min: Replicas | None = None
    replicas_max: Replicas | None = None
    policy: PolicyName | None = None


async def list_pools(call: Call[Params, Body]) -> PoolList:
    """All pools."""
    return PoolList(pools=await pools(call.desk))


async def pools(desk: Desk, name: str | None = None) -> list[Pool]:
    """All pools, or the one of that name."""
    return [Pool(**row) for row in await desk.store.rows("list_pools", name)]


async def show(call: Call[PoolByName, Body]) -> Pool:
    """One pool."""
    return await _one(call.desk, call.params.name)


async def change(call: Call[PoolByName, PoolChange]) -> Pool:
    """Change what is named, nothing else."""
    patch = call.body.model_dump(exclude_unset=True)
    name = call.params.name
    if patch and await call.desk.store.value("change_pool", name, patch) is None:
        raise not_found("pool", name)
    return await _one(call.desk, name)


async def _one(desk: Desk, name: str) -> Pool:
    found = await pools(desk, name)
    if not found:
        raise not_found("pool", name)
    return found[0]


ROUTES: tuple[Route[Any, Any], ...] = (
    Route(
        method="GET",
        path="/api/pools",
        tag="pools",
        summary="List pools",
        scope="read",
        handler=list_pools,
        params=Params,
        body=Body,
        answer=PoolList,
    ),
    Route(
        method="GET",
        path="/api/pools/{name}",
        tag="pools",
        summary="Show a pool",
        scope="read",
        handler=show,
        params=PoolByName,
        body=Body,
        answer=Pool,
        refuses=(404,),
    ),
    Route(
        method="PATCH",
        path="/api/pools/{name}",
        tag="pools",
        summary="Pause a pool, or override its minimum, maximum or policy",
        scope="operate",
        handler=change,
        params=PoolByName,
        body=PoolChange,
        answer=Pool,
        refuses=(404,),
    ),
)
