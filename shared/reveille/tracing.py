"""The spans of a task: `send`, `queued`, `process` and what happens inside.

One task is one trace. `process` is a child of the creation context, which the messaging
conventions allow where a message is handled alone, and links to it too: trace viewers draw children
in the waterfall and links only as a button. Attempts are siblings; attempt n links attempt n-1.

Nothing here touches the database: spans are made from a `Claim` and plain values. Times that come
from rows are the database's clock; spans that are lived through use this machine's.
"""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace import NonRecordingSpan, Span, SpanKind, Status, StatusCode
from opentelemetry.util.types import AttributeValue

from reveille import semconv
from reveille.logs import mask_text
from reveille.outcome import Done, Outcome, Reject, Release, Retry
from reveille.span_export import SWITCH, exact_ids
from reveille.task import Claim, Pool
from reveille.trace_context import (
    Creation,
    creation_of,
    end_ns,
    format_traceparent,
    links_to,
    parse,
    pipeline_links,
    process_context,
    queued_context,
    to_ns,
)

Attributes = Mapping[str, AttributeValue]

_TRACER = trace.get_tracer(semconv.SCOPE)
# An error sentence may quote a model or a deck: enough of it to understand, no more.
DESCRIPTION_CHARACTERS_MAX = 500


class AttemptTrace:
    """The `process` span of one attempt, in the worker's hands."""

    def __init__(self, span: Span) -> None:
        self._span = span
        self._settle: Span | None = None

    @property
    def traceparent(self) -> str | None:
        """For the row, so that the next attempt can link to this one; None when not recorded."""
        if not self._span.is_recording():
            return None
        return format_traceparent(self._span.get_span_context())

    @property
    def settling(self) -> bool:
        """Whether the span outlives the block it was opened by, until `end`."""
        return self._settle is not None

    def settle(self) -> None:
        """The outcome is on its way to the database: a `settle` span begins, which `end` ends."""
        if self._span.is_recording():
            context = trace.set_span_in_context(self._span)
            self._settle = _TRACER.start_span("settle", context=context)

    def ambient(self) -> AbstractContextManager[object]:
        """In the block the span is the ambient one: for what is logged about the attempt."""
        return trace.use_span(self._span)

    def end(self) -> None:
        """The database has answered."""
        if self._settle is not None:
            self._settle.end()
            self._span.end()

    def settled(self, outcome: Outcome) -> None:
        """Say how the attempt ended; a retry or a rejection marks the span as failed."""
        self._span.set_attribute(semconv.REVEILLE_OUTCOME, type(outcome).__name__.lower())
        match outcome:
            case Retry(reason=reason, error=error) | Reject(reason=reason, error=error):
                self.failed(reason, error)
            case Release(reason=reason):
                self._span.set_attribute(semconv.REVEILLE_REASON, reason)
            case Done():
                pass

    def failed(self, error_type: str, description: str) -> None:
        """Mark the span as failed. `error_type` is a short kind, `description` a sentence."""
        self._span.set_attribute(semconv.ERROR_TYPE, error_type)
        text = mask_text(description[: 2 * DESCRIPTION_CHARACTERS_MAX])[:DESCRIPTION_CHARACTERS_MAX]
        self._span.set_status(Status(StatusCode.ERROR, text))


def trace_attempt(
    claim: Claim, *, server_id: str, pool: Pool, parents: Iterable[str | None] = ()
) -> AbstractContextManager[AttemptTrace]:
    """Open the `process` span of an attempt; what is started inside becomes its child.

    Also writes what nobody was there to write: the `queued` span of this attempt's wait and, at
    the first claim of a task whose ids were minted, the `send` span. `parents` are the traceparents
    of the tasks this one depended on. An exception marks the span and passes through. The span ends
    with the block, or after `settle` by `end`.
    """
    if SWITCH.idle:
        return _UNRECORDED_BLOCK
    creation = creation_of(
        task_id=claim.task_id,
        created_at=claim.created_at,
        traceparent=claim.traceparent,
        tracestate=claim.tracestate,
    )
    if not SWITCH.keeps(creation.span_context):
        return _left_out_attempt(creation)
    return _recorded_attempt(claim, creation, server_id, pool, parents)


