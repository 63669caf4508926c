"""W3C trace context as rows carry it: read without ever raising, and made up when a row has none.

A task's trace begins at its *creation context*, the `traceparent` of its row. Three kinds exist:
the backend's own span, ids drawn by the insert trigger (marked `reveille=minted` in `tracestate`),
and garbage. Garbage is replaced by ids derived from the task itself, so that every attempt, in
whatever process, comes to the same ones and the trace stays in one piece.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import sha256

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace import Link, NonRecordingSpan, SpanContext, TraceFlags, TraceState
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from reveille import semconv

_PROPAGATOR = TraceContextTextMapPropagator()
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_NS_MAX = 2**63 - 1_000_000_000  # the year 2262; a span may still end after it began

_USUAL = re.compile(r"00-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})")
_MINTED = f"{semconv.TRACESTATE_KEY}={semconv.TRACESTATE_MINTED}"
_MINTED_STATE = TraceState([(semconv.TRACESTATE_KEY, semconv.TRACESTATE_MINTED)])
_NO_STATE = TraceState()
# An attempt's spans have ids made of its lease token, so that whoever notices its end can write what
# the process that lived through it could not. SQL has the rule too: reveille_process_traceparent().
_PROCESS_MARK = 0x2 << 60
_QUEUED_MARK = 0x3 << 60

# A longer header is garbage (W3C asks for 55 characters and 512); the propagator would log each.
_HEADER_CHARACTERS_MAX = 512
# A pipeline's fan-in is a dozen tasks; a span that links to thousands helps nobody.
_LINKS_MAX = 32


@dataclass(frozen=True, slots=True)
class Creation:
    """Where a task's trace begins. `minted`: no process has emitted a span with these ids yet."""

    span_context: SpanContext
    minted: bool

    @property
    def trace_id(self) -> str:
        """32 hex digits, to paste into a trace viewer."""
        return trace.format_trace_id(self.span_context.trace_id)

    @property
    def context(self) -> Context:
        """A context whose current span is the creation: the parent of the task's spans."""
        return trace.set_span_in_context(NonRecordingSpan(self.span_context), Context())


def creation_of(
    *, task_id: int, created_at: datetime, traceparent: str | None, tracestate: str | None = None
) -> Creation:
    """The creation context of a task, whatever its row carries (the values are its columns)."""
    span_context = parse(traceparent, tracestate)
    if span_context is None:
        return Creation(_derived(task_id, created_at), minted=True)
    return Creation(span_context, minted=is_minted(span_context))


def parse(traceparent: object, tracestate: object = None) -> SpanContext | None:
    """The span context that a traceparent names, or None when it names none. Never raises."""
    if not isinstance(traceparent, str) or len(traceparent) > _HEADER_CHARACTERS_MAX:
        return None
    # The usual two, a backend's own context and the trigger's: 3 µs of 20 the long way.
    state = _NO_STATE if tracestate is None else _MINTED_STATE if tracestate == _MINTED else None
    if state is not None and (usual := _USUAL.fullmatch(traceparent)):
        return SpanContext(
            int(usual[1], 16),
            int(usual[2], 16),
            is_remote=True,
            trace_flags=TraceFlags(int(usual[3], 16)),
            trace_state=state,
        )
    carrier = {"traceparent": traceparent}
    if isinstance(tracestate, str) and len(tracestate) <= _HEADER_CHARACTERS_MAX:
        carrier["tracestate"] = tracestate
    found = trace.get_current_span(_PROPAGATOR.extract(carrier, Context())).get_span_context()
    return found if found.is_valid else None


def process_context(creation: SpanContext, lease_token: int) -> SpanContext:
    """The `process` span of the attempt with this lease token."""
    return _of_attempt(creation, _PROCESS_MARK | lease_token)


def queued_context(creation: SpanContext, lease_token: int) -> SpanContext:
    """The `queued` span that this attempt ended."""
    return _of_attempt(creation, _QUEUED_MARK | lease_token)


def _of_attempt(creation: SpanContext, span_id: int) -> SpanContext:
    return SpanContext(
        creation.trace_id, span_id, is_remote=False, trace_flags=creation.trace_flags
    )


def format_traceparent(span_context: SpanContext) -> str:
    """The traceparent (55 characters, version 00) that names a valid span context."""
    flags = span_context.trace_flags
    return f"00-{span_context.trace_id:032x}-{span_context.span_id:016x}-{flags:02x}"


def trace_id_of(traceparent: object) -> str | None:
    """The trace id (32 hex digits) in a traceparent; None for garbage."""
    span_context = parse(traceparent)
    return trace.format_trace_id(span_context.trace_id) if span_context else None


def is_minted(span_context: SpanContext) -> bool:
    """Whether the insert trigger drew these ids, so that a worker must emit their span."""
    return span_context.trace_state.get(semconv.TRACESTATE_KEY) == semconv.TRACESTATE_MINTED


def links_to(kind: str, traceparents: Iterable[str | None]) -> list[Link]:
    """Span links to other tasks' or attempts' spans; what is garbage or absent is left out."""
    found = (parse(traceparent) for traceparent in traceparents)
    links = [Link(context, {semconv.REVEILLE_LINK_KIND: kind}) for context in found if context]
    return links[:_LINKS_MAX]


def pipeline_links(parents: Iterable[str | None]) -> list[Link]:
    """Links to the tasks that this one waited for, given the traceparents of their rows."""
    return links_to(semconv.LINK_PARENT_TASK, parents)


def to_ns(moment: datetime) -> int:
    """Nanoseconds since the epoch, exact to the microsecond. A naive time is taken as UTC, one that
    OTLP has no number for (before 1970, after 2262) as the nearest.
    """
    aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return min(max(0, (aware - _EPOCH) // _MICROSECOND * 1000), _NS_MAX)


def end_ns(started_ns: int, ended: datetime) -> int:
    """When a span ended that is written after the fact: a microsecond after its start at least,
    because Jaeger takes a span without length for one that ended before it began, and warns.
    """
    return max(started_ns + 1000, to_ns(ended))


def _derived(task_id: int, created_at: datetime) -> SpanContext:
    """Ids that depend on the task alone; created_at keeps apart the tasks of two databases."""
    digest = sha256(f"reveille task {task_id} {to_ns(created_at)}".encode()).digest()
    return SpanContext(
        # A zero id would be invalid: setting one bit costs nothing.
        trace_id=int.from_bytes(digest[:16]) | 1,
        span_id=int.from_bytes(digest[16:24]) | 1,
        is_remote=True,
        trace_flags=TraceFlags(TraceFlags.SAMPLED),
        trace_state=_MINTED_STATE,
    )
