"""Documents: upload, list, show, download, results."""

import asyncio
from datetime import datetime
from hashlib import sha256
from typing import Annotated, Any
from urllib.parse import quote

from aiohttp import web
from pydantic import Field

from queue_gateway.changes import Interest
from queue_gateway.desk import Desk
from queue_gateway.pipelines import enqueue
from queue_gateway.refusal import Refusal, not_found
from queue_gateway.route import Call, Reply, Route
from queue_gateway.shapes import Answer, Body, ById, Id, Params
from queue_gateway.store import Store
from queue_gateway.task_view import TaskSummary, all_final, overall
from queue_gateway.upload import FORM, PDF, BeforeFile, Upload, UploadOptions, receive
from queue_gateway.waiting import WaitSeconds, gone, happens


class Document(Answer):
    """A stored document, without its bytes."""

    id: int
    filename: str
    media_type: str
    sha256: str
    size_bytes: int
    company_id: str | None
    created_at: datetime


class Uploaded(Document):
    """`created` is false for a document that was there already; `task_ids` is the pipeline, if
    asked for.
    """

    created: bool
    task_ids: list[int]


class DocumentFilter(Params):
    """Pages are linked by `before`: the smallest id of the page before."""

    company_id: str | None = None
    before: Id | None = None
    limit: Annotated[int, Field(ge=1, le=500)] = 50


class DocumentList(Answer):
    """`next_before` asks for the next page; null on the last one."""

    documents: list[Document]
    next_before: int | None


class DocumentDetail(Answer):
    """`stored` is null for a document whose bytes the backend keeps elsewhere. `tasks` counts by
    status.
    """

    id: int
    stored: Document | None
    tasks: dict[str, int]


class ResultsWanted(ById):
    """`wait_seconds`: answer when all tasks of the document have ended, or when the time is over."""

    wait_seconds: WaitSeconds = 0


class Results(Answer):
    """`status`: none, live, completed, failed or cancelled, of all the document's tasks. `results`
    null: none yet.
    """

    document_id: int
    status: str
    results: dict[str, Any] | None


async def upload(call: Call[UploadOptions, Body]) -> Reply:
    """Keep a PDF once; the same bytes of the same company are the same document."""
    answer = await take_in(call.desk, call.request, call.params)
    location = {"Location": f"/api/documents/{answer.id}"}
    return Reply(answer, 201 if answer.created else 200, location)


async def take_in(
    desk: Desk,
    request: web.Request,
    options: UploadOptions,
    before_file: BeforeFile | None = None,
) -> Uploaded:
    """Receive, keep and, if wanted, enqueue. Raises Refusal."""
    _need_table(desk)
    async with desk.transfers:
        try:
            async with asyncio.timeout(desk.settings.upload_seconds_max):
                bytes_max = desk.settings.document_bytes_max
                received = await receive(request, options, bytes_max, before_file)
        except TimeoutError:
            raise Refusal(408, "The upload took too long.") from None
        document, created = await _keep(desk.store, received)
    task_ids: list[int] = []
    if received.options.pipeline:
        task_ids = await enqueue(
            desk.store,
            request,
            document.id,
            company_id=document.company_id,
            priority=received.options.priority,
        )
    return Uploaded(**document.model_dump(), created=created, task_ids=task_ids)


async def _keep(store: Store, received: Upload) -> tuple[Document, bool]:
    digest = sha256(received.content).hexdigest()
    company_id = received.options.company_id
    async with store.transaction() as inside:
        if not received.options.new:
            await inside.value("lock_digest", digest)
            known = await inside.row("find_document", digest, company_id)
            if known is not None:
                return Document(**known), False
        row = await inside.row(
            "insert_document", received.filename, digest, received.content, company_id
        )
    return Document.model_validate(row), True


async def list_documents(call: Call[DocumentFilter, Body]) -> DocumentList:
    """Newest first."""
    _need_table(call.desk)
    wanted = call.params
    rows = await call.desk.store.rows(
        "list_documents", wanted.company_id, wanted.before, wanted.limit
    )
    documents = [Document(**row) for row in rows]
    full = len(documents) == wanted.limit
    return DocumentList(documents=documents, next_before=documents[-1].id if full else None)


