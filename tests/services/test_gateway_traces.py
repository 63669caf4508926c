"""The gateway's part of a task's trace: the caller's span, the request, the send whose id the row carries."""

from queue_gateway.testing import running_gateway
from reveille.otlp_sink import OtlpSink
from reveille.testing import Database

CALLER_TRACE, CALLER_SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
CALLER = {"traceparent": f"00-{CALLER_TRACE}-{CALLER_SPAN}-01", "tracestate": "vendor=1"}
TASK = {"document_id": 42, "task_type": "visual_analysis"}


async def test_row_carries_the_send_span_below_the_callers(database: Database) -> None:
    """From the backend's span to the row there is one unbroken line of parents."""
    async with (
        OtlpSink() as sink,
        running_gateway(database.dsn, otlp_endpoint=sink.url) as gateway,
    ):
        task = await gateway.post("/api/tasks", TASK, 201, headers=CALLER)
        row = await database.fetchrow("SELECT traceparent, tracestate FROM processing_queue")
        await gateway.service.telemetry.flush()

    spans = {span.name: span for span in sink.trace(CALLER_TRACE)}
    request, send = spans["POST /api/tasks"], spans["send visual_analysis"]
    assert row == {"traceparent": f"00-{CALLER_TRACE}-{send.span_id}-01", "tracestate": "vendor=1"}
    assert (request.parent_span_id, send.parent_span_id) == (CALLER_SPAN, request.span_id)
    assert request.attributes["http.response.status_code"] == 201
    assert send.attributes["reveille.task.id"] == task["id"]


async def test_pipeline_is_one_trace(database: Database) -> None:
    """All tasks of a document begin at the same send."""
    async with (
        OtlpSink() as sink,
        running_gateway(database.dsn, otlp_endpoint=sink.url) as gateway,
    ):
        await gateway.post("/api/documents/1/pipeline", {"file_path": "a.pdf"}, 201)
        await gateway.service.telemetry.flush()
        rows = await database.fetch("SELECT DISTINCT traceparent FROM processing_queue")

    (traceparent,) = (row["traceparent"] for row in rows)
    assert [s.name for s in sink.spans if s.span_id in traceparent] == ["send pipeline"]


async def test_watching_and_polling_start_no_traces(database: Database) -> None:
    """Requests that only look, and external servers that only ask, leave no spans of their own."""
    async with (
        OtlpSink() as sink,
        running_gateway(database.dsn, otlp_endpoint=sink.url) as gateway,
    ):
        await gateway.get("/api/queue")
        await gateway.get("/api/tasks")
        await gateway.post("/api/internal/get-next-queue-task", {"server_id": "g"})
        async with gateway.events("/api/events") as events:
            await events.next()
        await gateway.service.telemetry.flush()

    assert sink.spans == ()


async def test_callers_tracestate_cannot_claim_the_triggers_mark(database: Database) -> None:
    """`reveille=minted` asks workers to write the root span; only the trigger may set it."""
    forged = {**CALLER, "tracestate": "reveille=minted"}
    async with running_gateway(database.dsn) as gateway:
        await gateway.post("/api/tasks", TASK, 201, headers=forged)
        traceparent = await database.fetchval("SELECT traceparent FROM processing_queue")

    assert CALLER_TRACE not in traceparent
