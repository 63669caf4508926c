"""The board: a few server-rendered pages over the same reads as the API. They change nothing.

Readable without JavaScript; a small script reloads a page's content when an event stream says that
something happened. Where tokens are configured, /login keeps one with the scope read in a cookie
that scripts cannot see.
"""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from importlib.resources import files
from pathlib import Path
from typing import Any

from aiohttp import web

from queue_gateway.access import COOKIE
from queue_gateway.board_lists import LIST_PAGES
from queue_gateway.changes import Interest
from queue_gateway.containers import containers
from queue_gateway.costs import costs_of_month
from queue_gateway.desk import Desk
from queue_gateway.documents import detail as document_detail
from queue_gateway.pages import page
from queue_gateway.pools import pools
from queue_gateway.queue_depth import depth
from queue_gateway.refusal import Refusal
from queue_gateway.report import report_of_days
from queue_gateway.servers import servers
from queue_gateway.task_view import TaskSummary, overall
from queue_gateway.tasks import detail as task_detail
from queue_gateway.timeline import timeline
from reveille.report import REPORT_DAYS

LATEST_MAX = 30
CONTAINERS_MAX = 20
DECISIONS_MAX = 10
LOGIN_SECONDS = 7 * 86_400

Page = Callable[[Desk, web.Request], Awaitable[web.Response]]


def add_board(application: web.Application, desk: Desk, document: dict[str, Any]) -> None:
    """Add the pages, their assets, and the docs page made from the OpenAPI document."""

    async def show_docs(_: web.Request) -> web.Response:
        return page("docs.html", document=document)

    router = application.router
    router.add_get("/", _guarded(desk, _overview))
    router.add_get("/tasks/{id:\\d{1,18}}", _guarded(desk, _task))
    router.add_get("/documents/{id:-?\\d{1,18}}", _guarded(desk, _document))
    for path, show in LIST_PAGES:
        router.add_get(path, _guarded(desk, show))
    router.add_get("/report", _guarded(desk, _report))
    router.add_get("/docs", show_docs)
    router.add_get("/login", _login_form)
    router.add_post("/login", _login(desk))
    router.add_static("/static", Path(str(files("queue_gateway") / "static")))


def _guarded(desk: Desk, show: Page) -> Callable[[web.Request], Awaitable[web.Response]]:
    async def handle(request: web.Request) -> web.Response:
        try:
            desk.access.admit(request, "read")
            return await show(desk, request)
        except Refusal as refusal:
            if refusal.status == 401:
                raise web.HTTPSeeOther("/login") from None
            return page("refusal.html", refusal.status, refusal=refusal)

    return handle


async def _overview(desk: Desk, _: web.Request) -> web.Response:
    queue = await depth(desk)
    rows = await desk.store.rows("list_tasks", None, None, None, None, LATEST_MAX)
    return page(
        "overview.html",
        pools=await pools(desk),
        queue=queue,
        waiting={entry.pool: entry for entry in queue.pools},
        servers=await servers(desk),
        containers=await containers(desk, limit=CONTAINERS_MAX),
        decisions=await desk.store.rows("latest_decisions", DECISIONS_MAX, None),
        costs=await costs_of_month(desk),
        tasks=[TaskSummary.model_validate(row) for row in rows],
    )


async def _task(desk: Desk, request: web.Request) -> web.Response:
    task_id = int(request.match_info["id"])
    task = await task_detail(desk.store, task_id, desk.settings.jaeger_url)
    return page("task.html", task=task, timeline=timeline(task, datetime.now(UTC)))


async def _document(desk: Desk, request: web.Request) -> web.Response:
    document_id = int(request.match_info["id"])
    document = await document_detail(desk, document_id)
    tasks = await desk.changes.read(Interest(document_id=document_id))
    found = await desk.store.value("document_results", document_id)
    return page(
        "document.html",
        document=document,
        tasks=sorted(tasks, key=lambda task: task.id),
        overall=overall(tasks),
        results=found or {},
    )


async def _report(desk: Desk, _: web.Request) -> web.Response:
    return page("report.html", report=await report_of_days(desk, REPORT_DAYS))


async def _login_form(_: web.Request) -> web.Response:
    return page("login.html", wrong=False)


def _login(desk: Desk) -> Callable[[web.Request], Awaitable[web.Response]]:
    async def handle(request: web.Request) -> web.Response:
        token = str((await request.post()).get("token", ""))
        scopes = desk.access.scopes(token)
        if scopes is None or "read" not in scopes:
            return page("login.html", 401, wrong=True)
        response = web.Response(status=303, headers={"Location": "/"})
        response.set_cookie(
            COOKIE,
            token,
            max_age=LOGIN_SECONDS,
            httponly=True,
            samesite="Strict",
            secure=request.secure,
        )
        return response

    return handle
