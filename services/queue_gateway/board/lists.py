"""Long lists with their filters in the address: tasks, decisions."""

from typing import Annotated, TypeVar
from urllib.parse import urlencode

from aiohttp import web
from pydantic import Field, ValidationError

from queue_gateway.board.door import Visitor
from queue_gateway.desk import Desk
from queue_gateway.pages import page
from queue_gateway.pools import pools
from queue_gateway.refusal import Refusal
from queue_gateway.shapes import Id, Params
from queue_gateway.tasks import TaskFilter, tasks_matching
from reveille.task import TaskStatus

DECISIONS_MAX = 50

P = TypeVar("P", bound=Params)


class DecisionsWanted(Params):
    """One pool's, or all; `moving`: only those that changed the number of replicas."""

    pool: Annotated[str, Field(max_length=50)] | None = None
    moving: bool = False
    before: Id | None = None


async def tasks_page(desk: Desk, request: web.Request, visitor: Visitor) -> web.Response:
    """One page of the tasks that the address asks for, newest first."""
    wanted = asked(TaskFilter, request)
    found = await tasks_matching(desk.store, wanted)
    types = await desk.store.rows("list_task_types")
    query = _query(request)
    newest = {name: value for name, value in query.items() if name != "before"}
    return page(
        "tasks.html",
        visitor=visitor,
        tasks=found.tasks,
        wanted=wanted,
        filtered=bool(set(newest) - {"limit"}),
        statuses=[str(status) for status in TaskStatus],
        task_types=[row["name"] for row in types],
        pools=[pool.name for pool in await pools(desk)],
        newest=urlencode(newest) if wanted.before is not None else None,
        older=urlencode({**newest, "before": str(found.next_before)})
        if found.next_before
        else None,
    )


async def decisions_page(desk: Desk, request: web.Request, visitor: Visitor) -> web.Response:
    """What the autoscaler decided and why, newest first."""
    wanted = asked(DecisionsWanted, request)
    rows = await desk.store.rows(
        "decisions_before", DECISIONS_MAX, wanted.pool, wanted.moving, wanted.before
    )
    older = {**_query(request), "before": str(rows[-1]["id"])} if len(rows) == DECISIONS_MAX else {}
    return page(
        "decisions.html",
        visitor=visitor,
        decisions=rows,
        pools=[pool.name for pool in await pools(desk)],
        wanted=wanted,
        older=urlencode(older) if older else None,
    )


def asked(shape: type[P], request: web.Request) -> P:
    """What the address asks for. Raises Refusal 422."""
    try:
        return shape.model_validate(_query(request))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise Refusal(422, f"{where}: {first['msg']}") from None


def _query(request: web.Request) -> dict[str, str]:
    """A field that a form sent empty asks for nothing."""
    return {name: value for name, value in request.query.items() if value}
