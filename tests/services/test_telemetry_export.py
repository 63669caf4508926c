"""The export of spans where collectors are away, hang, come back, or are named in other ways."""

import asyncio
import os
import socket
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path

import pytest
import structlog
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

from reveille import semconv
from reveille.otlp_sink import OtlpSink
from reveille.span_export import QuietExporter
from reveille.telemetry import QUEUE_MAX, configure

# As neighbouring modules have theirs: made once, before any configuration.
TRACER = trace.get_tracer(semconv.SCOPE)


@pytest.fixture
async def sink() -> AsyncIterator[OtlpSink]:
    """A collector in this process."""
    async with OtlpSink() as running:
        yield running


@pytest.fixture
def nobody() -> Iterator[str]:
    """The URL of a port that refuses connections."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{taken.getsockname()[1]}"


@pytest.fixture
def silence() -> Iterator[str]:
    """The URL of a collector that accepts connections and never answers."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"


def emit(count: int) -> float:
    """Make spans; returns the seconds it took."""
    started = time.perf_counter()
    for _ in range(count):
        TRACER.start_span("work", attributes={"n": 1}).end()
    return time.perf_counter() - started


@pytest.mark.parametrize("collector", ["nobody", "silence"])
def test_collector_that_is_away_neither_blocks_nor_delays_the_end(
    collector: str, request: pytest.FixtureRequest
) -> None:
    """Spans are dropped, not waited for: 10,000 of them, and a shutdown within its time."""
    telemetry = configure("worker", otlp_endpoint=request.getfixturevalue(collector))
    assert emit(10_000) < 5  # 0.3 s measured alone on one core; a blocked export takes 5 s a batch
    started = time.perf_counter()
    assert not telemetry.shutdown(timeout_seconds=0.2)
    assert time.perf_counter() - started < 2
    assert telemetry.shutdown()


def test_waiting_spans_are_bounded(nobody: str) -> None:
    """A collector that is away for a day costs dropped spans, not memory."""
    telemetry = configure("worker", otlp_endpoint=nobody)
    emit(QUEUE_MAX + 2000)
    tracers = telemetry._tracers
    assert tracers is not None
    (processor,) = tracers._active_span_processor._span_processors
    assert len(processor._batch_processor._queue) <= QUEUE_MAX  # type: ignore[attr-defined]
    telemetry.shutdown(timeout_seconds=0)


