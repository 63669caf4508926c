"""Which pages there are."""

from importlib.resources import files
from pathlib import Path
from typing import Any

from aiohttp import web

from queue_gateway.board.actions import add_actions
from queue_gateway.board.costs import costs_page
from queue_gateway.board.document import document_page, documents_page, evidence, picture
from queue_gateway.board.door import Page, Visitor, add_login, guarded
from queue_gateway.board.fleet import container_page, fleet_page
from queue_gateway.board.history import Histories
from queue_gateway.board.lists import decisions_page, tasks_page
from queue_gateway.board.overview import overview_page
from queue_gateway.board.pictures import Pictures
from queue_gateway.board.task import task_page
from queue_gateway.board.uploads import add_uploads
from queue_gateway.desk import Desk
from queue_gateway.pages import page
from queue_gateway.report import report_of_days
from reveille.report import REPORT_DAYS

ID = "{id:-?\\d{1,18}}"


def add_board(
    application: web.Application, desk: Desk, pictures: Pictures, document: dict[str, Any]
) -> None:
    """Add the pages, their forms and assets, and the docs page made from the OpenAPI document."""

    async def docs(_: Desk, __: web.Request, visitor: Visitor) -> web.Response:
        return page("docs.html", document=document, visitor=visitor)

    async def show_docs(request: web.Request) -> web.Response:  # what the API is, is no secret
        if "read" in desk.access.granted(request):
            return await guarded(desk, docs, timed=False)(request)  # type: ignore[return-value]
        return page("docs.html", document=document)

    pages: tuple[tuple[str, Page], ...] = (
        ("/", overview_page(Histories(desk))),
        ("/tasks", tasks_page),
        (f"/tasks/{ID}", task_page),
        ("/documents", documents_page),
        (f"/documents/{ID}", document_page),
        ("/fleet", fleet_page),
        (f"/containers/{ID}", container_page),
        ("/decisions", decisions_page),
        ("/costs", costs_page),
        ("/report", _report),
    )
    for path, show in pages:
        application.router.add_get(path, guarded(desk, show))
    for kind, draw in (("png", picture(pictures)), ("svg", evidence(pictures))):
        path = f"/documents/{ID}/slides/{{number:[1-9]\\d{{0,3}}}}.{kind}"
        application.router.add_get(path, guarded(desk, draw, timed=False))
    application.router.add_get("/docs", show_docs)
    application.router.add_static("/static", Path(str(files("queue_gateway") / "static")))
    add_login(application, desk)
    add_actions(application, desk)
    add_uploads(application, desk)


async def _report(desk: Desk, _: web.Request, visitor: Visitor) -> web.Response:
    report = await report_of_days(desk, REPORT_DAYS)
    return page("report.html", report=report, visitor=visitor)
