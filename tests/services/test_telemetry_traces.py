"""A task's trace, made by the real exporter and read from a real sink over HTTP."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
import structlog
from opentelemetry import trace

from reveille import semconv
from reveille.cold_start import ColdStart, trace_cold_start
from reveille.errors import LeaseLost
from reveille.logs import add_trace, speak_for
from reveille.otlp_sink import OtlpSink
from reveille.outcome import Done, Reject, Release, Retry
from reveille.span import Span
from reveille.task import Claim
from reveille.telemetry import Telemetry, configure
from reveille.trace_context import creation_of, to_ns
from reveille.trace_tree import build
from reveille.tracing import ambient_span, request_span, sweep_span, trace_attempt, trace_send

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
TRACE_ID = "0af7651916cd43dd8448eb211c80319c"
SPAN_ID = "b7ad6b7169203331"
CLAIM = Claim(
    task_id=7,
    lease_token=99,
    document_id=42,
    task_type="visual_analysis",
    priority=1,
    attempt=1,
    max_retries=3,
    timeout_seconds=60,
    created_at=NOW,
    claimable_at=NOW + timedelta(seconds=1),
    started_at=NOW + timedelta(seconds=5),
    traceparent=f"00-{TRACE_ID}-{SPAN_ID}-01",
    tracestate="reveille=minted",
)
BACKENDS = replace(CLAIM, tracestate=None)


@pytest.fixture
async def sink() -> AsyncIterator[OtlpSink]:
    """A collector in this process."""
    async with OtlpSink() as running:
        yield running


@asynccontextmanager
async def traced(
    sink: OtlpSink, service: str = "visual_worker", ratio: float = 1.0
) -> AsyncIterator[Telemetry]:
    """A process's life: spans made inside have reached the sink afterwards."""
    telemetry = configure(service, otlp_endpoint=sink.url, sample_ratio=ratio)
    try:
        yield telemetry
    finally:
        assert await telemetry.aclose()


def attempt(claim: Claim, work: Callable[[], None] = lambda: None) -> str | None:
    """One successful attempt; returns what the store would keep for the next one."""
    with trace_attempt(claim, server_id="gpu-1", pool="visual") as process:
        work()
        process.settled(Done())
        return process.traceparent


def named(sink: OtlpSink, name: str) -> list[Span]:
    """The spans of that name, in order of arrival."""
    return [span for span in sink.spans if span.name == name]


def assert_one_connected_trace(sink: OtlpSink) -> Span:
    """All spans of the sink hang on one root, which is returned."""
    (root,) = build(sink.spans)
    assert not root.orphan
    return root.span


async def test_first_attempt_of_an_untraced_insert_is_one_trace(sink: OtlpSink) -> None:
    """A plain psql INSERT is seen from send to settle, under the ids that its row bears."""

    def work() -> None:
        with ambient_span("render page"), ambient_span("below"):
            pass
        with ambient_span("settle"):
            pass

    async with traced(sink):
        attempt(CLAIM, work)

    root = assert_one_connected_trace(sink)
    assert (root.name, root.kind) == ("send visual_analysis", "producer")
    assert (root.trace_id, root.span_id) == (TRACE_ID, SPAN_ID)
    assert root.start_ns == to_ns(CLAIM.created_at)
    (queued,) = named(sink, "queued visual_analysis")
    assert (queued.start_ns, queued.end_ns) == (to_ns(CLAIM.claimable_at), to_ns(CLAIM.started_at))
    (process,) = named(sink, "process visual_analysis")
    assert (process.kind, process.parent_span_id) == ("consumer", SPAN_ID)
    assert [(link.trace_id, link.span_id) for link in process.links] == [(TRACE_ID, SPAN_ID)]
    assert {span.name for span in sink.spans if span.parent_span_id == process.span_id} == {
        "render page",
        "settle",
    }