def _resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="memory is read from /proc")
def test_memory_stays_flat_however_long_the_collector_is_away(
    silence: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An hour's spans, by their number and not by waiting: twenty queues full take no more room than two."""
    queue_max = 512
    monkeypatch.setattr("reveille.telemetry.QUEUE_MAX", queue_max)
    monkeypatch.setattr("reveille.telemetry.BATCH_MAX", 64)
    telemetry = configure("worker", otlp_endpoint=silence)

    def fill(queues: int) -> None:
        for n in range(queues * queue_max):
            attributes = {f"a{k}": f"{n} {k} " * 400 for k in range(8)}
            TRACER.start_span("work", attributes=attributes).end()

    fill(2)
    full = _resident_bytes()
    fill(20)
    grown = _resident_bytes() - full
    telemetry.shutdown(timeout_seconds=0)
    # 25 KiB a span: all of them would be 250 MiB, what may wait is 13.
    assert grown < 60 * 2**20


async def test_spans_cost_no_more_while_the_collector_is_away(sink: OtlpSink, silence: str) -> None:
    """The work goes on at its pace: what a span takes of the worker's own thread is the same."""
    seconds = {}
    for name, url in (("there", sink.url), ("away", silence)):
        telemetry = configure("worker", otlp_endpoint=url)
        await asyncio.to_thread(emit, 500)  # imports, caches
        seconds[name] = min([await asyncio.to_thread(_thread_seconds, 3000) for _ in range(3)])
        await telemetry.aclose(timeout_seconds=0.1)
    assert seconds["away"] < 2 * seconds["there"]


def _thread_seconds(count: int) -> float:
    """Processor time of this thread, which other load does not change."""
    began = time.thread_time()
    emit(count)
    return time.thread_time() - began


class Flaky(SpanExporter):
    """An exporter whose collector is away or there, as the test says."""

    there = False

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Take a batch, or not."""
        return SpanExportResult.SUCCESS if self.there else SpanExportResult.FAILURE


def test_collector_that_goes_and_comes_back_is_said_once_each() -> None:
    """A night without a collector is two log lines, and the second says what was lost."""
    inner = Flaky()
    exporter = QuietExporter(inner, "somewhere")
    with structlog.testing.capture_logs() as logs:
        for there in (False, False, True, True, False):
            inner.there = there
            exporter.export([ReadableSpan("work")] * 3)
    assert [(line["event"], line.get("spans_lost")) for line in logs] == [
        ("trace_export_down", None),
        ("trace_export_back", 6),
        ("trace_export_down", None),
    ]


async def test_tracers_follow_a_new_configuration(sink: OtlpSink) -> None:
    """A module's tracer, made at import, exports to whatever is configured at the time."""
    emit(1)
    first = configure("first", otlp_endpoint=sink.url)
    emit(1)
    assert await first.aclose()
    emit(1)
    second = configure("second", otlp_endpoint=sink.url)
    emit(1)
    assert await second.aclose()
    assert [span.service for span in sink.spans] == ["first", "second"]


async def test_late_shutdown_of_the_first_leaves_the_second_running(sink: OtlpSink) -> None:
    """Two services in one process may end in any order."""
    first = configure("first", otlp_endpoint=sink.url)
    second = configure("second", otlp_endpoint=sink.url)
    await first.aclose()
    emit(1)
    assert await second.aclose()
    assert [span.service for span in sink.spans] == ["second"]


@pytest.mark.parametrize("suffix", ["", "/", "/v1/traces"])
async def test_endpoint_may_be_given_with_or_without_the_path(sink: OtlpSink, suffix: str) -> None:
    """Both habits of writing an OTLP endpoint work."""
    telemetry = configure("worker", otlp_endpoint=sink.url + suffix)
    emit(1)
    assert await telemetry.aclose()
    assert len(sink.spans) == 1


async def test_standard_variables_count_where_ours_is_not_set(
    sink: OtlpSink, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Platforms that inject OTEL_* need no setting of ours; compression is part of that."""
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", sink.url)
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip")
    telemetry = configure("worker")
    emit(2)
    assert await telemetry.aclose()
    assert len(sink.spans) == 2


async def test_proxy_of_the_environment_is_not_asked_for_a_local_collector(
    sink: OtlpSink, monkeypatch: pytest.MonkeyPatch, nobody: str
) -> None:
    """The demo's own collector is reached on machines that have HTTP_PROXY set."""
    monkeypatch.setenv("HTTP_PROXY", nobody)
    monkeypatch.setenv("http_proxy", nobody)
    telemetry = configure("worker", otlp_endpoint=sink.url)
    emit(1)
    assert await telemetry.aclose()
    assert len(sink.spans) == 1


async def test_flush_sends_what_has_ended(sink: OtlpSink) -> None:
    """The demo can show the trace of a task that has just finished, without stopping."""
    telemetry = configure("worker", otlp_endpoint=sink.url)
    emit(700)
    assert await telemetry.flush()
    assert len(sink.spans) == 700
    assert await telemetry.aclose()
    assert await telemetry.flush()


async def test_ended_span_arrives_without_being_asked_for(sink: OtlpSink) -> None:
    """A worker exports while it runs: what a kill can lose is the last second."""
    telemetry = configure("worker", otlp_endpoint=sink.url)
    emit(1)
    await sink.wait_for(lambda spans: len(spans) == 1, timeout_seconds=20)
    assert await telemetry.aclose()


async def test_process_is_named_in_every_span(sink: OtlpSink) -> None:
    """The tree colours by service."""
    telemetry = configure("visual_worker", otlp_endpoint=sink.url, instance_id="gpu-1")
    await asyncio.to_thread(emit, 1)
    assert await telemetry.aclose()
    assert sink.spans[0].service == "visual_worker"