UNRECORDED = AttemptTrace(trace.INVALID_SPAN)
_UNRECORDED_BLOCK = nullcontext(UNRECORDED)


@contextmanager
def _left_out_attempt(creation: Creation) -> Iterator[AttemptTrace]:
    """Not sampled: what is inside sees a parent that is not kept, and is not kept either."""
    with trace.use_span(NonRecordingSpan(creation.span_context)):
        yield UNRECORDED


@contextmanager
def _recorded_attempt(
    claim: Claim, creation: Creation, server_id: str, pool: Pool, parents: Iterable[str | None]
) -> Iterator[AttemptTrace]:
    span = start_process(claim, creation, server_id=server_id, pool=pool, parents=parents)
    if span.is_recording():
        write_history(claim, creation)
    attempt = AttemptTrace(span)
    with trace.use_span(
        span, end_on_exit=False, record_exception=False, set_status_on_exception=False
    ):
        try:
            yield attempt
        except BaseException as error:
            attempt.failed(type(error).__name__, str(error))
            raise
        finally:
            if not attempt.settling:
                span.end()


def start_process(
    claim: Claim,
    creation: Creation,
    *,
    server_id: str,
    pool: str,
    parents: Iterable[str | None] = (),
    start_ns: int | None = None,
) -> Span:
    """The `process` span of an attempt, begun now or at `start_ns`; its id follows from the claim."""
    links = [
        trace.Link(creation.span_context, {semconv.REVEILLE_LINK_KIND: semconv.LINK_CREATION}),
        *links_to(semconv.LINK_PREVIOUS_ATTEMPT, [claim.previous_traceparent]),
        *pipeline_links(parents),
    ]
    with exact_ids(process_context(creation.span_context, claim.lease_token)):
        return _TRACER.start_span(
            f"process {claim.task_type}",
            context=creation.context,
            kind=SpanKind.CONSUMER,
            attributes=_process_attributes(claim, server_id, pool),
            links=links,
            start_time=start_ns,
        )


def write_history(claim: Claim, creation: Creation) -> None:
    """The spans that ended before anybody worked on this attempt."""
    # A released task comes back with the same attempt number, but with an earlier process span.
    if creation.minted and claim.attempt == 1 and claim.previous_traceparent is None:
        backfill_send(claim, creation)
    started = min(claim.claimable_at, claim.started_at)
    wait_seconds = (claim.started_at - started).total_seconds()
    with exact_ids(queued_context(creation.span_context, claim.lease_token)):
        queued = _TRACER.start_span(
            f"queued {claim.task_type}",
            context=creation.context,
            attributes={
                **_message_attributes(claim),
                semconv.REVEILLE_ATTEMPT: claim.attempt,
                semconv.REVEILLE_WAIT_SECONDS: wait_seconds,
            },
            start_time=to_ns(started),
        )
    queued.end(end_ns(to_ns(started), claim.started_at))


def backfill_send(claim: Claim, creation: Creation) -> None:
    """Write the root span of a task that an untraced client inserted, with its row's very ids."""
    with exact_ids(creation.span_context):
        span = _TRACER.start_span(
            f"send {claim.task_type}",
            context=Context(),
            kind=SpanKind.PRODUCER,
            attributes={
                **_message_attributes(claim),
                **_operation("send"),
                semconv.REVEILLE_BACKFILLED: True,
            },
            start_time=to_ns(claim.created_at),
        )
    span.end(end_ns(to_ns(claim.created_at), claim.created_at))


class SendTrace:
    """The `send` span around our own INSERT. A `traceparent` of None lets the trigger mint one."""

    def __init__(self, span: Span) -> None:
        self._span = span
        self.traceparent = (
            format_traceparent(span.get_span_context()) if span.is_recording() else None
        )

    def sent(self, task_id: int) -> None:
        """Note the id that the row got."""
        self._span.set_attribute(semconv.MESSAGING_MESSAGE_ID, str(task_id))
        self._span.set_attribute(semconv.REVEILLE_TASK_ID, task_id)


