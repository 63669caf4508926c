"""A small collector: takes spans by OTLP over http/protobuf and keeps them in bounded memory.

`reveille demo` runs one, so that a trace can be shown where no Jaeger is; tests run one, so that
the real exporter is tested over real HTTP. It is no substitute for a collector: nothing is kept.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Iterable
from typing import Self

from aiohttp import web
from google.protobuf.message import DecodeError
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.trace.v1 import trace_pb2

from reveille import semconv
from reveille.span import AttributeValue, Span, SpanKind, SpanLink, SpanStatus
from reveille.span_export import TRACES_PATH

# A task makes some 60 spans of 2 kB: a thousand tasks, 120 MB at the very most.
SPANS_MAX = 60_000
# One batch of the exporter (512 spans) is under 1 MB; also the limit after decompression.
BODY_BYTES_MAX = 16 * 1024 * 1024
_PROTOBUF = "application/x-protobuf"

_KINDS: dict[int, SpanKind] = {
    trace_pb2.Span.SPAN_KIND_SERVER: "server",
    trace_pb2.Span.SPAN_KIND_CLIENT: "client",
    trace_pb2.Span.SPAN_KIND_PRODUCER: "producer",
    trace_pb2.Span.SPAN_KIND_CONSUMER: "consumer",
}
_STATUSES: dict[int, SpanStatus] = {
    trace_pb2.Status.STATUS_CODE_OK: "ok",
    trace_pb2.Status.STATUS_CODE_ERROR: "error",
}


class OtlpSink:
    """`async with OtlpSink() as sink:` listens on `sink.url` and fills `sink.spans`."""

    def __init__(
        self, *, host: str = "127.0.0.1", port: int = 0, spans_max: int = SPANS_MAX
    ) -> None:
        self._host = host
        self._port = port
        self._spans_max = spans_max
        # In order of arrival; a span that is sent twice (a retried batch) is kept once.
        self._spans: OrderedDict[tuple[str, str], Span] = OrderedDict()
        self._arrived = asyncio.Condition()
        self._runner: web.AppRunner | None = None

    async def __aenter__(self) -> Self:
        app = web.Application(client_max_size=BODY_BYTES_MAX)
        app.router.add_post(TRACES_PATH, self._receive)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
        await self._runner.setup()
        site = web.TCPSite(self._runner, self._host, self._port)
        await site.start()
        self._port = self._runner.addresses[0][1]
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._runner is not None:
            await self._runner.cleanup()

    @property
    def url(self) -> str:
        """What REVEILLE_OTLP_ENDPOINT is set to."""
        return f"http://{self._host}:{self._port}"

    @property
    def spans(self) -> tuple[Span, ...]:
        """All spans that are still held, in order of arrival."""
        return tuple(self._spans.values())

    def trace(self, trace_id: str) -> tuple[Span, ...]:
        """The spans of one trace (32 hex digits)."""
        return tuple(span for span in self._spans.values() if span.trace_id == trace_id)

    async def wait_for(
        self, predicate: Callable[[tuple[Span, ...]], bool], timeout_seconds: float = 10.0
    ) -> tuple[Span, ...]:
        """The spans, once the predicate holds for them. Raises TimeoutError, naming what came."""
        try:
            async with asyncio.timeout(timeout_seconds), self._arrived:
                await self._arrived.wait_for(lambda: predicate(self.spans))
        except TimeoutError:
            names = sorted({span.name for span in self._spans.values()})
            raise TimeoutError(f"not in {timeout_seconds} s; spans so far: {names}") from None
        return self.spans

    async def _receive(self, request: web.Request) -> web.Response:
        if request.content_type != _PROTOBUF:
            raise web.HTTPUnsupportedMediaType(text=f"send OTLP as {_PROTOBUF}\n")
        message = ExportTraceServiceRequest()
        try:
            message.ParseFromString(await request.read())
        except DecodeError:
            raise web.HTTPBadRequest(text="the body is not an OTLP trace request\n") from None
        async with self._arrived:
            for span in decode(message):
                self._spans[span.trace_id, span.span_id] = span
            while len(self._spans) > self._spans_max:
                self._spans.popitem(last=False)
            self._arrived.notify_all()
        answer = ExportTraceServiceResponse().SerializeToString()
        return web.Response(body=answer, content_type=_PROTOBUF)


def decode(message: ExportTraceServiceRequest) -> Iterable[Span]:
    """The spans of one OTLP request."""
    for group in message.resource_spans:
        service = str(_attributes(group.resource.attributes).get(semconv.SERVICE_NAME, "unknown"))
        for scope in group.scope_spans:
            for span in scope.spans:
                yield _span(span, service)


def _span(span: trace_pb2.Span, service: str) -> Span:
    return Span(
        trace_id=span.trace_id.hex(),
        span_id=span.span_id.hex(),
        parent_span_id=span.parent_span_id.hex() or None,
        name=span.name,
        kind=_KINDS.get(span.kind, "internal"),
        service=service,
        start_ns=span.start_time_unix_nano,
        end_ns=span.end_time_unix_nano,
        attributes=_attributes(span.attributes),
        links=tuple(
            SpanLink(link.trace_id.hex(), link.span_id.hex(), _attributes(link.attributes))
            for link in span.links
        ),
        status=_STATUSES.get(span.status.code, "unset"),
        status_message=span.status.message,
    )


def _attributes(pairs: Iterable[KeyValue]) -> dict[str, AttributeValue]:
    return {pair.key: _value(pair.value) for pair in pairs}


def _value(value: AnyValue) -> AttributeValue:
    match value.WhichOneof("value"):
        case None:
            return None
        case "array_value":
            return [_value(item) for item in value.array_value.values]
        case "kvlist_value":
            return _attributes(value.kvlist_value.values)
        case name:
            plain: AttributeValue = getattr(value, name)
            return plain
