"""The board's lists: tasks with filters in the address, servers and containers, decisions, costs."""

from collections.abc import Awaitable, Callable
from typing import Annotated, TypeVar
from urllib.parse import urlencode

from aiohttp import web
from pydantic import Field, ValidationError

from queue_gateway.containers import containers
from queue_gateway.costs import CostsWanted, costs_of_month
from queue_gateway.desk import Desk
from queue_gateway.pages import page
from queue_gateway.pools import pools
from queue_gateway.refusal import Refusal
from queue_gateway.servers import servers
from queue_gateway.shapes import Params
from queue_gateway.tasks import TaskFilter, tasks_matching
from reveille.task import TaskStatus

DECISIONS_MAX = 100

P = TypeVar("P", bound=Params)


class DecisionsWanted(Params):
    """One pool's, or all."""

    pool: Annotated[str, Field(max_length=50)] | None = None


async def _tasks(desk: Desk, request: web.Request) -> web.Response:
    wanted = _asked(TaskFilter, request)
    found = await tasks_matching(desk.store, wanted)
    types = await desk.store.rows("list_task_types")
    older = {**_query(request), "before": str(found.next_before)}
    return page(
        "tasks.html",
        tasks=found.tasks,
        wanted=wanted,
        statuses=[str(status) for status in TaskStatus],
        task_types=[row["name"] for row in types],
        older=urlencode(older) if found.next_before else None,
    )


async def _fleet(desk: Desk, _: web.Request) -> web.Response:
    return page("fleet.html", servers=await servers(desk), containers=await containers(desk))


async def _decisions(desk: Desk, request: web.Request) -> web.Response:
    wanted = _asked(DecisionsWanted, request)
    rows = await desk.store.rows("latest_decisions", DECISIONS_MAX, wanted.pool)
    names = [pool.name for pool in await pools(desk)]
    return page("decisions.html", decisions=rows, pools=names, wanted=wanted)


async def _costs(desk: Desk, request: web.Request) -> web.Response:
    wanted = _asked(CostsWanted, request)
    return page("costs.html", costs=await costs_of_month(desk, wanted.month))


def _query(request: web.Request) -> dict[str, str]:
    """What the address asks for; a field that a form sent empty asks for nothing."""
    return {name: value for name, value in request.query.items() if value}


def _asked(shape: type[P], request: web.Request) -> P:
    try:
        return shape.model_validate(_query(request))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise Refusal(422, f"{where}: {first['msg']}") from None


LIST_PAGES: tuple[tuple[str, Callable[[Desk, web.Request], Awaitable[web.Response]]], ...] = (
    ("/tasks", _tasks),
    ("/fleet", _fleet),
    ("/decisions", _decisions),
    ("/costs", _costs),
)
