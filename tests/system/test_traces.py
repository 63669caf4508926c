"""Traces of real processes, read from a real collector's mouth: whole, with the right parents, and nothing else."""

import json
import os
import signal
from itertools import pairwise
from pathlib import Path
from typing import Any

from aiohttp import ClientSession
from tests.providers.verda_fake import CLIENT_ID, CLIENT_SECRET
from tests.system.test_scaling_verda import account
from tests.system.test_workers import add_document, insert, until

from model_stub.server import Stub
from queue_gateway.testing import running_gateway
from reveille import semconv
from reveille.otlp_sink import OtlpSink
from reveille.testing import Database, eventually
from reveille.trace_tree import build

CALLER_TRACE, CALLER_SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
CALLER = {"traceparent": f"00-{CALLER_TRACE}-{CALLER_SPAN}-01"}


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
        processes.start("autoscaler", **told, provider="static")  # no container joins in
        await processes.worker("visual_worker", "v1", **told)
        worker = await processes.worker("text_worker", "t1", **told, slots=4)
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
    logged = [json.loads(line) for line in worker.log_path.read_text().splitlines()]
    about_tasks = [line for line in logged if "task_id" in line]
    assert {line["task_id"] for line in about_tasks} == ids - {min(ids), min(ids) + 1}
    assert all(line["trace_id"] == trace_of[line["task_id"]] for line in about_tasks)


async def test_task_of_the_gateway_and_its_retry_are_in_the_callers_trace(
    database: Database, processes: Any, stub: Stub, deck: bytes
) -> None:
    """From the backend's span by HTTP, queue and two attempts to the settle: one trace, and a log that names it."""
    stub.faults.add("error_500_eof", times=1, contains="[page 3")
    async with OtlpSink() as sink:
        told = {"otlp_endpoint": sink.url}
        processes.start("heartbeat_monitor", tick_seconds=0.05, **told)
        worker = await processes.worker("visual_worker", "v1", backoff_base_seconds=0.1, **told)
        document_id = await add_document(database, deck)
        async with running_gateway(database.dsn, otlp_endpoint=sink.url) as gateway:
            asked = {"document_id": document_id, "task_type": "visual_analysis"}
            task_id = (await gateway.post("/api/tasks", asked, 201, headers=CALLER))["id"]
            await until(database, task_id, "completed")
            await gateway.service.telemetry.flush()
        await sink.wait_for(
            lambda _: _attempts(sink, CALLER_TRACE) == {("retry", "v1"), ("done", "v1")}, 20
        )
        spans, (root,) = sink.trace(CALLER_TRACE), build(sink.spans)

    assert (root.span.name, root.span.parent_span_id) == ("POST /api/tasks", CALLER_SPAN)
    (send,) = root.children
    below = [node.span for node in send.children]
    assert [span.name.split()[0] for span in below] == ["queued", "process", "queued", "process"]
    waited, failed, waited_again, done = below
    assert (failed.status, done.status) == ("error", "unset")
    assert failed.attributes[semconv.ERROR_TYPE]
    assert failed.span_id in {link.span_id for link in done.links}
    assert waited.end_ns <= failed.end_ns <= waited_again.end_ns <= done.end_ns
    assert {span.attributes[semconv.REVEILLE_TASK_ID] for span in below} == {task_id}
    work = [node.span.name for node in send.children[3].children]
    assert work[:2] == ["fetch document", "open document"]
    assert (set(work[2:-1]), work[-1]) == ({"render page", "chat llava"}, "settle")
    (fetched,) = [
        s for s in spans if s.name == "fetch document" and s.parent_span_id == done.span_id
    ]
    assert fetched.attributes[semconv.REVEILLE_DOCUMENT_BYTES] == len(deck)
    logged = [json.loads(line) for line in worker.log_path.read_text().splitlines()]
    settled = [line for line in logged if line["event"] == "task_settled"]
    assert [line["attempt"] for line in settled] == [1, 2]
    assert {(line["task_id"], line["trace_id"]) for line in settled} == {(task_id, CALLER_TRACE)}


async def test_direct_call_of_a_worker_is_one_trace(
    database: Database, processes: Any, deck: bytes
) -> None:
    """Pages and model calls of a request that no task stands for hang below that request, and the caller."""
    async with OtlpSink() as sink, ClientSession() as http:
        await processes.worker("visual_worker", "v1", otlp_endpoint=sink.url)
        url = await database.fetchval("SELECT http_url FROM processing_servers")
        asked = {"document_id": await add_document(database, deck)}
        for headers, status in ((CALLER, 200), ({}, 422)):
            body = asked if status == 200 else {"document": 1}
            path = f"{url}/api/visual-analysis"
            async with http.post(path, json=body, headers=headers) as answer:
                assert answer.status == status, await answer.text()
        await sink.wait_for(lambda spans: sum(not s.parent_span_id for s in spans) == 1, 20)
        roots = build(sink.spans)

    called, refused = (root.span for root in roots)
    assert (called.trace_id, called.parent_span_id) == (CALLER_TRACE, CALLER_SPAN)
    assert called.name == refused.name == "POST /api/visual-analysis"
    assert [span.attributes["http.response.status_code"] for span in (called, refused)] == [
        200,
        422,
    ]
    names = {node.span.name for node in roots[0].children}
    assert names == {"fetch document", "open document", "render page", "chat llava"}


async def test_wait_for_a_cold_start_is_in_the_trace_phase_by_phase(
    database: Database, processes: Any, deck: bytes, tmp_path: Path
) -> None:
    """From the INSERT without any worker: GPU, image, start and load are bars within the wait."""
    scaling = tmp_path / "scaling.yaml"
    scaling.write_text("visual_container_scaling: {offers: [{gpu: H100}]}\n")
    async with OtlpSink() as sink, account(tmp_path) as (url, verda, _):
        verda.capacity["H100"] = 0
        processes.start(
            "autoscaler",
            otlp_endpoint=sink.url,
            provider="verda",
            verda_url=url,
            verda_client_id=CLIENT_ID,
            verda_client_secret=CLIENT_SECRET,
            verda_image="registry.test/{pool}:1",
            scaling_file=scaling,
            lone_task_delay_seconds=0,
            look_seconds=0.2,
        )
        task_id = await insert(database, await add_document(database, deck), "visual_analysis")
        await eventually(lambda: bool(verda.deployments), within_seconds=30)
        verda.capacity.pop("H100")
        verda.step()
        row = await until(database, task_id, "completed")
        trace_id = row["traceparent"].split("-")[1]
        await sink.wait_for(lambda _: _attempts(sink, trace_id) != set(), 30)
        await sink.wait_for(
            lambda _: any(s.name == "container cold start" for s in sink.trace(trace_id))
        )
        (root,) = build(sink.trace(trace_id))

    below = {node.span.name: node for node in root.children}
    cold, queued = below["container cold start"], below["queued visual_analysis"].span
    phases = [node.span for node in cold.children]
    assert [phase.name for phase in phases[:2]] == ["container intended", "container creating"]
    assert {phase.name for phase in phases} >= {"container starting", "container loading"}
    for earlier, later in pairwise(phases):
        assert abs(later.start_ns - earlier.end_ns) <= 1000
    assert queued.start_ns <= cold.span.start_ns < queued.end_ns
