"""The small collector: what it takes, what it refuses, and how much it keeps."""

import asyncio
import gzip
from collections.abc import AsyncIterator

import aiohttp
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1 import trace_pb2

from reveille import otlp_sink
from reveille.otlp_sink import OtlpSink
from reveille.span import Span

PROTOBUF = {"Content-Type": "application/x-protobuf"}


def request_of(*numbers: int) -> bytes:
    """An OTLP request with a span per number."""
    message = ExportTraceServiceRequest()
    group = message.resource_spans.add()
    name = group.resource.attributes.add(key="service.name")
    name.value.string_value = "backend"
    for number in numbers:
        span = group.scope_spans.add().spans.add(name=f"span {number}")
        span.kind = trace_pb2.Span.SPAN_KIND_PRODUCER
        span.trace_id, span.span_id = bytes([7] * 16), number.to_bytes(8)
        span.start_time_unix_nano, span.end_time_unix_nano = 1_000, 3_000
        span.attributes.add(key="flag").value.bool_value = True
        span.attributes.add(key="size").value.int_value = 5
        span.attributes.add(key="none")
        tags = span.attributes.add(key="tags").value.array_value
        tags.values.add().string_value = "a"
        link = span.links.add(trace_id=bytes([8] * 16), span_id=bytes([9] * 8))
        link.attributes.add(key="why").value.string_value = "because"
        span.status.code = trace_pb2.Status.STATUS_CODE_ERROR
        span.status.message = "broken"
    return message.SerializeToString()


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    """A client."""
    async with aiohttp.ClientSession() as session:
        yield session


async def post(http: aiohttp.ClientSession, sink: OtlpSink, body: bytes, **headers: str) -> int:
    """The status of a POST to the sink."""
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    async with http.post(f"{sink.url}/v1/traces", data=body, headers=PROTOBUF | names) as answer:
        return answer.status


async def test_span_of_any_client_is_kept_with_all_its_parts(http: aiohttp.ClientSession) -> None:
    """A backend in another language sends its spans to the same sink."""
    async with OtlpSink() as sink:
        assert await post(http, sink, request_of(1)) == 200
        (span,) = sink.spans
    assert span == Span(
        trace_id="07" * 16,
        span_id="0000000000000001",
        name="span 1",
        kind="producer",
        service="backend",
        start_ns=1_000,
        end_ns=3_000,
        attributes={"flag": True, "size": 5, "none": None, "tags": ["a"]},
        links=span.links,
        status="error",
        status_message="broken",
    )
    (link,) = span.links
    assert (link.trace_id, link.span_id) == ("08" * 16, "09" * 8)
    assert link.attributes == {"why": "because"}
    assert span.duration_seconds == 2e-6


async def test_refused_bodies_leave_the_sink_running(http: aiohttp.ClientSession) -> None:
    """Garbage, JSON and a body beyond the limit are answered as what they are."""
    bomb = gzip.compress(bytes(otlp_sink.BODY_BYTES_MAX + 1))
    async with OtlpSink() as sink:
        assert await post(http, sink, b"\xff\xff garbage") == 400
        assert await post(http, sink, b"{}", Content_Type="application/json") == 415
        assert await post(http, sink, bomb, Content_Encoding="gzip") == 413
        packed = gzip.compress(request_of(1))
        assert await post(http, sink, packed, Content_Encoding="gzip") == 200
        assert len(sink.spans) == 1


async def test_oldest_spans_go_when_the_memory_is_full(http: aiohttp.ClientSession) -> None:
    """A collector that is left running for days stays small; a repeated batch takes no room."""
    async with OtlpSink(spans_max=3) as sink:
        await post(http, sink, request_of(1, 2))
        await post(http, sink, request_of(1, 2))
        await post(http, sink, request_of(3, 4))
        assert [span.name for span in sink.spans] == ["span 2", "span 3", "span 4"]
        assert len(sink.trace("07" * 16)) == 3
        assert sink.trace("08" * 16) == ()


async def test_waiting_ends_with_the_span_that_was_waited_for(http: aiohttp.ClientSession) -> None:
    """Tests wait on arrival, not on time."""
    async with OtlpSink() as sink:
        waiting = asyncio.create_task(sink.wait_for(lambda spans: len(spans) == 2))
        await post(http, sink, request_of(1))
        await post(http, sink, request_of(2))
        assert len(await waiting) == 2


async def test_waiting_in_vain_says_what_came_instead(http: aiohttp.ClientSession) -> None:
    """A failing test names the spans that it did get."""
    async with OtlpSink() as sink:
        await post(http, sink, request_of(1))
        with pytest.raises(TimeoutError, match=r"span 1"):
            await sink.wait_for(lambda spans: len(spans) == 2, timeout_seconds=0.05)