async def show(call: Call[ById, Body]) -> DocumentDetail:
    """What is known of a document, ours or only named by tasks."""
    return await detail(call.desk, call.params.id)


async def detail(desk: Desk, document_id: int) -> DocumentDetail:
    """Raises Refusal 404 when neither the table nor a task knows it."""
    row = None
    if desk.documents_are_ours:
        row = await desk.store.row("show_document", document_id)
    counts = await desk.store.rows("document_tasks_count", document_id)
    if row is None and not counts:
        raise not_found("document", document_id)
    return DocumentDetail(
        id=document_id,
        stored=Document(**row) if row else None,
        tasks={count["status"]: count["tasks"] for count in counts},
    )


async def content(call: Call[ById, Body]) -> web.StreamResponse:
    """The PDF as it was uploaded."""
    _need_table(call.desk)
    async with call.desk.transfers:
        row = await call.desk.store.row("document_content", call.params.id)
        if row is None or row["content"] is None:
            raise not_found("stored document", call.params.id)
        name = quote(row["filename"], safe="")
        return web.Response(
            body=row["content"],
            content_type=row["media_type"],
            headers={
                "Content-Disposition": f"attachment; filename*=UTF-8''{name}",
                "X-Content-Type-Options": "nosniff",
                "ETag": f'"{row["sha256"]}"',
            },
        )


async def results(call: Call[ResultsWanted, Body]) -> Results:
    """The newest results of each kind, as far as they are there."""
    desk, document_id = call.desk, call.params.id
    await detail(desk, document_id)
    tasks = await desk.changes.read(Interest(document_id=document_id))
    if call.params.wait_seconds and tasks and not all_final(tasks):
        with desk.seats.seat():
            tasks = await _until_final(desk, call.request, document_id, call.params.wait_seconds)
    found = await desk.store.value("document_results", document_id)
    return Results(document_id=document_id, status=overall(tasks), results=found)


async def _until_final(
    desk: Desk, request: web.Request, document_id: int, seconds: float
) -> list[TaskSummary]:
    interest = Interest(document_id=document_id)
    clock = asyncio.get_running_loop().time
    deadline = clock() + seconds
    async with desk.changes.subscribe(interest) as subscription:
        subscription.reset(await desk.changes.read(interest))
        while not all_final(subscription.known) and not desk.stopping.is_set():
            left_seconds = deadline - clock()
            if left_seconds <= 0 or gone(request):
                break
            await happens(subscription.changed, desk.stopping, seconds=left_seconds)
            subscription.take()
        return subscription.known


def _need_table(desk: Desk) -> None:
    if not desk.documents_are_ours:
        raise Refusal(
            501,
            "This database has a table named documents of its own, so nothing can be stored here: "
            "name the file in file_path instead.",
        )


ROUTES: tuple[Route[Any, Any], ...] = (
    Route(
        method="POST",
        path="/api/documents",
        tag="documents",
        summary="Upload a PDF; with pipeline=true its tasks are enqueued at once",
        scope="submit",
        handler=upload,
        params=UploadOptions,
        body=Body,
        answer=Uploaded,
        status=201,
        refuses=(400, 413, 415, 501),
        uploads=(PDF, FORM),
        traced=True,
    ),
    Route(
        method="GET",
        path="/api/documents",
        tag="documents",
        summary="List uploaded documents, newest first",
        scope="read",
        handler=list_documents,
        params=DocumentFilter,
        body=Body,
        answer=DocumentList,
        refuses=(501,),
    ),
    Route(
        method="GET",
        path="/api/documents/{id}",
        tag="documents",
        summary="Show a document and how many tasks it has in which state",
        scope="read",
        handler=show,
        params=ById,
        body=Body,
        answer=DocumentDetail,
        refuses=(404,),
    ),
    Route(
        method="GET",
        path="/api/documents/{id}/content",
        tag="documents",
        summary="Download the PDF",
        scope="read",
        handler=content,
        params=ById,
        body=Body,
        answer=None,
        media_type=PDF,
        refuses=(404, 501),
    ),
    Route(
        method="GET",
        path="/api/documents/{id}/results",
        tag="documents",
        summary="The document's results; wait_seconds waits for the end of all its tasks",
        scope="read",
        handler=results,
        params=ResultsWanted,
        body=Body,
        answer=Results,
        refuses=(404,),
    ),
)
