"""A finished span as the sink receives it and the tree draws it. Plain values, no OpenTelemetry."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

SpanKind = Literal["internal", "server", "client", "producer", "consumer"]
SpanStatus = Literal["unset", "ok", "error"]

# A string, a boolean, a number, or a list or mapping of such.
AttributeValue = object


@dataclass(frozen=True, slots=True)
class SpanLink:
    """A reference to another span, by hex ids."""

    trace_id: str
    span_id: str
    attributes: Mapping[str, AttributeValue] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """One span. Ids are lower-case hex, times nanoseconds since the epoch."""

    trace_id: str
    span_id: str
    parent_span_id: str | None = None
    name: str
    kind: SpanKind = "internal"
    service: str
    start_ns: int
    end_ns: int
    attributes: Mapping[str, AttributeValue] = field(default_factory=dict)
    links: tuple[SpanLink, ...] = ()
    status: SpanStatus = "unset"
    status_message: str = ""

    @property
    def duration_seconds(self) -> float:
        """How long it took; never negative."""
        return max(0, self.end_ns - self.start_ns) / 1e9