async def test_process_span_says_what_was_done_for_whom(sink: OtlpSink) -> None:
    """The attributes by which a trace is searched, and that a task's trace is searched for."""
    async with traced(sink):
        attempt(CLAIM)
    (process,) = named(sink, "process visual_analysis")
    expected = {
        semconv.MESSAGING_SYSTEM: "reveille",
        semconv.MESSAGING_OPERATION_TYPE: "process",
        semconv.MESSAGING_DESTINATION_NAME: "visual_analysis",
        semconv.MESSAGING_MESSAGE_ID: "7",
        semconv.REVEILLE_TASK_ID: 7,
        semconv.REVEILLE_DOCUMENT_ID: 42,
        semconv.REVEILLE_ATTEMPT: 1,
        semconv.REVEILLE_SERVER_ID: "gpu-1",
        semconv.REVEILLE_POOL: "visual",
        semconv.REVEILLE_OUTCOME: "done",
    }
    assert process.attributes.items() >= expected.items()
    assert (process.service, process.status) == ("visual_worker", "unset")


async def test_retry_in_another_process_joins_the_trace_and_links_back(sink: OtlpSink) -> None:
    """Attempts are siblings in one trace, and the root is written only once."""
    async with traced(sink, "first"):
        with trace_attempt(CLAIM, server_id="gpu-1", pool="visual") as process:
            process.settled(Retry(reason="model_busy", error="the model server is busy"))
            previous = process.traceparent
    async with traced(sink, "second"):
        attempt(replace(CLAIM, attempt=2, lease_token=100, previous_traceparent=previous))

    assert_one_connected_trace(sink)
    assert len(named(sink, "send visual_analysis")) == 1
    assert len(named(sink, "queued visual_analysis")) == 2
    failed, done = named(sink, "process visual_analysis")
    assert (failed.service, failed.status) == ("first", "error")
    assert failed.attributes[semconv.ERROR_TYPE] == "model_busy"
    assert failed.status_message == "the model server is busy"
    kinds = {link.span_id: link.attributes[semconv.REVEILLE_LINK_KIND] for link in done.links}
    assert kinds == {SPAN_ID: "creation", failed.span_id: "previous_attempt"}


async def test_released_task_does_not_get_a_second_root(sink: OtlpSink) -> None:
    """A drain gives the task back with the same attempt number; its root exists already."""
    async with traced(sink):
        with trace_attempt(CLAIM, server_id="gpu-1", pool="visual") as process:
            process.settled(Release())
            previous = process.traceparent
        attempt(replace(CLAIM, lease_token=100, previous_traceparent=previous))
    assert_one_connected_trace(sink)
    assert len(named(sink, "send visual_analysis")) == 1
    assert named(sink, "process visual_analysis")[0].status == "unset"


@pytest.mark.parametrize("garbage", [None, "nonsense", "00-" + "0" * 32 + "-" + SPAN_ID + "-01"])
async def test_attempts_of_a_task_with_a_broken_context_share_a_trace(
    sink: OtlpSink, garbage: str | None
) -> None:
    """Whatever the column holds, there is one trace, and it has a root."""
    claim = replace(CLAIM, traceparent=garbage, tracestate=garbage)
    async with traced(sink):
        attempt(claim)
    async with traced(sink):
        attempt(replace(claim, attempt=2, lease_token=100))
    assert assert_one_connected_trace(sink).name == "send visual_analysis"
    assert len(sink.spans) == 5


async def test_backends_own_span_is_the_parent_and_is_not_written_again(sink: OtlpSink) -> None:
    """A traced backend keeps its span; ours hang below it."""
    async with traced(sink):
        attempt(BACKENDS)
    assert {span.name.split()[0] for span in sink.spans} == {"queued", "process"}
    assert {(span.trace_id, span.parent_span_id) for span in sink.spans} == {(TRACE_ID, SPAN_ID)}


async def test_task_of_a_pipeline_links_the_tasks_it_waited_for(sink: OtlpSink) -> None:
    """Each task has its own trace; links lead from one to the next."""
    parent = f"00-{'ab' * 16}-{'cd' * 8}-01"
    async with traced(sink):
        with trace_attempt(CLAIM, server_id="s", pool="text", parents=[parent, None, "broken"]):
            pass
    (process,) = named(sink, "process visual_analysis")
    parents = [
        link.trace_id
        for link in process.links
        if link.attributes[semconv.REVEILLE_LINK_KIND] == semconv.LINK_PARENT_TASK
    ]
    assert parents == ["ab" * 16]


