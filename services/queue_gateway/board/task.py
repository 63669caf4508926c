"""One task: its life on one axis, attempts, steps, what it carries and what came of it."""

from collections.abc import Mapping
from typing import Any

from aiohttp import web

from queue_gateway.board.door import Visitor
from queue_gateway.board.timeline import timeline
from queue_gateway.board.words import name
from queue_gateway.desk import Desk
from queue_gateway.pages import page
from queue_gateway.tasks import detail

RETRIABLE = frozenset({"failed", "cancelled", "retry"})


async def task_page(desk: Desk, request: web.Request, visitor: Visitor) -> web.Response:
    """Raises Refusal 404."""
    task_id = int(request.match_info["id"])
    task = await detail(desk.store, task_id, desk.settings.jaeger_url)
    now = await desk.store.value("now")
    bars = timeline(task, now)
    return page(
        "task.html",
        visitor=visitor,
        task=task,
        bars=bars,
        whole_seconds=sum(bar.seconds for bar in bars),
        result=[
            (headline(row), row["result"]) for row in await desk.store.rows("task_result", task_id)
        ],
        can_retry=task.status in RETRIABLE,
        can_cancel=not task.final,
    )


def headline(row: Mapping[str, Any]) -> str:
    """One line for a row of a task's result; pure."""
    result = row["result"]
    match row["kind"]:
        case "slide":
            return f"slide {result['slide_number']}: {result['title'] or 'untitled'}"
        case "feedback":
            return f"slide {result['slide_number']}: {result['feedback_text'] or ''}"
        case "extraction":
            return f"{name(result['kind'])}: {result['value'] or 'not found'}"
        case "template analysis":
            score = result["overall_score"]
            rated = "" if score is None else f": {score:.1f} of 10"
            return f"{result['template_name']}{rated}"
    return f"{name(result['analysis_type'])}: {result['analysis_result'] or ''}"