@contextmanager
def trace_send(task_type: str, document_id: int) -> Iterator[SendTrace]:
    """Open the `send` span around an INSERT of ours, below the ambient span if there is one."""
    attributes: Attributes = {
        **_operation("send"),
        semconv.MESSAGING_DESTINATION_NAME: task_type,
        semconv.MESSAGING_MESSAGE_CONVERSATION_ID: str(document_id),
        semconv.REVEILLE_TASK_TYPE: task_type,
        semconv.REVEILLE_DOCUMENT_ID: document_id,
    }
    with _TRACER.start_as_current_span(
        f"send {task_type}", kind=SpanKind.PRODUCER, attributes=attributes
    ) as span:
        yield SendTrace(span)


@contextmanager
def ambient_span(
    name: str, *, kind: SpanKind = SpanKind.INTERNAL, attributes: Attributes | None = None
) -> Iterator[Span]:
    """A span below the ambient one (`settle`, `render page`, a statement); none outside a trace.

    So statements that run on their own (heartbeats, looks at an empty queue) start no traces.
    """
    ambient = trace.get_current_span()
    if not ambient.is_recording():
        yield trace.INVALID_SPAN
        return
    with _TRACER.start_as_current_span(name, kind=kind, attributes=attributes) as span:
        yield span


@contextmanager
def sweep_span(
    name: str, *, affected: Iterable[str | None] = (), attributes: Attributes | None = None
) -> Iterator[Span]:
    """A trace of its own for work on many tasks (`expire leases`, `decide`), linking to them."""
    links = links_to(semconv.LINK_AFFECTED_TASK, affected)
    with _TRACER.start_as_current_span(
        name, context=Context(), links=links, attributes=attributes
    ) as span:
        yield span


@contextmanager
def request_span(
    method: str, route: str, *, traceparent: str | None = None, tracestate: str | None = None
) -> Iterator[Span]:
    """The span of an HTTP request served here, below the caller's if its header names one."""
    caller = parse(traceparent, tracestate)
    context = trace.set_span_in_context(NonRecordingSpan(caller), Context()) if caller else None
    with _TRACER.start_as_current_span(
        f"{method} {route}",
        context=context or Context(),
        kind=SpanKind.SERVER,
        attributes={semconv.HTTP_REQUEST_METHOD: method, semconv.HTTP_ROUTE: route},
    ) as span:
        yield span


def _operation(name: str) -> Attributes:
    return {
        semconv.MESSAGING_SYSTEM: semconv.MESSAGING_SYSTEM_REVEILLE,
        semconv.MESSAGING_OPERATION_NAME: name,
        semconv.MESSAGING_OPERATION_TYPE: name,
    }


def _message_attributes(claim: Claim) -> Attributes:
    return {
        semconv.MESSAGING_DESTINATION_NAME: claim.task_type,
        semconv.MESSAGING_MESSAGE_ID: str(claim.task_id),
        semconv.MESSAGING_MESSAGE_CONVERSATION_ID: str(claim.document_id),
        semconv.REVEILLE_TASK_ID: claim.task_id,
        semconv.REVEILLE_TASK_TYPE: claim.task_type,
        semconv.REVEILLE_DOCUMENT_ID: claim.document_id,
    }


def _process_attributes(claim: Claim, server_id: str, pool: str) -> Attributes:
    return {
        **_message_attributes(claim),
        **_operation("process"),
        semconv.MESSAGING_CONSUMER_GROUP_NAME: pool,
        semconv.MESSAGING_CLIENT_ID: server_id,
        semconv.REVEILLE_ATTEMPT: claim.attempt,
        semconv.REVEILLE_ATTEMPTS_MAX: claim.max_retries + 1,
        semconv.REVEILLE_TASK_PRIORITY: claim.priority,
        semconv.REVEILLE_LEASE_TOKEN: claim.lease_token,
        semconv.REVEILLE_SERVER_ID: server_id,
        semconv.REVEILLE_POOL: pool,
    }