async def test_send_by_the_gateway_is_the_creation_context(sink: OtlpSink) -> None:
    """Our own INSERT hands its span to the row, below the request that asked for it."""
    async with traced(sink, "queue_gateway"):
        with (
            request_span("POST", "/api/tasks", traceparent=CLAIM.traceparent),
            trace_send("visual_analysis", 42) as send,
        ):
            send.sent(8)
        claim = replace(CLAIM, task_id=8, traceparent=send.traceparent, tracestate=None)
        attempt(claim)
    (request,) = named(sink, "POST /api/tasks")
    (sent,) = named(sink, "send visual_analysis")
    (process,) = named(sink, "process visual_analysis")
    assert (request.kind, request.trace_id, request.parent_span_id) == ("server", TRACE_ID, SPAN_ID)
    assert (sent.parent_span_id, process.parent_span_id) == (request.span_id, sent.span_id)
    assert sent.attributes[semconv.MESSAGING_MESSAGE_ID] == "8"


async def test_cold_start_is_in_the_trace_of_the_task_that_waited(sink: OtlpSink) -> None:
    """Why the first task of the day took long is seen in its own trace."""
    start = ColdStart(
        container="reveille-visual-1",
        pool="visual",
        provider="process",
        intended_at=NOW,
        creating_at=NOW + timedelta(seconds=1),
        booting_at=NOW + timedelta(seconds=2),
        ended_at=NOW + timedelta(seconds=5),
    )
    creation = creation_of(
        task_id=CLAIM.task_id,
        created_at=CLAIM.created_at,
        traceparent=CLAIM.traceparent,
        tracestate=CLAIM.tracestate,
    )
    async with traced(sink, "autoscaler"):
        trace_cold_start(start, creation)
    async with traced(sink):
        attempt(CLAIM)
    assert_one_connected_trace(sink)
    (cold,) = named(sink, "container cold start")
    assert cold.parent_span_id == SPAN_ID
    phases = {
        span.name: span.duration_seconds
        for span in sink.spans
        if span.parent_span_id == cold.span_id
    }
    assert phases == {"container intended": 1, "container creating": 1, "container booting": 3}


async def test_failed_cold_start_is_an_error_as_far_as_it_came(sink: OtlpSink) -> None:
    """A provider without GPUs shows as such, with the phases it never reached left out."""
    start = ColdStart(
        container="c",
        pool="visual",
        provider="process",
        intended_at=NOW,
        ended_at=NOW + timedelta(seconds=3),
        error="no capacity",
    )
    creation = creation_of(task_id=1, created_at=NOW, traceparent=CLAIM.traceparent)
    async with traced(sink):
        trace_cold_start(start, creation)
    (cold,) = named(sink, "container cold start")
    assert (cold.status, cold.status_message) == ("error", "no capacity")
    assert {span.name for span in sink.spans} == {"container cold start", "container intended"}


@pytest.mark.parametrize("error", [LeaseLost("gone"), ValueError("bad"), asyncio.CancelledError()])
async def test_attempt_that_breaks_off_is_marked_and_the_error_passes(
    sink: OtlpSink, error: BaseException
) -> None:
    """A crash in a handler is visible in the trace, and is not swallowed by it."""
    async with traced(sink):
        with (
            pytest.raises(type(error)),
            trace_attempt(CLAIM, server_id="gpu-1", pool="visual"),
        ):
            raise error
    (process,) = named(sink, "process visual_analysis")
    assert process.status == "error"
    assert process.attributes[semconv.ERROR_TYPE] == type(error).__name__


