"""Spans of attempts that no process of ours ended: external servers' and dead workers'."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from heartbeat_monitor.config import MonitorSettings
from heartbeat_monitor.service import HeartbeatMonitor
from queue_gateway.testing import running_gateway
from reveille import semconv
from reveille.otlp_sink import OtlpSink
from reveille.span import Span
from reveille.telemetry import configure
from reveille.testing import Database
from reveille.trace_context import format_traceparent, parse, process_context, to_ns
from reveille.trace_tree import build

CAN = {"visual_analysis": True}
INSERT = "INSERT INTO processing_queue (document_id, task_type) VALUES (42, $1) RETURNING id"
CLAIM = "SELECT task_id FROM get_next_processing_task($1, $2)"


@asynccontextmanager
async def monitoring(
    database: Database, sink: OtlpSink | None = None
) -> AsyncIterator[HeartbeatMonitor]:
    """A monitor whose rounds the test calls; its spans have reached the sink afterwards."""
    telemetry = configure("heartbeat_monitor", otlp_endpoint=sink.url if sink else None)
    settings = MonitorSettings(DATABASE_URL=database.dsn, outage_grace_seconds=0.0)
    monitor = HeartbeatMonitor(settings, telemetry)
    monitor.pool = database.pool
    await monitor.setup()
    try:
        yield monitor
    finally:
        assert await telemetry.aclose()


async def insert(database: Database, task_type: str = "visual_analysis") -> int:
    """A task as psql inserts one; its id."""
    task_id: int = await database.fetchval(INSERT, task_type)
    return task_id


async def traced_round(database: Database) -> tuple[Span, ...]:
    """What one round of the monitor writes."""
    async with OtlpSink() as sink:
        async with monitoring(database, sink) as monitor:
            await monitor.round()
        return sink.spans


def one(spans: tuple[Span, ...], name: str) -> Span:
    """The only span whose name begins so."""
    (found,) = (span for span in spans if span.name.startswith(name))
    return found


async def test_task_of_an_external_server_is_one_trace(database: Database) -> None:
    """Whoever speaks only HTTP or SQL is seen from enqueue to end all the same."""
    task_id = await insert(database)
    async with running_gateway(database.dsn) as gateway:
        asked = {"server_id": "gpu-1", "capabilities": CAN}
        await gateway.post("/api/internal/get-next-queue-task", asked)
        said = {"server_id": "gpu-1", "task_id": task_id, "message": "slide 3"}
        report = "/api/internal/update-task-status"
        await gateway.post(report, {**said, "status": "processing", "progress_percentage": 30})
        await gateway.post(report, {**said, "status": "completed"})

    spans = await traced_round(database)

    (root,) = build(spans)
    row = await database.fetchrow("SELECT * FROM processing_queue")
    assert row is not None
    assert [child.span.name.split()[0] for child in root.children] == ["queued", "process"]
    assert root.span.name == "send visual_analysis"
    queued, process = one(spans, "queued"), one(spans, "process")
    assert (queued.start_ns, queued.end_ns) == (
        to_ns(row["claimable_at"]),
        to_ns(row["started_at"]),
    )
    assert (process.start_ns, process.end_ns) == (
        to_ns(row["started_at"]),
        to_ns(row["completed_at"]),
    )
    expected = {
        semconv.REVEILLE_TASK_ID: task_id,
        semconv.REVEILLE_SERVER_ID: "gpu-1",
        semconv.REVEILLE_POOL: "visual",
        semconv.REVEILLE_OUTCOME: "completed",
        semconv.REVEILLE_BACKFILLED: True,
    }
    assert process.attributes.items() >= expected.items()
    assert process.status == "unset"
    assert row["process_traceparent"] == f"00-{process.trace_id}-{process.span_id}-01"


async def test_second_attempt_of_an_external_server_links_the_failed_first(
    database: Database,
) -> None:
    """Attempts are siblings, the first one an error with its reason, the root written once."""
    task_id = await insert(database)
    await database.fetch(CLAIM, "gpu-1", CAN)
    await database.execute("SELECT complete_task($1, false, NULL, 'out of memory')", task_id)
    await database.execute("SELECT retry_failed_task($1)", task_id)
    await database.fetch(CLAIM, "gpu-1", CAN)
    await database.execute("SELECT complete_task($1, true)", task_id)

    spans = await traced_round(database)

    assert len(build(spans)) == 1
    first, second = (span for span in spans if span.name.startswith("process"))
    assert (first.status, first.status_message) == ("error", "out of memory")
    assert first.span_id in {link.span_id for link in second.links}
    assert len([span for span in spans if span.name.startswith("send")]) == 1


@pytest.mark.parametrize("status", ["cancelled", "completed", "failed"])
async def test_external_servers_task_that_somebody_else_ends_has_a_span_too(
    database: Database, status: str
) -> None:
    """A plain UPDATE ends an attempt as the functions do."""
    await insert(database)
    await database.fetch(CLAIM, "gpu-1", CAN)
    await database.execute("UPDATE processing_queue SET status = $1", status)

    spans = await traced_round(database)

    assert one(spans, "process").attributes[semconv.REVEILLE_REASON] == f"status_{status}"
    assert len(build(spans)) == 1


async def test_attempts_are_taken_once_and_also_where_nothing_is_traced(database: Database) -> None:
    """What no collector wants does not pile up, and nothing is written twice."""
    task_id = await insert(database)
    await database.fetch(CLAIM, "gpu-1", CAN)
    await database.execute("SELECT complete_task($1, true)", task_id)
    async with monitoring(database) as monitor:
        await monitor.round()
    assert await database.fetchval("SELECT count(*) FROM untraced_attempts") == 0
    assert await traced_round(database) == ()


async def test_rows_with_impossible_times_neither_end_the_monitor_nor_the_export(
    database: Database,
) -> None:
    """What others wrote into the columns is told as far as it can be, and the next task is told too."""
    for moment in ("1960-01-01", "2090-01-01", None):
        await insert(database)
        await database.fetch(CLAIM, "gpu-1", CAN)
        await database.execute(
            "UPDATE processing_queue SET started_at = $1::text::timestamptz, "
            "claimable_at = $1::text::timestamptz WHERE status = 'processing'",
            moment,
        )
        await database.execute(
            "SELECT complete_task(id, true) FROM processing_queue WHERE status = 'processing'"
        )
    spans = await traced_round(database)
    assert len([span for span in spans if span.name.startswith("process")]) == 3


async def test_backend_that_samples_a_trace_out_is_followed(database: Database) -> None:
    """Its decision holds for what is written after the fact as well."""
    await database.execute(
        "INSERT INTO processing_queue (document_id, task_type, traceparent) VALUES (1, 'visual_analysis', $1)",
        f"00-{'ab' * 16}-{'cd' * 8}-00",
    )
    task_id = (await database.fetchrow(CLAIM, "gpu-1", CAN) or {})["task_id"]
    await database.execute("SELECT complete_task($1, true)", task_id)
    assert await traced_round(database) == ()


async def test_workers_own_ends_leave_nothing_to_be_written(database: Database) -> None:
    """A worker that lives writes its spans itself, also when its task is taken away."""
    await database.execute(
        "INSERT INTO processing_servers (id, server_type, capabilities, has_presence) "
        "VALUES ('w-1', 'visual_container', $1, true)",
        CAN,
    )
    await insert(database)
    await database.fetch(CLAIM, "w-1", CAN)
    await database.execute("UPDATE processing_queue SET status = 'cancelled'")
    assert await database.fetchval("SELECT count(*) FROM untraced_attempts") == 0


@pytest.mark.parametrize(("heard_after_seconds", "names"), [(20, 1), (1, 3)])
async def test_dead_workers_attempt_is_written_with_what_it_cannot_have_sent(
    database: Database, heard_after_seconds: int, names: int
) -> None:
    """A worker killed within its first export took `send` and `queued` with it; a later one did not."""
    await database.execute(
        "INSERT INTO processing_servers (id, server_type, capabilities, has_presence) "
        "VALUES ('w-1', 'visual_container', $1, true)",
        CAN,
    )
    await insert(database)
    await database.fetch(CLAIM, "w-1", CAN)
    await database.execute(
        "UPDATE processing_queue SET started_at = reveille_now() - interval '90 seconds'"
    )
    await database.execute(
        "UPDATE processing_servers SET status = 'lost', last_heartbeat = reveille_now() "
        "- interval '90 seconds' + make_interval(secs => $1)",
        heard_after_seconds,
    )

    spans = await traced_round(database)

    process = one(spans, "process")
    assert process.attributes[semconv.ERROR_TYPE] == "server_lost"
    assert process.attributes[semconv.REVEILLE_SERVER_ID] == "w-1"
    in_trace = [span for span in spans if span.trace_id == process.trace_id]
    assert len(in_trace) == names
    row = await database.fetchrow("SELECT status, process_traceparent FROM processing_queue")
    assert row is not None
    assert (row["status"], process.span_id in row["process_traceparent"]) == ("queued", True)


@pytest.mark.parametrize(
    "context", ["00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", "nonsense", None]
)
async def test_database_and_program_agree_on_the_id_of_a_process_span(
    database: Database, context: str | None
) -> None:
    """The link that SQL writes leads to the span that Python writes."""
    lease_token: Any = 123_456_789
    written = await database.fetchval(
        "SELECT reveille_process_traceparent($1, $2)", context, lease_token
    )
    creation = parse(context)
    expected = (
        format_traceparent(process_context(creation, lease_token)) if creation is not None else None
    )
    assert written == expected
