"""From spans to the collector: ids, sampling, and an exporter that can be down without being felt.

OpenTelemetry's global tracer provider can be set once per process. `SWITCH` is what we set: it
hands out tracers that follow the provider of the moment, so that telemetry can be configured, shut
down and configured again (tests, `reveille demo`), and costs next to nothing while there is none.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any
from urllib.parse import urlsplit

import structlog
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
from opentelemetry.sdk.trace.sampling import Decision, Sampler, SamplingResult
from opentelemetry.trace import Link, SpanContext, SpanKind, TraceState
from opentelemetry.util.types import Attributes

from reveille import semconv
from reveille.trace_context import is_minted

TRACES_PATH = "/v1/traces"

log = structlog.stdlib.get_logger(__name__)

# The ids that the next span must bear, while `exact_ids` is open; its trace id is for a root.
_EXACT: ContextVar[SpanContext | None] = ContextVar("reveille_exact_ids", default=None)


@contextmanager
def exact_ids(span_context: SpanContext) -> Iterator[None]:
    """While open, a span started here bears exactly these ids: one that others refer to."""
    token = _EXACT.set(span_context)
    try:
        yield
    finally:
        _EXACT.reset(token)


class BackfillIds(RandomIdGenerator):
    """Random ids, except inside `exact_ids`."""

    def generate_span_id(self) -> int:
        """64 bits; never zero."""
        exact = _EXACT.get()
        return exact.span_id if exact else super().generate_span_id()

    def generate_trace_id(self) -> int:
        """128 bits; never zero."""
        exact = _EXACT.get()
        return exact.trace_id if exact else super().generate_trace_id()


class TaskSampler(Sampler):
    """Keep a share of the traces, and each trace whole.

    A caller's decision is followed. Where nobody decided (a root, or ids drawn by the trigger) the
    trace id decides, by its low 56 bits: those are random by the W3C rule, also in ids made of a
    version 4 UUID, whose 64-bit half is not (its top bits are fixed).
    """

    _BITS = 56

    def __init__(self, ratio: float) -> None:
        if not 0.0 <= ratio <= 1.0:
            raise ValueError(f"the sample ratio must be between 0 and 1, not {ratio}")
        self._ratio = ratio
        self._bound = round(ratio * (1 << self._BITS))

    def should_sample(
        self,
        parent_context: Context | None,
        trace_id: int,
        name: str,
        kind: SpanKind | None = None,
        attributes: Attributes = None,
        links: Sequence[Link] | None = None,
        trace_state: TraceState | None = None,
    ) -> SamplingResult:
        """The decision for one span, and the tracestate it hands on."""
        parent = trace.get_current_span(parent_context).get_span_context()
        sampled = self.keeps(parent) if parent.is_valid else self._keeps_id(trace_id)
        state = parent.trace_state if parent.is_valid else None
        if state is not None and semconv.TRACESTATE_KEY in state:
            state = state.delete(semconv.TRACESTATE_KEY)  # it speaks of the creation alone
        if not sampled:
            return SamplingResult(Decision.DROP, None, state)
        return SamplingResult(Decision.RECORD_AND_SAMPLE, attributes, state)

    def keeps(self, parent: SpanContext) -> bool:
        """Whether what begins below this valid context is recorded."""
        if is_minted(parent):
            return self._keeps_id(parent.trace_id)
        return parent.trace_flags.sampled

    def _keeps_id(self, trace_id: int) -> bool:
        return trace_id & ((1 << self._BITS) - 1) < self._bound

    def get_description(self) -> str:
        """For the SDK's own diagnostics."""
        return f"TaskSampler{{{self._ratio}}}"


