"""A document: its pipeline, what was found in it, and each slide's picture beside what was said of
it, with the evidence marked.

The marks are a picture of their own, laid over the slide's: a page never waits for a PDF to be
rendered, and a document that cannot be rendered here still shows all its results.
"""

from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from typing import Any

from aiohttp import web

from queue_gateway.board.door import Page, Visitor
from queue_gateway.board.graph import graph
from queue_gateway.board.lists import asked
from queue_gateway.board.marks import marks
from queue_gateway.board.pictures import Picture, Pictures, Source
from queue_gateway.changes import Interest
from queue_gateway.desk import Desk
from queue_gateway.documents import Document, DocumentFilter
from queue_gateway.documents import detail as document_detail
from queue_gateway.pages import HEADERS, page, templates
from queue_gateway.task_view import overall
from queue_gateway.tasks import Edge

# The order in which people ask; a fact's number is its badge on the slide.
KINDS = (
    "startup_name",
    "company_offering",
    "funding_amount",
    "deck_date",
    "healthcare_classification",
)
PICTURE_HEADERS = HEADERS | {"Cache-Control": "private, max-age=300"}


@dataclass(frozen=True, slots=True)
class Quote:
    """Words of the deck that prove something. `number` is a fact's badge; None: another's quote."""

    page: int
    text: str
    number: int | None


async def documents_page(desk: Desk, request: web.Request, visitor: Visitor) -> web.Response:
    """Uploaded documents, newest first, and the form for more."""
    wanted = asked(DocumentFilter, request)
    rows = []
    if desk.documents_are_ours:
        rows = await desk.store.rows(
            "list_documents", wanted.company_id, wanted.before, wanted.limit
        )
    documents = [Document(**row) for row in rows]
    counts = await desk.store.rows("documents_tasks", [document.id for document in documents])
    return page(
        "documents.html",
        visitor=visitor,
        documents=documents,
        counts={row["document_id"]: row for row in counts},
        ours=desk.documents_are_ours,
        older=documents[-1].id if len(documents) == wanted.limit else None,
    )


async def document_page(desk: Desk, request: web.Request, visitor: Visitor) -> web.Response:
    """Raises Refusal 404."""
    document_id = int(request.match_info["id"])
    document = await document_detail(desk, document_id)
    tasks = await desk.changes.read(Interest(document_id=document_id))
    tasks.sort(key=lambda task: task.id)
    edges = await desk.store.rows("task_edges", [task.id for task in tasks])
    results = await desk.store.value("document_results", document_id) or {}
    found = results.get("extractions") or {}
    return page(
        "document.html",
        visitor=visitor,
        document=document,
        tasks=tasks,
        graph=graph(tasks, [Edge(**edge) for edge in edges]),
        overall=overall(tasks),
        results=results,
        facts=[(number, kind, found[kind]) for number, kind in _numbered() if kind in found],
        feedback={note["slide_number"]: note for note in results.get("feedback") or []},
        marked={quote.page for quote in quotes(results)},
    )


def picture(pictures: Pictures) -> Page:
    """A slide as PNG."""

    async def draw(found: Picture, _: Desk, __: int, ___: int) -> web.Response:
        return web.Response(body=found.data, content_type="image/png", headers=PICTURE_HEADERS)

    return _of_slide(pictures, draw)


def evidence(pictures: Pictures) -> Page:
    """The marks of a slide as SVG of the slide's shape, to be laid over it."""

    async def draw(found: Picture, desk: Desk, document_id: int, number: int) -> web.Response:
        results = await desk.store.value("document_results", document_id) or {}
        marked = [
            (quote, marks(found.words, quote.text))
            for quote in quotes(results)
            if quote.page == number
        ]
        svg = templates().get_template("evidence.svg")
        text = svg.render(width=found.width, height=found.height, marked=marked)
        headers = HEADERS | {"Cache-Control": "no-cache"}
        return web.Response(text=text, content_type="image/svg+xml", headers=headers)

    return _of_slide(pictures, draw)


def _of_slide(
    pictures: Pictures, draw: Callable[[Picture, Desk, int, int], Awaitable[web.Response]]
) -> Page:
    async def show(desk: Desk, request: web.Request, _: Visitor) -> web.Response:
        document_id, number = int(request.match_info["id"]), int(request.match_info["number"])
        await document_detail(desk, document_id)
        file_path = await desk.store.value("document_source", document_id) or ""
        found = await pictures.page(Source(document_id, file_path), number)
        return await draw(found, desk, document_id, number)

    return show


def quotes(results: dict[str, Any]) -> list[Quote]:
    """All quotes that were found in the deck; facts last, so that they are drawn on top."""
    template = results.get("template_analysis") or {}
    specialized = (results.get("specialized") or {}).values()
    facts = results.get("extractions") or {}
    others = [q for chapter in template.get("chapters") or [] for q in chapter.get("questions", [])]
    others += [
        f for a in specialized for f in (a.get("structured_result") or {}).get("findings", [])
    ]
    found = [quote for other in others for quote in _quote(other, None)]
    for number, kind in _numbered():
        found.extend(_quote(facts.get(kind) or {}, number))
    return list(dict.fromkeys(found))


def _quote(claim: Any, number: int | None) -> Iterator[Quote]:
    if isinstance(claim, dict) and claim.get("evidence_verified") and claim.get("evidence_page"):
        yield Quote(int(claim["evidence_page"]), str(claim.get("evidence_quote") or ""), number)


def _numbered() -> Iterator[tuple[int, str]]:
    return enumerate(KINDS, 1)