async def test_rejection_marks_the_span_with_its_reason(sink: OtlpSink) -> None:
    """A hostile deck's endless error sentence does not fill the collector."""
    async with traced(sink):
        with trace_attempt(CLAIM, server_id="gpu-1", pool="visual") as process:
            process.settled(Reject(reason="not_a_pdf", error="x" * 10_000))
    (span,) = named(sink, "process visual_analysis")
    assert span.attributes[semconv.ERROR_TYPE] == "not_a_pdf"
    assert len(span.status_message) == 500


async def test_statement_outside_of_a_trace_makes_none(sink: OtlpSink) -> None:
    """Heartbeats and looks at an empty queue must not fill the collector with one-span traces."""
    async with traced(sink):
        with ambient_span("heartbeat") as span:
            assert not span.is_recording()
    assert sink.spans == ()


async def test_sweep_is_a_trace_of_its_own_with_links(sink: OtlpSink) -> None:
    """Work on many tasks belongs to none of their traces, but is found from them."""
    async with traced(sink):
        with sweep_span("outer"), sweep_span("expire leases", affected=[CLAIM.traceparent]):
            pass
    (sweep,) = named(sink, "expire leases")
    assert sweep.parent_span_id is None
    assert [link.trace_id for link in sweep.links] == [TRACE_ID]


async def test_concurrent_attempts_keep_their_spans_apart(sink: OtlpSink) -> None:
    """Ten tasks in one event loop do not become each other's children."""
    claims = [
        replace(CLAIM, task_id=n, traceparent=f"00-{n:032x}-{n:016x}-01") for n in range(1, 11)
    ]
    together = asyncio.Barrier(len(claims))

    async def work(claim: Claim) -> None:
        with trace_attempt(claim, server_id="gpu-1", pool="visual"):
            await together.wait()
            with ambient_span("chat"):
                await together.wait()

    async with traced(sink):
        await asyncio.gather(*map(work, claims))
    roots = build(sink.spans)
    assert [int(root.span.trace_id, 16) for root in roots] == list(range(1, 11))
    for root in roots:
        assert {node.span.name.split()[0] for node in root.children} == {"queued", "process"}
    assert len(named(sink, "chat")) == 10


async def test_ratio_zero_drops_minted_traces_but_follows_the_backend(sink: OtlpSink) -> None:
    """Where nobody decided the setting does; where the backend decided, the backend does."""
    async with traced(sink, ratio=0.0):
        assert attempt(CLAIM) is None
        assert attempt(BACKENDS) is not None
    assert {span.parent_span_id for span in sink.spans} == {SPAN_ID}
    assert {span.name.split()[0] for span in sink.spans} == {"queued", "process"}


async def test_what_happens_inside_an_attempt_that_is_not_sampled_is_not_kept_either(
    sink: OtlpSink,
) -> None:
    """A rendered page's span would else begin a trace of its own, and be sampled by its own dice."""
    out = replace(CLAIM, traceparent=f"00-{'f' * 32}-{SPAN_ID}-01")
    tracer = trace.get_tracer(semconv.SCOPE)
    async with traced(sink, ratio=0.5):
        for _ in range(30):
            with (
                trace_attempt(out, server_id="gpu-1", pool="visual") as process,
                tracer.start_as_current_span("render page"),
            ):
                process.settled(Done())
    assert not sink.spans


async def test_without_a_collector_nothing_is_recorded_but_the_trace_id_is_known(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Logs lead to the backend's trace also where Reveille exports none itself."""
    monkeypatch.delenv("OTEL_EXPORTER_OTLP_ENDPOINT", raising=False)
    monkeypatch.delenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", raising=False)
    telemetry = configure("visual_worker")
    assert not telemetry.tracing
    with trace_attempt(CLAIM, server_id="gpu-1", pool="visual") as process:
        assert not trace.get_current_span().is_recording()
        speak_for(CLAIM, server_id="gpu-1")
        assert add_trace(structlog.get_logger(), "info", {})["trace_id"] == TRACE_ID
        process.settled(Done())
    assert process.traceparent is None
    with trace_send("visual_analysis", 42) as send:
        assert send.traceparent is None
    assert telemetry.shutdown()
