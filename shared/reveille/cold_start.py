"""The cold start of a container, drawn in the trace of the task that waited for it.

The autoscaler calls this once, when a container is ready or has failed: the phases are rows by
then, so the spans are written after the fact, with the database's times.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace import Status, StatusCode

from reveille import semconv
from reveille.trace_context import Creation, end_ns, links_to, to_ns
from reveille.tracing import DESCRIPTION_CHARACTERS_MAX, Attributes

_TRACER = trace.get_tracer(semconv.SCOPE)


@dataclass(frozen=True, slots=True, kw_only=True)
class ColdStart:
    """How a container came up: when each phase began, by the database's clock.

    `gpu_at`: its provider had a GPU for it and fetched its image; `image_at`: that was there and it
    began to start; `registered_at`: its worker registered and began to load its model. `ended_at`
    is when it was ready, or when it failed with `error`.
    """

    container: str
    pool: str
    provider: str
    intended_at: datetime
    creating_at: datetime | None = None
    booting_at: datetime | None = None
    gpu_at: datetime | None = None
    image_at: datetime | None = None
    registered_at: datetime | None = None
    ended_at: datetime
    error: str | None = None

    def phases(self) -> list[tuple[str, datetime, datetime]]:
        """(name, from, to) of each phase that was reached, in order and without gaps."""
        reached = (
            ("intended", self.intended_at),
            ("creating", self.creating_at),
            ("waiting" if self.gpu_at else "booting", self.booting_at),
            ("pulling", self.gpu_at),
            ("starting", self.image_at),
            ("loading", self.registered_at),
        )
        begun = [(name, at) for name, at in reached if at is not None]
        ends = [at for _, at in begun[1:]] + [self.ended_at]
        return [(name, at, max(at, end)) for (name, at), end in zip(begun, ends, strict=True)]


def trace_cold_start(
    start: ColdStart, waiting: Creation, *, also_waiting: Iterable[str | None] = ()
) -> None:
    """Write `container cold start` and its phases into the trace of the task that waited for it.

    `also_waiting` are the traceparents of other tasks that waited: linked, not drawn.
    """
    attributes: Attributes = {
        semconv.CONTAINER_NAME: start.container,
        semconv.REVEILLE_POOL: start.pool,
        semconv.REVEILLE_PROVIDER: start.provider,
    }
    span = _TRACER.start_span(
        "container cold start",
        context=waiting.context,
        attributes=attributes,
        links=links_to(semconv.LINK_AFFECTED_TASK, also_waiting),
        start_time=to_ns(start.intended_at),
    )
    below = trace.set_span_in_context(span, Context())
    for name, begun_at, ended_at in start.phases():
        phase = _TRACER.start_span(
            f"container {name}",
            context=below,
            attributes={**attributes, semconv.REVEILLE_CONTAINER_PHASE: name},
            start_time=to_ns(begun_at),
        )
        phase.end(end_ns(to_ns(begun_at), ended_at))
    if start.error is not None:
        span.set_attribute(semconv.ERROR_TYPE, "container_failed")
        span.set_status(Status(StatusCode.ERROR, start.error[:DESCRIPTION_CHARACTERS_MAX]))
    span.end(end_ns(to_ns(start.intended_at), start.ended_at))
