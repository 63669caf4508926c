"""Traces of real processes, read from a real collector's mouth: whole, with the right parents, and nothing else."""

import os
import signal
from typing import Any

from tests.system.test_workers import add_document, insert, until

from model_stub.server import Stub
from reveille import semconv
from reveille.otlp_sink import OtlpSink
from reveille.testing import Database
from reveille.trace_tree import build


async def test_task_whose_worker_is_killed_stays_one_trace(
    database: Database, processes: Any, stub: Stub, deck: bytes
) -> None:
    """Pages that a dead worker rendered hang below its attempt, which the monitor wrote for it."""
    stub.faults.add("slow", seconds=1.0, times=100, contains="[page")
    async with OtlpSink() as sink:
        told = {"otlp_endpoint": sink.url}
        processes.start("heartbeat_monitor", **told)
        first = await processes.worker("visual_worker", "v1", **told)
        task_id = await insert(database, await add_document(database, deck), "visual_analysis")
        await sink.wait_for(lambda spans: any(s.name.startswith("chat") for s in spans), 30)
        os.kill(first.process.pid, signal.SIGKILL)
        stub.faults.clear()
        await processes.worker("visual_worker", "v2", **told)
        row = await until(database, task_id, "completed")
        trace_id = row["traceparent"].split("-")[1]
        await sink.wait_for(lambda _: _attempts(sink, trace_id) == {("lost", "v1"), ("done", "v2")})

        (root,) = build(sink.trace(trace_id))

    assert root.span.name == "send visual_analysis"
    assert not root.orphan
    lost, done = (node for node in root.children if node.span.name.startswith("process"))
    assert {node.span.name.split()[0] for node in lost.children} >= {"chat"}
    assert lost.span.span_id in {link.span_id for link in done.span.links}


def _attempts(sink: OtlpSink, trace_id: str) -> set[tuple[object, object]]:
    return {
        (span.attributes.get(semconv.REVEILLE_OUTCOME), span.attributes[semconv.REVEILLE_SERVER_ID])
        for span in sink.trace(trace_id)
        if span.name.startswith("process")
    }


async def test_pipeline_is_linked_traces_and_idleness_is_silent(
    database: Database, processes: Any, deck: bytes
) -> None:
    """Eleven tasks by psql: a whole trace each, linked to those they waited for; nothing before, nothing beside."""
    async with OtlpSink() as sink:
        told = {"otlp_endpoint": sink.url, "http_port": 0}
        processes.start("heartbeat_monitor", **told, tick_seconds=0.05)
        processes.start("queue_gateway", **told)
        processes.start("autoscaler", **told)
        await processes.worker("visual_worker", "v1", **told)
        await processes.worker("text_worker", "t1", **told, slots=4)
        document_id = await add_document(database, deck)
        idle = sink.spans
        rows = await database.fetch("SELECT * FROM enqueue_document($1) AS id", document_id)
        ids = {row["id"] for row in rows}

        def all_ended(_: object) -> bool:
            return {
                span.attributes[semconv.REVEILLE_TASK_ID]
                for span in sink.spans
                if span.name.startswith("process")
            } == ids

        await sink.wait_for(all_ended, 60)
        roots = build(sink.spans)
        rows = await database.fetch(
            "SELECT id, depends_on, split_part(traceparent, '-', 2) AS trace FROM processing_queue"
        )

    assert idle == ()
    trace_of = {row["id"]: row["trace"] for row in rows}
    assert {root.span.trace_id for root in roots} == set(trace_of.values())
    assert len(roots) == len(ids) == 11
    assert all(root.span.name.startswith("send") for root in roots)
    for row in rows:
        (process,) = (span for span in sink.trace(row["trace"]) if span.name.startswith("process"))
        parents = {
            link.trace_id
            for link in process.links
            if link.attributes[semconv.REVEILLE_LINK_KIND] == semconv.LINK_PARENT_TASK
        }
        assert parents == {trace_of[parent] for parent in row["depends_on"] or ()}