class QuietExporter(SpanExporter):
    """An exporter that says once that the collector is gone, once that it is back, and no more."""

    def __init__(self, inner: SpanExporter, endpoint: str) -> None:
        self._inner = inner
        self._endpoint = endpoint
        self._lost = 0
        self._closed = False

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Send a batch; a batch that cannot be sent in time is dropped. Never raises."""
        if self._closed:
            return SpanExportResult.FAILURE
        result = self._inner.export(spans)
        if result is SpanExportResult.SUCCESS:
            if self._lost:
                log.info("trace_export_back", endpoint=self._endpoint, spans_lost=self._lost)
            self._lost = 0
        elif not self._closed:
            if not self._lost:
                log.warning("trace_export_down", endpoint=self._endpoint, hint="spans are dropped")
            self._lost += len(spans)
        return result

    def shutdown(self) -> None:
        """Stop, also in the middle of a back-off. May be called twice, and from another thread."""
        if not self._closed:
            self._closed = True
            self._inner.shutdown()

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Nothing is buffered here."""
        return self._inner.force_flush(timeout_millis)


def otlp_exporter(base_url: str | None, *, timeout_seconds: float) -> QuietExporter:
    """OTLP over http/protobuf to `base_url` (with or without /v1/traces), else as OTEL_* says.

    A loopback collector is reached directly, whatever HTTP_PROXY says.
    """
    endpoint = None
    if base_url:
        trimmed = base_url.rstrip("/")
        endpoint = trimmed if trimmed.endswith(TRACES_PATH) else trimmed + TRACES_PATH
    session = None
    if urlsplit(endpoint or "").hostname in {"127.0.0.1", "::1", "localhost"}:
        import requests  # the exporter's own transport: see its RequestsHTTPTransport

        session = requests.Session()
        session.trust_env = False
    inner = OTLPSpanExporter(endpoint, timeout=timeout_seconds, session=session)
    return QuietExporter(inner, endpoint or "OTEL_EXPORTER_OTLP_ENDPOINT")


class TracerSwitch(trace.TracerProvider):
    """The process's tracer provider: passes on to the provider of the moment, or to nothing."""

    def __init__(self) -> None:
        self.provider: trace.TracerProvider | None = None
        self.sampler: TaskSampler | None = None  # the provider's
        self._others = False  # somebody else's provider is the global one

    def keeps(self, parent: SpanContext) -> bool:
        """Whether what begins below this context may be recorded: decided before a span is made."""
        return self.sampler is None or self.sampler.keeps(parent)

    def get_tracer(self, *args: Any, **kwargs: Any) -> trace.Tracer:
        """A tracer that follows the switch."""
        return _SwitchedTracer(self, args, kwargs)

    @property
    def idle(self) -> bool:
        """Whether no span can be recorded: nothing is configured, by us or, when we last looked, by
        anybody.
        """
        return self.provider is None and not self._others

    def look(self) -> None:
        """See whether the global provider is somebody else's: asking each time takes 4 µs."""
        present = trace.get_tracer_provider()
        self._others = not isinstance(present, TracerSwitch | trace.ProxyTracerProvider)

    def install(self) -> None:
        """Become the global provider. One that somebody else installed stays, and is said."""
        present = trace.get_tracer_provider()
        if isinstance(present, trace.ProxyTracerProvider):
            trace.set_tracer_provider(self)
        elif present is not self:
            log.warning("tracer_provider_taken", provider=type(present).__name__)


class _SwitchedTracer(trace.Tracer):
    """One tracer of a `TracerSwitch`; looks up the real one again only after a switch."""

    def __init__(self, switch: TracerSwitch, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self._switch = switch
        self._arguments = args, kwargs
        self._provider: trace.TracerProvider | None = None
        self._real: trace.Tracer = trace.NoOpTracer()

    def _tracer(self) -> trace.Tracer:
        provider = self._switch.provider
        if provider is not self._provider:
            args, kwargs = self._arguments
            self._real = provider.get_tracer(*args, **kwargs) if provider else trace.NoOpTracer()
            self._provider = provider
        return self._real

    def start_span(self, *args: Any, **kwargs: Any) -> trace.Span:
        return self._tracer().start_span(*args, **kwargs)

    def start_as_current_span(self, *args: Any, **kwargs: Any) -> Any:
        return self._tracer().start_as_current_span(*args, **kwargs)


SWITCH = TracerSwitch()
