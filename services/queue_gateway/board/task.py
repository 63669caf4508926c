"""One task: its life on one axis, attempts, steps, what it carries and what came of it."""

from aiohttp import web

from queue_gateway.board.door import Visitor
from queue_gateway.board.timeline import timeline
from queue_gateway.desk import Desk
from queue_gateway.pages import page
from queue_gateway.tasks import detail

RETRIABLE = frozenset({"failed", "cancelled", "retry"})


async def task_page(desk: Desk, request: web.Request, visitor: Visitor) -> web.Response:
    """Raises Refusal 404."""
    task_id = int(request.match_info["id"])
    task = await detail(desk.store, task_id, desk.settings.jaeger_url)
    now = await desk.store.value("now")
    return page(
        "task.html",
        visitor=visitor,
        task=task,
        bars=timeline(task, now),
        can_retry=task.status in RETRIABLE,
        can_cancel=not task.final,
    )
