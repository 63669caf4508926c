"""How much waits where, and what kinds of tasks there are."""

from datetime import datetime
from typing import Any

from queue_gateway.desk import Desk
from queue_gateway.route import Call, Route
from queue_gateway.shapes import Answer, Body, Params
from reveille.task_types import TASK_TYPES


class Depth(Answer):
    """Live tasks of one type and priority. `oldest_seconds` is the age of the oldest claimable one."""

    pool: str
    task_type: str
    priority: int
    queued: int
    processing: int
    blocked: int
    retry: int
    oldest_claimable_at: datetime | None
    oldest_seconds: float | None


class PoolDepth(Answer):
    """The sums of a pool."""

    pool: str
    queued: int
    processing: int
    blocked: int
    retry: int
    oldest_claimable_at: datetime | None
    oldest_seconds: float | None


class QueueDepth(Answer):
    """Pools with nothing in them are not listed."""

    pools: list[PoolDepth]
    depths: list[Depth]


class KnownTaskType(Answer):
    """A row of task_types. `options_schema` is the JSON schema of processing_options; null for a
    type of somebody else's.
    """

    name: str
    pool: str
    max_retries: int
    timeout_seconds: int
    default_priority: int
    paused: bool
    description: str
    options_schema: dict[str, Any] | None


class KnownTaskTypes(Answer):
    """All task types that can be enqueued."""

    task_types: list[KnownTaskType]


async def show_queue(call: Call[Params, Body]) -> QueueDepth:
    """Depth now."""
    return await depth(call.desk)


async def depth(desk: Desk) -> QueueDepth:
    """Depth by pool, type and priority."""
    depths = [Depth(**row) for row in await desk.store.rows("queue_depth")]
    pools = [
        _sum(pool, [entry for entry in depths if entry.pool == pool])
        for pool in dict.fromkeys(entry.pool for entry in depths)
    ]
    return QueueDepth(pools=pools, depths=depths)


def _sum(pool: str, depths: list[Depth]) -> PoolDepth:
    waiting = [entry for entry in depths if entry.oldest_claimable_at is not None]
    oldest = max(waiting, key=lambda entry: entry.oldest_seconds or 0, default=None)
    return PoolDepth(
        pool=pool,
        queued=sum(entry.queued for entry in depths),
        processing=sum(entry.processing for entry in depths),
        blocked=sum(entry.blocked for entry in depths),
        retry=sum(entry.retry for entry in depths),
        oldest_claimable_at=oldest.oldest_claimable_at if oldest else None,
        oldest_seconds=oldest.oldest_seconds if oldest else None,
    )


async def show_task_types(call: Call[Params, Body]) -> KnownTaskTypes:
    """The routing table, with what each type may carry."""
    schemas = {t.name: t.options.model_json_schema() for t in TASK_TYPES}
    rows = await call.desk.store.rows("list_task_types")
    return KnownTaskTypes(
        task_types=[KnownTaskType(**row, options_schema=schemas.get(row["name"])) for row in rows]
    )


ROUTES: tuple[Route[Any, Any], ...] = (
    Route(
        method="GET",
        path="/api/queue",
        tag="queue",
        summary="Depth by pool, task type and priority, and the oldest that waits",
        scope="read",
        handler=show_queue,
        params=Params,
        body=Body,
        answer=QueueDepth,
    ),
    Route(
        method="GET",
        path="/api/task-types",
        tag="queue",
        summary="The task types that can be enqueued, with their options",
        scope="read",
        handler=show_task_types,
        params=Params,
        body=Body,
        answer=KnownTaskTypes,
    ),
)
