"""The pipeline of a document: enqueue it as a whole, and see how its tasks hang together."""

from typing import Annotated, Any

from aiohttp import web
from pydantic import Field

from queue_gateway.changes import Interest
from queue_gateway.desk import Desk
from queue_gateway.refusal import Refusal, not_found
from queue_gateway.route import Call, Reply, Route
from queue_gateway.shapes import Answer, Body, ById, SentPriority
from queue_gateway.store import Store
from queue_gateway.submit import check_options, sending
from queue_gateway.task_view import TaskSummary, overall
from queue_gateway.tasks import Edge
from reveille.task import Priority

# The options are given to every task of the pipeline; this one knows them all.
_OPTIONS_OF = "template_analysis"


class PipelineOrder(Body):
    """What all tasks of the pipeline get. `file_path` is needed unless the document was uploaded."""

    file_path: Annotated[str, Field(max_length=4096)] | None = None
    company_id: Annotated[str, Field(max_length=255)] | None = None
    priority: SentPriority = Priority.NORMAL
    processing_options: dict[str, Any] = Field(default_factory=dict)


class PipelineStarted(Answer):
    """The tasks' ids, parents first."""

    document_id: int
    task_ids: list[int]


class Pipeline(Answer):
    """All tasks of a document, in order, and what waits for what. `status`: none, live, completed,
    failed or cancelled.
    """

    document_id: int
    status: str
    tasks: list[TaskSummary]
    edges: list[Edge]


async def start(call: Call[ById, PipelineOrder]) -> Reply:
    """One call of enqueue_document()."""
    order, document_id = call.body, call.params.id
    check_options(_OPTIONS_OF, order.processing_options)
    company_id = order.company_id
    if order.file_path is None:
        stored = await _stored(call.desk, document_id)
        company_id = company_id or stored["company_id"]
    task_ids = await enqueue(
        call.desk.store,
        call.request,
        document_id,
        file_path=order.file_path,
        company_id=company_id,
        priority=order.priority,
        options=order.processing_options,
    )
    answer = PipelineStarted(document_id=document_id, task_ids=task_ids)
    return Reply(answer, 201, {"Location": f"/api/documents/{document_id}/pipeline"})


async def _stored(desk: Desk, document_id: int) -> dict[str, Any]:
    row = None
    if desk.documents_are_ours:
        row = await desk.store.row("show_document", document_id)
    if row is None:
        raise Refusal(
            404, f"There is no stored document {document_id}: upload it, or send its file_path."
        )
    return row


async def enqueue(
    store: Store,
    request: web.Request,
    document_id: int,
    *,
    file_path: str | None = None,
    company_id: str | None = None,
    priority: Priority = Priority.NORMAL,
    options: dict[str, Any] | None = None,
) -> list[int]:
    """Enqueue the whole pipeline; the task ids, parents first. Raises Refusal."""
    with sending("pipeline", document_id, request) as send:
        async with store.transaction() as inside:
            rows = await inside.rows(
                "enqueue_document",
                document_id,
                file_path,
                company_id,
                priority,
                options or {},
                send.traceparent,
                send.tracestate,
            )
        task_ids = [int(row["id"]) for row in rows]
        send.sent(task_ids[0])
        return task_ids


async def show(call: Call[ById, Body]) -> Pipeline:
    """The tasks of a document."""
    return await pipeline_of(call.desk, call.params.id)


async def pipeline_of(desk: Desk, document_id: int) -> Pipeline:
    """Raises Refusal 404 when the document has no task."""
    tasks = await desk.changes.read(Interest(document_id=document_id))
    if not tasks:
        raise not_found("task of document", document_id)
    tasks.sort(key=lambda task: task.id)
    edges = await desk.store.rows("task_edges", [task.id for task in tasks])
    return Pipeline(
        document_id=document_id,
        status=overall(tasks),
        tasks=tasks,
        edges=[Edge(**edge) for edge in edges],
    )


ROUTES: tuple[Route[Any, Any], ...] = (
    Route(
        method="POST",
        path="/api/documents/{id}/pipeline",
        tag="documents",
        summary="Enqueue the whole pipeline of a document",
        scope="submit",
        handler=start,
        params=ById,
        body=PipelineOrder,
        answer=PipelineStarted,
        status=201,
        refuses=(404,),
        traced=True,
    ),
    Route(
        method="GET",
        path="/api/documents/{id}/pipeline",
        tag="documents",
        summary="The tasks of a document, their states and dependencies",
        scope="read",
        handler=show,
        params=ById,
        body=Body,
        answer=Pipeline,
        refuses=(404,),
    ),
)
